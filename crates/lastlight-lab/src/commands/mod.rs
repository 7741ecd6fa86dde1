//! The commands of the laboratory and of the local cloud.

mod bench;
mod chaos;

use std::process::ExitCode;

use clap::Subcommand;
use lastlight_engine::App;
use lastlight_testing::chaos_job::with_chaos;

/// Commands for development machines.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// The commands of the local cloud.
    #[command(flatten)]
    Local(lastlight_local::Commands),
    /// Inject faults on a PostgreSQL of its own (kill and stop handlers; drop, duplicate and delay
    /// messages) and check that no work is lost, done twice or stuck.
    Chaos(chaos::ChaosArguments),
    /// Run benchmarks, each measurement on a local cloud of its own.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

impl lastlight_cli::Commands for Commands {
    fn prepare(app: App) -> App {
        with_chaos(app)
    }

    async fn run(self, app: &App) -> ExitCode {
        match self {
            Self::Local(command) => command.run(app).await,
            Self::Chaos(arguments) => chaos::chaos(arguments).await,
            Self::Bench(command) => bench::bench(command).await,
        }
    }
}
