//! The app on development machines: the handler and all commands, including the local cloud,
//! benchmarks and chaos.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastlight_app::app().main_with::<lastlight_lab::Commands>()
}
