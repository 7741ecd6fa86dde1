//! Reads the workflow files as the handler does when it starts.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use lastlight_engine::{
    builtin::{self, HttpCalls},
    config::{BlobSettings, HttpCallAllow, Settings},
    job::erased::Catalog,
    transport::blob_storage::BlobStorage,
    workflow_files,
};

use super::{Notes, env};

pub(super) fn examine(root: &Path, given: &BTreeMap<String, String>, catalog: Catalog) -> Notes {
    let mut notes = Notes::on("workflows");
    let named = Settings::load_workflows(env(given));
    let folder = if named.is_relative() { root.join(named) } else { named };
    let allowed = HttpCallAllow::from_env(&mut env(given));
    let catalog = builtin::add_to(catalog, HttpCalls::new(allowed));
    let in_rust = catalog.names().len();
    let blobs = Arc::new(BlobStorage::new(BlobSettings::from_env(&mut env(given))));
    let catalog = workflow_files::load(&folder, catalog, blobs);
    for wrong in catalog.wrong_files() {
        let workflow = match &wrong.job_type {
            Some(name) => format!("the workflow {name:?} cannot be submitted"),
            None => "a workflow without a name cannot be submitted".to_owned(),
        };
        notes.fault(
            format!("{workflow}: {}", wrong.problems.replace('\n', "; ")),
            "Correct the file; no other workflow is affected.",
        );
    }
    let workflows: Vec<_> = catalog.iter().skip(in_rust).collect();
    for workflow in &workflows {
        for warning in workflow.warnings() {
            notes.warning(
                format!("{}: {warning}", workflow.name()),
                "Start a worker with it, register it in the app, or correct its name.",
            );
        }
    }
    let names: Vec<&str> = workflows.iter().map(|workflow| workflow.name()).collect();
    if names.is_empty() && notes.is_quiet() {
        notes.ok(format!("{} has no workflow files", folder.display()));
    } else if !names.is_empty() {
        notes.ok(format!("{} can be submitted: {}", names.len(), names.join(", ")));
    }
    notes
}
