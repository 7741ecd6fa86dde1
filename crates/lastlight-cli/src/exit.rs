//! How a failed command ends: with the reason on standard error and an exit code.

use std::process::ExitCode;

use lastlight_engine::store::Unreachable;

use crate::tell;

/// The exit code of a command that was stopped by Ctrl-C.
pub const STOPPED: u8 = 130;

/// Prints why a command failed.
pub fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    tell!("lastlight: {error}");
    ExitCode::from(code)
}

/// Prints that a command was stopped by Ctrl-C.
pub fn stopped(words: &dyn std::fmt::Display) -> ExitCode {
    failed(words, STOPPED)
}

/// Prints why the database cannot be used; exit code 2 for a wrong setting, otherwise 3.
pub fn unreachable(error: &Unreachable) -> ExitCode {
    failed(error, if error.is_wrong_setting { 2 } else { 3 })
}
