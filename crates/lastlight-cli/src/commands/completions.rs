//! `lastlight completions`: prints a shell completion script.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::output;

/// `lastlight completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell. bash: source <(lastlight completions bash); fish: lastlight completions fish |
    /// source.
    shell: Shell,
}

pub(crate) fn completions(
    arguments: &CompletionsArguments,
    command_line: &mut Command,
) -> ExitCode {
    // Generate into memory first: the generator panics if its output cannot be written.
    let mut script = Vec::new();
    generate(arguments.shell, command_line, "lastlight", &mut script);
    output::text(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
