//! The commands `lastlight workflow`: check workflow files, show one, run one on a local cloud of its
//! own.

mod check;
mod run;
mod show;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use lastlight_engine::App;
use lastlight_workflow::{Known, Workflow, read_file};

/// The commands on workflow files.
#[derive(Debug, Subcommand)]
pub enum WorkflowCommand {
    /// Check workflow files: every problem with its line and column.
    Check(check::CheckArguments),
    /// Draw a workflow: its nodes in order, with what each depends on.
    Show(show::ShowArguments),
    /// Run a workflow file once, on a temporary local cloud, and print what its nodes resulted in.
    Run(run::RunArguments),
}

/// Where workflow files are.
#[derive(Debug, Args)]
struct FolderArguments {
    /// The folder of the app's workflow files.
    #[arg(long, value_name = "FOLDER", env = "LASTLIGHT_WORKFLOWS", default_value = "workflows")]
    workflows: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl WorkflowCommand {
    /// Runs the command.
    pub async fn run(self, app: &App) -> ExitCode {
        match self {
            Self::Check(arguments) => check::check(&arguments, app),
            Self::Show(arguments) => show::show(&arguments),
            Self::Run(arguments) => run::run(arguments).await,
        }
    }
}

/// What workflow files may name.
fn known() -> Known {
    Known::blob_validators()
}

/// The workflow of a file, or the one with a name in a folder.
///
/// # Errors
/// There is none, or its file is wrong; the text says so.
fn find(folder: &Path, name: &str) -> Result<Workflow, String> {
    let path = Path::new(name);
    if path.is_file() {
        return read_file(path, &known()).map_err(|problems| problems.to_string());
    }
    let read = lastlight_workflow::read_folder(folder, &known())
        .map_err(|error| format!("{error}: {}", error.source))?;
    if let Some(wrong) = read.problems.iter().find(|file| file.workflow.as_deref() == Some(name)) {
        return Err(wrong.to_string());
    }
    let names: Vec<&str> = read.workflows.iter().map(Workflow::name).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    read.workflows.iter().find(|workflow| workflow.name() == name).cloned().ok_or_else(|| {
        format!(
            "{name:?} is neither a file nor a workflow in {}; there are: {known}",
            folder.display()
        )
    })
}
