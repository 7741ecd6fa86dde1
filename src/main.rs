//! The app on development machines: the handler and all commands, including the local cloud,
//! benchmarks and chaos.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastlight_cli::main::<lastlight_lab::Commands>(lastlight_app::app())
}
