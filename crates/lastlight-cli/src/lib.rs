//! The command line of an app: the handler itself, the commands beside it, and what all of them
//! print and exit with.
//!
//! [`main`] runs it. Without a command it is the custom handler that a Functions host starts.
//! Further commands come in by
//! [`Commands`]: the local cloud and the laboratory bring theirs that way, so that the deployed binary is built without them.
//!
//! Exit codes: 0 success; 1 the work failed, or the app refused; 2 settings or arguments are wrong;
//! 3 the app or the database cannot be reached; 130 stopped by Ctrl-C.
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
use lastlight::App;
use serde_json::json;

use commands::{api, completions, doctor as doctor_command, functions, process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Job → Stage → Task orchestration for Azure Functions. The last task turns out the lights.
#[derive(Debug, Parser)]
#[command(name = "lastlight", version, about, after_help = EXIT_CODES)]
struct Arguments<C: Commands> {
    #[command(subcommand)]
    command: Option<Command<C>>,
}

const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 the work failed, or the app refused; 2 arguments or settings are wrong; \
                          3 the app or the database cannot be reached; 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command<C: Commands> {
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
    /// Check settings, host.json, function folders, database and queues, and say what to do about
    /// each fault.
    Doctor(doctor_command::DoctorArguments),
    /// Write, check or list the function folders that a Functions host reads.
    Functions(functions::FunctionsArguments),
    #[command(flatten)]
    Api(api::AppCommand),
    #[command(flatten)]
    Further(C),
    /// Print what lets a shell complete these commands.
    Completions(completions::CompletionsArguments),
}

/// Commands beside those of every app.
pub trait Commands: Subcommand + Debug {
    /// The app with what these commands need in it.
    fn prepare(app: App) -> App {
        app
    }

    /// Runs a command to its end.
    fn run(self) -> impl Future<Output = ExitCode>;
}

/// No commands beside those of every app: what the deployed binary has.
#[derive(Debug)]
pub enum NoCommands {}

impl Commands for NoCommands {
    async fn run(self) -> ExitCode {
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

/// Runs the command that the process's arguments name.
pub fn main<C: Commands>(app: App) -> ExitCode {
    let arguments = match Arguments::<C>::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return output::checked(misused(&error)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&error, 1),
    };
    let app = C::prepare(app);
    let code = runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => process::serve(&app).await,
            Command::Migrate => process::migrate().await,
            Command::Reconcile { json } => process::reconcile(&app, json).await,
            Command::Doctor(arguments) => doctor_command::doctor(arguments).await,
            Command::Functions(arguments) => functions::run(&arguments),
            Command::Api(command) => api::run(command).await,
            Command::Further(command) => command.run().await,
            Command::Completions(arguments) => {
                completions::completions(&arguments, &mut command_line::<C>())
            }
        }
    });
    // A read of standard input cannot be called off, and nobody waits for it.
    runtime.shutdown_background();
    output::checked(code)
}

/// The command line as clap knows it, for completions and for the reference.
pub fn command_line<C: Commands>() -> ClapCommand {
    Arguments::<C>::command()
}

/// Says what is wrong with the arguments; to a script as it is said of all other errors. Help is no
/// error.
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
