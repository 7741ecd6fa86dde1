//! The catalog of an app's job types and handlers, and of the values that their tasks share.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Contexts, Job, JobType, TaskContext, TaskError,
    handlers::{Handlers, Origin},
    stage_list::is_name,
    typed::Typed,
};
use crate::model::ProcessingPath;

/// All job types that this binary knows.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    job_types: Vec<Arc<dyn JobType>>,
    contexts: Contexts,
    handlers: Handlers,
    compiler: Option<Compiler>,
    problems: Vec<String>,
    files: Vec<WrongFile>,
}

/// A file that keeps its job type out of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongFile {
    /// The file.
    pub file: String,
    /// The job type that it should make, if that can be read.
    pub job_type: Option<String>,
    /// What is wrong, one problem a line, each with file, line and column.
    pub problems: String,
}

/// Makes the job type of a stored text: the name that it should have, and the text.
type Compile = dyn Fn(&str, &str) -> Result<Arc<dyn JobType>, String> + Send + Sync;

#[derive(Clone)]
struct Compiler(Arc<Compile>);

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Compiler").finish()
    }
}

impl Catalog {
    /// Adds a job, under its own name or under another name and over one path.
    #[must_use]
    pub fn job<J: Job>(mut self, other: Option<(&'static str, ProcessingPath)>) -> Self {
        match Typed::<J>::new(other, self.contexts.clone()) {
            Ok(job_type) => self.job_type(Arc::new(job_type)),
            Err(problem) => {
                self.problems.push(problem);
                self
            }
        }
    }

    /// Adds a handler of the app.
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
        self.handler_from(Origin::App, name, handler)
    }

    /// Adds a handler that every app has, or replaces it by the same one with other settings.
    #[must_use]
    pub(crate) fn built_in_handler<P, R, F>(
        self,
        name: &'static str,
        handler: impl Fn(TaskContext, P) -> F + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        self.handler_from(Origin::BuiltIn, name, handler)
    }

    fn handler_from<P, R, F>(
        mut self,
        origin: Origin,
        name: &'static str,
        handler: impl Fn(TaskContext, P) -> F + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        if !is_name(name) {
            self.problems
                .push(format!("the name of handler {name:?} must have 1 to 50 characters"));
        }
        if let Err(problem) = self.handlers.add(name, origin, handler) {
            self.problems.push(problem);
        }
        self
    }

    /// Adds a job type that is no Rust type.
    #[must_use]
    pub fn job_type(mut self, job_type: Arc<dyn JobType>) -> Self {
        let name = job_type.name();
        if self.get(name).is_some() {
            self.problems.push(format!("two job types are named {name:?}"));
        }
        self.job_types.push(job_type);
        self
    }

    /// Adds a file that is wrong: it keeps its own job type out, and no other.
    #[must_use]
    pub(crate) fn without_file(mut self, problems: lastlight_workflow::Problems) -> Self {
        self.files.push(WrongFile {
            problems: problems.to_string(),
            file: problems.file,
            job_type: problems.workflow,
        });
        self
    }

    /// The files that are wrong.
    pub fn wrong_files(&self) -> &[WrongFile] {
        &self.files
    }

    /// How the job type of a stored text is made.
    #[must_use]
    pub fn compiler(
        self,
        compile: impl Fn(&str, &str) -> Result<Arc<dyn JobType>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { compiler: Some(Compiler(Arc::new(compile))), ..self }
    }

    /// The job type of a stored text.
    ///
    /// # Errors
    /// The text has no job type of this name that this version can read, for the reason given.
    pub fn compile(&self, name: &str, source: &str) -> Result<Arc<dyn JobType>, String> {
        match &self.compiler {
            Some(Compiler(compile)) => compile(name, source),
            None => Err("this app makes no job types of texts".to_owned()),
        }
    }

    /// Whether job types can be made of stored texts.
    pub fn can_compile(&self) -> bool {
        self.compiler.is_some()
    }

    /// The handlers, by name.
    pub fn handlers(&self) -> &Handlers {
        &self.handlers
    }

    /// The values that tasks share.
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// What is wrong with the definitions: an app with a problem must not start.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The job type with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn JobType>> {
        self.job_types.iter().find(|job_type| job_type.name() == name)
    }

    /// All job types, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn JobType> {
        self.job_types.iter().map(AsRef::as_ref)
    }

    /// All names, in the order in which the job types were added.
    pub fn names(&self) -> Vec<&str> {
        self.job_types.iter().map(|job_type| job_type.name()).collect()
    }
}
