//! What authors of workflow files rely on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod drawing;
mod evaluation;
mod folder;
mod fragments;
mod graph;
mod limits;
mod problems;
mod reading;
mod reference;
mod schema;
mod templates;

use lastlight_workflow::{Known, Workflow};

/// A workflow with all types of nodes.
const SCENE: &str = include_str!("fixtures/process_scene.yaml");

fn scene() -> Workflow {
    read(SCENE)
}

/// Reads a text that must have no problems.
fn read(text: &str) -> Workflow {
    let read = Workflow::read("workflow.yaml", text, &Known::blob_validators());
    read.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The problems of a text, a line for each, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    match Workflow::read("f.yaml", text, &Known::blob_validators()) {
        Ok(workflow) => panic!("{} has no problems:\n{text}", workflow.name()),
        Err(problems) => problems.problems.iter().map(ToString::to_string).collect(),
    }
}

/// The only problem of a text.
fn problem(text: &str) -> String {
    let all = problems(text);
    assert_eq!(all.len(), 1, "{all:#?}\n{text}");
    all.concat()
}
