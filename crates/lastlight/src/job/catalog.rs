//! The catalog of job types, and the object-safe trait through which the controller uses them.

use std::{fmt::Debug, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::{Map, Value, value::RawValue};

use super::{
    Fields, Fold, JobType, Plan, PlanContext, PlanError, StageSpec, Task, TaskError, TaskPolicy,
    panics::{caught, panicked},
};
use crate::model::{ProcessingPath, Stage};

/// Upper bound of a job's time limit, since the database's times are bounded: 100 years.
const LONGEST_JOB: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// All job types that this binary knows.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    job_types: Vec<Arc<dyn DynJobType>>,
}

impl Catalog {
    /// Adds a job type.
    #[must_use]
    pub fn with(mut self, job_type: impl JobType) -> Self {
        self.job_types.push(Arc::new(job_type));
        self
    }

    /// The job type with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn DynJobType>> {
        self.job_types.iter().find(|job_type| job_type.name() == name)
    }

    /// All job types, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn DynJobType> {
        self.job_types.iter().map(AsRef::as_ref)
    }

    /// All names, in the order in which the job types were added.
    pub fn names(&self) -> Vec<&'static str> {
        self.job_types.iter().map(|job_type| job_type.name()).collect()
    }
}

/// A [`JobType`] with its parameters as JSON, for the controller. Implemented for every job type. A
/// panic while a job type plans is returned as a [`PlanError`].
#[async_trait]
pub trait DynJobType: Debug + Send + Sync {
    /// See [`JobType::name`].
    fn name(&self) -> &'static str;
    /// See [`JobType::description`].
    fn description(&self) -> &'static str;
    /// See [`JobType::check`].
    fn check(&self, fields: &mut Fields);
    /// See [`JobType::prescribed_path`].
    fn prescribed_path(&self) -> Option<ProcessingPath>;
    /// See [`JobType::stages`].
    ///
    /// # Errors
    /// The parameters do not match the job type: they were stored by another version of it.
    fn stages(&self, parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError>;
    /// See [`JobType::plan`].
    ///
    /// # Errors
    /// The parameters do not match the job type: they were stored by another version of it.
    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<Plan, PlanError>;
    /// See [`JobType::task_policy`].
    fn task_policy(&self, task_type: &str) -> TaskPolicy;
    /// See [`JobType::time_limit`].
    ///
    /// # Errors
    /// The parameters do not match the job type: they were stored by another version of it.
    fn time_limit(&self, parameters: &Map<String, Value>) -> Result<Option<Duration>, PlanError>;
    /// See [`JobType::run`].
    ///
    /// # Errors
    /// The attempt failed.
    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError>;
    /// See [`JobType::fold`].
    fn fold(&self, stage: Stage) -> Box<dyn Fold>;
}

#[async_trait]
impl<J: JobType> DynJobType for J {
    fn name(&self) -> &'static str {
        JobType::name(self)
    }

    fn description(&self) -> &'static str {
        JobType::description(self)
    }

    fn check(&self, fields: &mut Fields) {
        JobType::check(self, fields);
    }

    fn prescribed_path(&self) -> Option<ProcessingPath> {
        JobType::prescribed_path(self)
    }

    fn stages(&self, parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError> {
        let parameters = typed::<J>(parameters)?;
        caught(|| JobType::stages(self, &parameters)).map_err(PlanError)
    }

    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<Plan, PlanError> {
        let parameters = typed::<J>(parameters)?;
        let plan = caught(|| JobType::plan(self, parameters, context)).map_err(PlanError)?;
        let caught = AssertUnwindSafe(plan).catch_unwind();
        Ok(caught
            .map(|task| task.unwrap_or_else(|panic| Err(PlanError(panicked(&*panic)))))
            .boxed())
    }

    fn task_policy(&self, task_type: &str) -> TaskPolicy {
        caught(|| JobType::task_policy(self, task_type)).unwrap_or_else(|problem| {
            let job_type = JobType::name(self);
            tracing::error!(
                job_type,
                task_type,
                problem,
                "the task policy cannot be computed; the app's settings are used"
            );
            TaskPolicy::default()
        })
    }

    fn time_limit(&self, parameters: &Map<String, Value>) -> Result<Option<Duration>, PlanError> {
        let parameters = typed::<J>(parameters)?;
        let limit = caught(|| JobType::time_limit(self, &parameters)).map_err(PlanError)?;
        Ok(limit.map(|limit| limit.min(LONGEST_JOB)))
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        JobType::run(self, task).await
    }

    fn fold(&self, stage: Stage) -> Box<dyn Fold> {
        JobType::fold(self, stage)
    }
}

fn typed<J: JobType>(parameters: &Map<String, Value>) -> Result<J::Parameters, PlanError> {
    serde::Deserialize::deserialize(parameters).map_err(|error: serde_json::Error| {
        PlanError(format!("the job's parameters do not match its type: {error}"))
    })
}
