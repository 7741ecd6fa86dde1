//! The app as it is deployed: the handler and the commands of every app, without the local cloud.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastlight_cli::main::<lastlight_cli::NoCommands>(lastlight_app::app())
}
