//! The command line. Without a command it is the custom handler that a Functions host starts.
//!
//! Exit codes: 0 success; 1 the work failed, or the app refused; 2 settings or arguments are wrong; 3 the app or the database
//! cannot be reached; 130 stopped by Ctrl-C.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lastlight::{
    config::{Env, SettingProblem, Settings},
    controller::ReconcileReport,
    jobs::Catalog,
    repositories::postgres::{Database, Unreachable, reach},
    server::{ReconcileError, ServeError, reconcile_once, serve},
    telemetry::{self, Exporter},
};
use serde_json::{Value, json};

mod commands;

#[cfg(feature = "local")]
use commands::{app, bench, chaos, completions, local};
use commands::{
    doctor,
    out::{self, say, tell},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Job → Stage → Task orchestration for Azure Functions. The last task turns out the lights.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 the work failed, or the app refused; 2 arguments or settings are wrong; \
                          3 the app or the database cannot be reached; 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command {
    /// The custom handler of a Functions host (the default). Settings are environment variables.
    Serve,
    /// Create or update the database's schema, then exit.
    Migrate,
    /// One sweep for what got lost: what the timer `reconcile` does every minute.
    Reconcile {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check settings, host.json, function folders, database and queues, and say what to do about each fault.
    Doctor(doctor::DoctorArguments),
    #[cfg(feature = "local")]
    #[command(flatten)]
    App(app::AppCommand),
    /// Everything on this machine: database, queues, Functions host and the handler.
    #[cfg(feature = "local")]
    Local(local::LocalArguments),
    /// Run hello_world on a local cloud of its own, over both paths, and compare them.
    #[cfg(feature = "local")]
    Demo(local::DemoArguments),
    /// Kill, stop, drop, double and delay, on a PostgreSQL of its own, and see that nothing is lost, twice or stuck.
    #[cfg(feature = "local")]
    Chaos(chaos::ChaosArguments),
    /// Measure, on a local cloud of its own for every figure.
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print what lets a shell complete these commands.
    #[cfg(feature = "local")]
    Completions(completions::CompletionsArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return out::checked(misused(&error)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, 1),
    };
    let code = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => runtime.block_on(run_handler()),
        Command::Migrate => runtime.block_on(migrate()),
        Command::Reconcile { json } => runtime.block_on(reconcile(json)),
        Command::Doctor(arguments) => runtime.block_on(doctor::doctor(arguments)),
        #[cfg(feature = "local")]
        Command::App(command) => runtime.block_on(app::run(command)),
        #[cfg(feature = "local")]
        Command::Local(arguments) => runtime.block_on(local::local(arguments)),
        #[cfg(feature = "local")]
        Command::Demo(arguments) => runtime.block_on(local::demo(arguments)),
        #[cfg(feature = "local")]
        Command::Chaos(arguments) => runtime.block_on(chaos::chaos(arguments)),
        #[cfg(feature = "local")]
        Command::Bench(command) => runtime.block_on(bench::bench(command)),
        #[cfg(feature = "local")]
        Command::Completions(arguments) => completions::completions(&arguments),
    };
    // A read of standard input cannot be called off, and nobody waits for it.
    runtime.shutdown_background();
    out::checked(code)
}

/// Says what is wrong with the arguments; to a script as it is said of all other errors. Help is no error.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let words = error.render().to_string();
        let message = words.split("\n\n").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").trim_end();
        say!(
            "{}",
            json!({ "error": "bad argument", "message": message, "remedy": null })
        );
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn run_handler() -> ExitCode {
    let settings = match Settings::load(Env::from_process()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error, 2),
    };
    let exporter = match settings.otlp.as_ref().map(Exporter::start).transpose() {
        Ok(exporter) => exporter,
        Err(error) => return failed(&error, 1),
    };
    telemetry::start(&settings.log, exporter.as_ref());
    for warning in &settings.warnings {
        let SettingProblem {
            setting,
            problem,
            remedy,
        } = warning;
        tracing::warn!(setting, problem, remedy, "a setting should be changed");
    }
    let served = serve(settings, catalog()).await;
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServeError::Config(_)) => failed(&error, 2),
        Err(error) => failed(&error, 1),
    }
}

/// The job types; the one that `lastlight chaos` runs is known where that command says so.
fn catalog() -> Catalog {
    #[cfg(feature = "local")]
    let catalog = lastlight::local::chaos::catalog();
    #[cfg(not(feature = "local"))]
    let catalog = Catalog::standard();
    catalog
}

async fn migrate() -> ExitCode {
    let (settings, warnings) = match Settings::load_database(Env::from_process()) {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error, 2),
    };
    warn(&warnings);
    if let Err(error) = reach(&settings).await {
        return unreachable(&error);
    }
    let database = Database::new(&settings);
    match database.migrate().await {
        Ok(()) => {
            say!("schema {:?} is up to date", database.schema());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, 1),
    }
}

async fn reconcile(as_json: bool) -> ExitCode {
    let settings = match Settings::load_without_host(Env::from_process()) {
        Ok(settings) => settings,
        Err(error) => return failed(&error, 2),
    };
    warn(&settings.warnings);
    let report = match reconcile_once(settings, Catalog::standard()).await {
        Ok(report) => report,
        Err(ReconcileError::Unreachable(error)) => return unreachable(&error),
        Err(error) => return failed(&error, 1),
    };
    let Ok(Value::Object(counts)) = serde_json::to_value(report) else {
        return failed(&"the report cannot be written", 1);
    };
    if as_json {
        say!("{}", Value::Object(counts));
    } else if report == ReconcileReport::default() {
        say!("nothing was owed, lost or stuck");
    } else {
        for (what, count) in counts.iter().filter(|(_, count)| count.as_u64() != Some(0)) {
            say!("{:<22}{count}", what.replace('_', " "));
        }
    }
    if report.sends_failed > 0 {
        return failed(
            &"messages could not be sent; they stay owed: look at health, and run this again",
            1,
        );
    }
    ExitCode::SUCCESS
}

fn warn(warnings: &[SettingProblem]) {
    for warning in warnings {
        tell!("lastlight: warning: {warning}");
    }
}

/// The exit code of what was stopped by Ctrl-C.
#[cfg(feature = "local")]
const STOPPED: u8 = 130;

#[cfg(feature = "local")]
fn stopped(words: &dyn std::fmt::Display) -> ExitCode {
    failed(words, STOPPED)
}

/// A database that cannot be used: the settings are wrong, or it is not there.
fn unreachable(error: &Unreachable) -> ExitCode {
    failed(error, if error.is_wrong_setting { 2 } else { 3 })
}

/// A local cloud that did not start, or stop.
#[cfg(feature = "local")]
fn no_cloud(error: &lastlight::local::CloudError) -> ExitCode {
    use lastlight::local::CloudError;
    match error {
        CloudError::Unreachable(error) => unreachable(error),
        CloudError::Config(error) => failed(error, 2),
        error => failed(error, 1),
    }
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    tell!("lastlight: {error}");
    ExitCode::from(code)
}
