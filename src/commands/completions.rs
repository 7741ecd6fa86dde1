//! `lastlight completions`: what lets a shell complete the commands.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::out;
use crate::Arguments;

/// `lastlight completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// Which shell. bash: source <(lastlight completions bash); fish: lastlight completions fish | source.
    shell: Shell,
}

/// Prints the script for a shell.
pub fn completions(arguments: &CompletionsArguments) -> ExitCode {
    // In memory first: the generator panics where its output cannot be written.
    let mut script = Vec::new();
    generate(
        arguments.shell,
        &mut Arguments::command(),
        "lastlight",
        &mut script,
    );
    out::text(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
