//! The definition of an app.

use crate::job::{Catalog, JobType};

/// An app: the set of its job types.
#[derive(Debug, Clone, Default)]
pub struct App {
    catalog: Catalog,
}

impl App {
    /// Creates an app without job types.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job type.
    #[must_use]
    pub fn job(mut self, job_type: impl JobType) -> Self {
        self.catalog = self.catalog.with(job_type);
        self
    }

    /// The job types, in the order in which they were added.
    pub fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }
}
