//! The deployed app: the handler and the commands common to all apps, without the local cloud.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastlight_app::app().main()
}
