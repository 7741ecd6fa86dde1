//! The commands of the laboratory, with those of the local cloud.

mod bench;
mod chaos;

use std::process::ExitCode;

use clap::Subcommand;
use lastlight::App;

/// Commands of people's machines.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Those of the local cloud.
    #[command(flatten)]
    Local(lastlight_local::Commands),
    /// Kill, stop, drop, double and delay, on a PostgreSQL of its own, and see that nothing is
    /// lost, twice or stuck.
    Chaos(chaos::ChaosArguments),
    /// Measure, on a local cloud of its own for every figure.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

impl lastlight_cli::Commands for Commands {
    fn prepare(app: App) -> App {
        crate::chaos::with_chaos(app)
    }

    async fn run(self) -> ExitCode {
        match self {
            Self::Local(command) => command.run().await,
            Self::Chaos(arguments) => chaos::chaos(arguments).await,
            Self::Bench(command) => bench::bench(command).await,
        }
    }
}
