//! The definition of an app, and its commands.

use std::{future::Future, process::ExitCode};

use lastlight_engine::model::ProcessingPath;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Context, Job, TaskContext, TaskError};

#[cfg(feature = "local")]
type Commands = lastlight_local::Commands;
#[cfg(not(feature = "local"))]
type Commands = lastlight_cli::NoCommands;

/// An app: its job types, and the values that their tasks share.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct App(lastlight_engine::App);

impl App {
    /// Creates an app without job types.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a job type.
    pub fn job<J: Job>(self) -> Self {
        Self(self.0.job::<J>())
    }

    /// Adds a job type under another name, always over one path: the same work over both paths, to
    /// compare them.
    pub fn job_over<J: Job>(self, name: &'static str, path: ProcessingPath) -> Self {
        Self(self.0.job_over::<J>(name, path))
    }

    /// Shows a context in `GET /api/health`, also before a task needs it.
    pub fn context<C: Context>(self) -> Self {
        Self(self.0.context::<C>())
    }

    /// Adds a context that is made already, in place of the one that its `start` would make.
    pub fn provide<C: Context>(self, value: C) -> Self {
        Self(self.0.provide(value))
    }

    /// Adds a handler: a plain function under a name, with typed parameters and a typed result, for
    /// definitions of work that are no Rust code. [`testing::call`](crate::testing::call) calls one.
    /// Every app has the handlers `echo`, `fail`, `http_call` and `sleep`; their names are taken.
    ///
    /// ```
    /// use lastlight::{App, TaskContext, TaskError};
    ///
    /// async fn area(_: TaskContext, [width, height]: [f64; 2]) -> Result<f64, TaskError> {
    ///     Ok(width * height)
    /// }
    ///
    /// let app = App::new().handler("area", area);
    /// ```
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
        Self(self.0.handler(name, handler))
    }

    /// What is wrong with the definitions, one sentence each; such an app does not start.
    pub fn problems(&self) -> &[String] {
        self.0.problems()
    }

    /// Runs the command that the process's arguments name; without one, the handler that a Functions
    /// host starts. An app that is not valid, because two job types have one name for example, does
    /// not start: it prints what is wrong.
    pub fn main(self) -> ExitCode {
        self.main_with::<Commands>()
    }

    /// The same with other additional commands.
    #[doc(hidden)]
    pub fn main_with<C: lastlight_cli::Commands>(self) -> ExitCode {
        lastlight_cli::main::<C>(self.0)
    }

    /// The app as the other crates of this workspace see it.
    #[doc(hidden)]
    pub fn into_engine(self) -> lastlight_engine::App {
        self.0
    }
}
