//! `lastlight workflow check`.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use clap::Args;
use lastlight_cli::{exit::failed, say};
use lastlight_engine::App;
use lastlight_workflow::{Folder, Place, Problem, Problems, Workflow, read_file, read_folder};
use serde_json::{Value, json};

use super::{FolderArguments, known};

/// `lastlight workflow check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The files to check; all files of the app's folder if omitted.
    files: Vec<PathBuf>,
    #[command(flatten)]
    folder: FolderArguments,
}

/// Checks files; the exit code is 1 if one is wrong.
pub(super) fn check(arguments: &CheckArguments, app: &App) -> ExitCode {
    let Folder { workflows, mut problems } = match read(arguments) {
        Ok(read) => read,
        Err(reason) => return failed(&reason, 2),
    };
    let catalog = app.catalog();
    let handlers: BTreeSet<&str> = catalog.handlers().names().collect();
    let mut checked = Vec::new();
    for workflow in workflows {
        if catalog.get(workflow.name()).is_some() {
            problems.push(taken(&workflow));
        } else {
            checked.push(workflow);
        }
    }
    problems.sort_by(|one, other| one.file.cmp(&other.file));
    let warnings = |workflow: &Workflow| -> Vec<String> {
        let place = |problem: &Problem| format!("{}:{problem}", workflow.file());
        let unknown = workflow.handlers().into_iter().filter(|name| !handlers.contains(name));
        let unknown = unknown.map(|name| {
            format!(
                "{}: handler {name:?} is not in this app: a worker must have it",
                workflow.file()
            )
        });
        workflow.warnings().iter().map(place).chain(unknown).collect()
    };
    if arguments.folder.json {
        let good = checked.iter().map(|workflow| {
            json!({
                "file": workflow.file(),
                "workflow": workflow.name(),
                "version": workflow.version(),
                "nodes": workflow.nodes().len(),
                "problems": [],
                "warnings": warnings(workflow),
            })
        });
        let wrong = problems.iter().map(|file| {
            json!({ "file": file.file, "workflow": file.workflow, "problems": file.problems, "warnings": [] })
        });
        let files: Vec<Value> = good.chain(wrong).collect();
        say!("{}", json!({ "files": files, "is_valid": problems.is_empty() }));
    } else {
        for workflow in &checked {
            say!(
                "{}: {}, version {}, {} nodes",
                workflow.file(),
                workflow.name(),
                workflow.version(),
                workflow.nodes().len()
            );
            for warning in warnings(workflow) {
                say!("  {warning}");
            }
        }
        for file in &problems {
            say!("{file}");
        }
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn read(arguments: &CheckArguments) -> Result<Folder, String> {
    if arguments.files.is_empty() {
        return read_folder(&arguments.folder.workflows, &known())
            .map_err(|error| format!("{error}: {}", error.source));
    }
    let mut folder = Folder::default();
    for file in &arguments.files {
        match read_file(file, &known()) {
            Ok(workflow) => folder.workflows.push(workflow),
            Err(problems) => folder.problems.push(problems),
        }
    }
    Ok(folder)
}

/// The problem of a workflow that has the name of a job type in Rust.
fn taken(workflow: &Workflow) -> Problems {
    let name = workflow.name();
    let message =
        format!("the app has a job type {name:?} in Rust: one of the two needs another name");
    Problems {
        file: workflow.file().to_owned(),
        workflow: Some(name.to_owned()),
        problems: vec![Problem { place: Place::START, message }],
    }
}
