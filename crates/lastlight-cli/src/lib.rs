//! The command line of an app: the handler, the other commands, and their output and exit codes.
//!
//! [`main`] runs it. Without a command it is the custom handler that a Functions host starts.
//! Additional commands are added with [`Commands`]: `lastlight-local` and `lastlight-lab` add
//! theirs this way, so the deployed binary is built without them.
//!
//! Exit codes: 0 success; 1 the work failed or the app refused; 2 invalid arguments or settings; 3
//! the app or the database cannot be reached; 130 stopped by Ctrl-C.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod client;
mod commands;
pub mod doctor;
pub mod exit;
pub mod format;
pub mod output;
pub mod style;

use std::{fmt::Debug, process::ExitCode};

use clap::{
    ArgMatches, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand,
};
use lastlight_engine::App;
use serde_json::json;

pub use commands::api::parameter;

use commands::{api, archive, completions, doctor as doctor_command, functions, process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Job → Stage → Task orchestration for Azure Functions.
#[derive(Debug, Parser)]
#[command(name = "lastlight", version, about, after_help = EXIT_CODES)]
struct Arguments<C: Commands> {
    #[command(subcommand)]
    command: Option<Command<C>>,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 the work failed or the app refused; 2 invalid arguments or settings; \
                          3 the app or the database cannot be reached; 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command<C: Commands> {
    /// Run the custom handler for a Functions host (the default). Settings are environment
    /// variables.
    Serve,
    /// Create or update the database schema, then exit.
    Migrate,
    /// Run one sweep for lost work, as the timer `reconcile` does every minute.
    Reconcile {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check settings, host.json, function folders, database and queues, and print a remedy for
    /// each fault.
    Doctor(doctor_command::DoctorArguments),
    /// Read the archive of jobs that were deleted, or that ran again: list it, show a job, or get its lines. Reads blob
    /// storage directly, with the app's settings.
    Archive(archive::ArchiveArguments),
    /// Write, check or list the function folders that a Functions host reads.
    Functions(functions::FunctionsArguments),
    #[command(flatten)]
    Api(api::AppCommand),
    #[command(flatten)]
    Further(C),
    /// Print a shell completion script.
    Completions(completions::CompletionsArguments),
}

/// Additional commands of an app.
pub trait Commands: Subcommand + Debug {
    /// Adds to the app what these commands need.
    fn prepare(app: App) -> App {
        app
    }

    /// Runs the command of this app and returns its exit code.
    fn run(self, app: &App) -> impl Future<Output = ExitCode>;
}

/// No additional commands: used for the deployed binary.
#[derive(Debug)]
pub enum NoCommands {}

impl Commands for NoCommands {
    async fn run(self, _: &App) -> ExitCode {
        match self {}
    }
}

impl FromArgMatches for NoCommands {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        match *self {}
    }
}

impl Subcommand for NoCommands {
    fn augment_subcommands(command: ClapCommand) -> ClapCommand {
        command
    }

    fn augment_subcommands_for_update(command: ClapCommand) -> ClapCommand {
        command
    }

    fn has_subcommand(_: &str) -> bool {
        false
    }
}

/// Parses the process's arguments and runs the command.
pub fn main<C: Commands>(app: App) -> ExitCode {
    let arguments = match Arguments::<C>::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::checked(misused(&error)),
    };
    run(arguments, app)
}

fn run<C: Commands>(arguments: Arguments<C>, app: App) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&error, 1),
    };
    let app = C::prepare(app);
    if !app.problems().is_empty() {
        for problem in app.problems() {
            tell!("lastlight: this app cannot start: {problem}");
        }
        return ExitCode::from(2);
    }
    let code = runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => process::serve(&app).await,
            Command::Migrate => process::migrate().await,
            Command::Reconcile { json } => process::reconcile(&app, json).await,
            Command::Doctor(arguments) => doctor_command::doctor(arguments, app.catalog()).await,
            Command::Archive(arguments) => archive::run(&arguments).await,
            Command::Functions(arguments) => functions::run(&arguments),
            Command::Api(command) => api::run(command).await,
            Command::Further(command) => command.run(&app).await,
            Command::Completions(arguments) => {
                completions::completions(&arguments, &mut command_line::<C>())
            }
        }
    });
    // A pending read of standard input cannot be cancelled, so do not wait for it.
    runtime.shutdown_background();
    output::checked(code)
}

/// The clap command, for shell completions and for the generated reference.
pub fn command_line<C: Commands>() -> ClapCommand {
    Arguments::<C>::command()
}

/// Prints a parse error to standard error, and with `--json` also as a JSON document to standard
/// output. Help is printed as well; it is not an error.
fn misused(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let words = error.render().to_string();
        let message = words.split("\n\n").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").trim_end();
        say!("{}", json!({ "error": "bad argument", "message": message, "remedy": null }));
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use lastlight_engine::job::{Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Nothing {}

    impl Job for Nothing {
        const NAME: &'static str = "nothing";
        type Last = Self;
    }

    impl Stage for Nothing {
        type Job = Self;
        type Previous = Start;
        type Task = ();
        type Output = ();
        type Summary = ();

        fn plan(_: PlanContext<Self>) -> Plan<()> {
            Plan::empty()
        }

        async fn run(_: TaskContext<Self>, (): ()) -> Result<(), TaskError> {
            Ok(())
        }

        fn fold((): &mut (), (): ()) {}
    }

    #[test]
    fn an_app_with_a_problem_exits_with_2() {
        let listing = |app: App| {
            let arguments = ["lastlight", "functions", "--list"];
            run(Arguments::<NoCommands>::parse_from(arguments), app)
        };
        let app = App::new().job::<Nothing>();
        assert_eq!(listing(app.clone()), ExitCode::SUCCESS);
        assert_eq!(listing(app.job::<Nothing>()), ExitCode::from(2));
    }
}
