//! How commands end that did not do what they were asked: the reason on standard error, and an exit
//! code.

use std::process::ExitCode;

use lastlight::store::Unreachable;

use crate::tell;

/// The exit code of what was stopped by Ctrl-C.
pub const STOPPED: u8 = 130;

/// Says why a command failed.
pub fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    tell!("lastlight: {error}");
    ExitCode::from(code)
}

/// Says that a command was stopped by Ctrl-C.
pub fn stopped(words: &dyn std::fmt::Display) -> ExitCode {
    failed(words, STOPPED)
}

/// A database that cannot be used: the settings are wrong, or it is not there.
pub fn unreachable(error: &Unreachable) -> ExitCode {
    failed(error, if error.is_wrong_setting { 2 } else { 3 })
}
