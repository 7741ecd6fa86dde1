//! The job type that a job runs by: the one of its name in the catalog, or, for a job that was made
//! from a text such as a workflow file, the one of that text, even if there is another text of that
//! name by now. Texts are kept in the database with the jobs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Controller, ControllerError};
use crate::{job::erased::JobType, model::JobId};

/// Bytes of the stored texts whose compiled form is remembered; after these the memory is emptied.
const MOST_TEXT: usize = 8 << 20;

/// Jobs whose definition is remembered, less than 200 bytes each; after these the memory is emptied.
const MOST_JOBS: usize = 10_000;

/// What this process knows of stored definitions.
#[derive(Debug, Default)]
pub(super) struct Definitions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    compiled: HashMap<String, Arc<dyn JobType>>,
    /// Bytes of the texts of these.
    bytes: usize,
    /// The definitions of jobs.
    of_jobs: HashMap<JobId, Option<String>>,
}

impl Known {
    fn remember(&mut self, id: &str, bytes: usize, compiled: &Arc<dyn JobType>) {
        if self.bytes + bytes > MOST_TEXT {
            self.compiled.clear();
            self.bytes = 0;
        }
        // Two tasks may have compiled the same text.
        if self.compiled.insert(id.to_owned(), Arc::clone(compiled)).is_none() {
            self.bytes += bytes;
        }
    }
}

impl Definitions {
    fn with<R>(&self, look: impl FnOnce(&mut Known) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Controller {
    /// The job type of jobs with this name and this definition.
    ///
    /// # Errors
    /// The catalog has no such job type; the stored text cannot be read by this version; the
    /// database failed.
    pub(super) async fn job_type_by(
        &self,
        name: &str,
        definition_id: Option<&str>,
    ) -> Result<Arc<dyn JobType>, ControllerError> {
        let current = self.0.catalog.get(name);
        let Some(id) = definition_id else {
            return current.cloned().ok_or_else(|| self.unknown_job_type(name));
        };
        let is_current =
            |job_type: &&Arc<dyn JobType>| job_type.definition().is_some_and(|one| one.id == id);
        if let Some(job_type) = current.filter(is_current) {
            return Ok(Arc::clone(job_type));
        }
        if let Some(known) = self.0.definitions.with(|known| known.compiled.get(id).cloned()) {
            return Ok(known);
        }
        let unreadable = |reason: String| ControllerError::UnreadableDefinition {
            job_type: name.to_owned(),
            reason,
        };
        let source = self.0.database.jobs().definition(id).await?;
        let source = source.ok_or_else(|| unreadable("its text is not stored".to_owned()))?.source;
        let compiled = self.0.catalog.compile(name, &source).map_err(unreadable)?;
        self.0.definitions.with(|known| known.remember(id, source.len(), &compiled));
        Ok(compiled)
    }

    /// The job type by which a task of a job runs. Reads the job's row only if its type is one that
    /// is made from texts, or not in the catalog, and once for each job.
    ///
    /// # Errors
    /// As for [`Controller::job_type_by`].
    pub(super) async fn job_type_of_task(
        &self,
        job_id: &JobId,
        name: &str,
    ) -> Result<Arc<dyn JobType>, ControllerError> {
        match self.0.catalog.get(name) {
            Some(job_type) if job_type.definition().is_none() => return Ok(Arc::clone(job_type)),
            None if !self.0.catalog.can_compile() => return self.job_type_by(name, None).await,
            _ => {}
        }
        let known = self.0.definitions.with(|known| known.of_jobs.get(job_id).cloned());
        let definition_id = match known {
            Some(known) => known,
            None => {
                let job = self.0.database.jobs().get(job_id).await?;
                // A message may come for a job that does not exist.
                let Some(job) = job else { return self.job_type_by(name, None).await };
                self.0.definitions.with(|known| {
                    if known.of_jobs.len() >= MOST_JOBS {
                        known.of_jobs.clear();
                    }
                    known.of_jobs.insert(*job_id, job.definition_id.clone());
                });
                job.definition_id
            }
        };
        self.job_type_by(name, definition_id.as_deref()).await
    }
}
