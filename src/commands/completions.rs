//! `lastlight completions`: what lets a shell complete the commands.

use std::{io::Write, process::ExitCode};

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{Arguments, failed};

/// `lastlight completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// Which shell. bash: source <(lastlight completions bash); fish: lastlight completions fish | source.
    shell: Shell,
}

/// Prints the script for a shell.
pub fn completions(arguments: &CompletionsArguments) -> ExitCode {
    // In memory first: the generator panics where its output cannot be written, as into a pipe that was closed.
    let mut script = Vec::new();
    generate(
        arguments.shell,
        &mut Arguments::command(),
        "lastlight",
        &mut script,
    );
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}
