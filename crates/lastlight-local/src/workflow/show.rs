//! `lastlight workflow show`.

use std::process::ExitCode;

use clap::Args;
use lastlight_cli::{exit::failed, output, say};
use serde_json::json;

use super::{FolderArguments, find};

/// `lastlight workflow show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The workflow's name, or its file.
    #[arg(value_name = "NAME|FILE")]
    workflow: String,
    /// Print a Mermaid flowchart, as GitHub and other pages draw it.
    #[arg(long, conflicts_with = "json")]
    mermaid: bool,
    #[command(flatten)]
    folder: FolderArguments,
}

/// Draws a workflow; the exit code is 1 if there is none.
pub(super) fn show(arguments: &ShowArguments) -> ExitCode {
    let workflow = match find(&arguments.folder.workflows, &arguments.workflow) {
        Ok(workflow) => workflow,
        Err(reason) => return failed(&reason, 1),
    };
    if arguments.folder.json {
        say!(
            "{}",
            json!({
                "workflow": workflow.name(),
                "description": workflow.description(),
                "version": workflow.version(),
                "file": workflow.file(),
                "parameters": workflow.json_schema(),
                "graph": workflow.graph(),
                "reverses": workflow.reverses(),
                "reversed_by": workflow.reversed_by(),
            })
        );
    } else if arguments.mermaid {
        output::text(&workflow.as_mermaid());
    } else {
        output::text(&workflow.as_text());
    }
    ExitCode::SUCCESS
}
