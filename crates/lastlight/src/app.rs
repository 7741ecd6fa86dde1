//! What an app is made of.

use crate::job::{Catalog, JobType};

/// An app: its job types.
#[derive(Debug, Clone, Default)]
pub struct App {
    catalog: Catalog,
}

impl App {
    /// An app without job types.
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
