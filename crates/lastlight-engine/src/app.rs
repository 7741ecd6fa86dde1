//! The definition of an app.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    builtin::{self, HttpCalls},
    job::{Catalog, Context, Job, TaskContext, TaskError, erased::JobType},
    model::ProcessingPath,
};

/// An app: its job types, and the values that their tasks share.
#[derive(Debug, Clone)]
pub struct App {
    catalog: Catalog,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// Creates an app without job types. It has the built-in handlers; their settings come when the
    /// process starts.
    pub fn new() -> Self {
        Self { catalog: builtin::add_to(Catalog::default(), HttpCalls::default()) }
    }

    /// Adds a job type.
    #[must_use]
    pub fn job<J: Job>(self) -> Self {
        Self { catalog: self.catalog.job::<J>(None) }
    }

    /// Adds a job type under another name, always over one path: the same work over both paths, for
    /// a comparison.
    #[must_use]
    pub fn job_over<J: Job>(self, name: &'static str, path: ProcessingPath) -> Self {
        Self { catalog: self.catalog.job::<J>(Some((name, path))) }
    }

    /// Adds a job type that is no Rust type.
    #[doc(hidden)]
    #[must_use]
    pub fn job_type(self, job_type: Arc<dyn JobType>) -> Self {
        Self { catalog: self.catalog.job_type(job_type) }
    }

    /// Shows a context in `GET /api/health`, also before a task needs it.
    #[must_use]
    pub fn context<C: Context>(self) -> Self {
        self.catalog.contexts().add::<C>();
        self
    }

    /// Adds a context that is made already, in place of the one that its `start` would make.
    #[must_use]
    pub fn provide<C: Context>(self, value: C) -> Self {
        self.catalog.contexts().provide(value);
        self
    }

    /// Adds a handler under a name, which no built-in handler may have.
    #[must_use]
    pub fn handler<P, R, F>(
        self,
        name: &'static str,
        handler: impl Fn(TaskContext, P) -> F + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        Self { catalog: self.catalog.handler(name, handler) }
    }

    /// What is wrong with the definitions, one sentence each; such an app does not start.
    pub fn problems(&self) -> &[String] {
        self.catalog.problems()
    }

    /// The job types, in the order in which they were added.
    #[doc(hidden)]
    pub fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }
}
