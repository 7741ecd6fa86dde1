//! The workflow files of an app, added to its catalog.

use std::{path::Path, sync::Arc};

use lastlight_workflow::{Known, Problem, Problems, Workflow, read_folder};

use super::job_type::WorkflowType;
use crate::{
    job::{Catalog, erased::JobType},
    transport::blob_storage::BlobStorage,
};

/// Adds the workflows of a folder to a catalog. A file that is wrong keeps its own workflow out and
/// no other; the catalog knows why. A folder that does not exist has no workflows.
#[must_use]
pub fn load(folder: &Path, catalog: Catalog, blobs: Arc<BlobStorage>) -> Catalog {
    let compiler = {
        let (handlers, contexts) = (catalog.handlers().clone(), catalog.contexts().clone());
        let blobs = Arc::clone(&blobs);
        move |name: &str, source: &str| {
            let workflow = Workflow::read(name, source, &Known::default())
                .map_err(|problems| problems.to_string())?;
            let made = WorkflowType::new(
                Arc::new(workflow),
                handlers.clone(),
                contexts.clone(),
                Arc::clone(&blobs),
            );
            made.map(|made| Arc::new(made) as Arc<dyn JobType>)
        }
    };
    let mut catalog = catalog.compiler(compiler);
    if !folder.is_dir() {
        return catalog;
    }
    let read = match read_folder(folder, &Known::blob_validators()) {
        Ok(read) => read,
        Err(error) => {
            let problem = Problem {
                place: lastlight_workflow::Place::START,
                message: crate::job::with_sources(&error),
            };
            let file = folder.display().to_string();
            return catalog.without_file(Problems {
                file,
                workflow: None,
                problems: vec![problem],
            });
        }
    };
    for problems in read.problems {
        catalog = catalog.without_file(problems);
    }
    for workflow in read.workflows {
        let (file, name) = (workflow.file().to_owned(), workflow.name().to_owned());
        let place = workflow.name_place();
        let problem = |message| Problems {
            file: file.clone(),
            workflow: Some(name.clone()),
            problems: vec![Problem { place, message }],
        };
        if catalog.get(&name).is_some() {
            catalog = catalog.without_file(problem(format!(
                "the app has a job type {name:?} in Rust: one of the two needs another name"
            )));
            continue;
        }
        let (handlers, contexts) = (catalog.handlers().clone(), catalog.contexts().clone());
        catalog =
            match WorkflowType::new(Arc::new(workflow), handlers, contexts, Arc::clone(&blobs)) {
                Ok(job_type) => catalog.job_type(Arc::new(job_type)),
                Err(reason) => catalog.without_file(problem(reason)),
            };
    }
    catalog
}
