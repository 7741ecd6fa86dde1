//! The trait that a job type implements, and the words it uses.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{FailurePolicy, Fields, Fold, TaskPolicy};
use crate::model::{ProcessingPath, Stage, TaskIndex, TasksPerMessage};

/// One stage of a job type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageSpec {
    /// The type of all its tasks, 1-50 characters.
    pub task_type: &'static str,
    /// How many of its tasks one message names: 1, unless the tasks are so short, or so many, that
    /// their messages would cost more than they do (Service Bus Standard grants 1,000 credits a
    /// second, one a message).
    pub tasks_per_message: TasksPerMessage,
    /// What its failed tasks mean for the job.
    pub failures: FailurePolicy,
    /// How many tasks it will have, where that is known before it is planned; preflight counts with
    /// it.
    pub expected_tasks: Option<u64>,
    /// How long one of its tasks usually takes, where that is known; preflight counts with it.
    pub usual_duration: Option<Duration>,
}

impl StageSpec {
    /// A stage of one message a task, of which no task may fail.
    pub fn new(task_type: &'static str) -> Self {
        Self {
            task_type,
            tasks_per_message: TasksPerMessage::ONE,
            failures: FailurePolicy::FailJob,
            expected_tasks: None,
            usual_duration: None,
        }
    }

    /// The stage with another policy for its failed tasks.
    pub fn with_failure_policy(self, failures: FailurePolicy) -> Self {
        Self { failures, ..self }
    }

    /// The stage with its number of tasks.
    pub fn with_expected_tasks(self, tasks: u64) -> Self {
        Self { expected_tasks: Some(tasks), ..self }
    }

    /// The stage with the time that one of its tasks usually takes.
    pub fn with_usual_duration(self, duration: Duration) -> Self {
        Self { usual_duration: Some(duration), ..self }
    }

    /// The stage with another number of tasks a message.
    pub fn with_tasks_per_message(self, tasks_per_message: TasksPerMessage) -> Self {
        Self { tasks_per_message, ..self }
    }
}

/// One task that a plan yields.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    /// The semantic index, unique within the stage: `tile_x5_y10`.
    pub index: TaskIndex,
    /// What the handler gets: a JSON object, nested at most 64 deep.
    pub parameters: Box<RawValue>,
    /// The task of the previous stage whose result the handler gets; without one, the task with the
    /// same semantic index.
    pub predecessor: Option<TaskIndex>,
}

impl TaskDefinition {
    /// A task with this semantic index and these parameters, which must become a JSON object. Its predecessor is the task of
    /// the previous stage with the same index.
    ///
    /// # Errors
    /// The index or the parameters cannot be a task's.
    pub fn new(index: &str, parameters: &impl Serialize) -> Result<Self, PlanError> {
        Ok(Self {
            index: TaskIndex::try_from(index).map_err(|error| PlanError(error.to_string()))?,
            parameters: to_json(parameters)?,
            predecessor: None,
        })
    }
}

/// A stage's tasks, one after the other, in an order that does not change from call to call.
pub type Plan = BoxStream<'static, Result<TaskDefinition, PlanError>>;

/// What a plan may build on.
#[derive(Debug, Clone)]
pub struct PlanContext {
    /// The stage to plan.
    pub stage: Stage,
    /// How many definitions were taken already: the plan goes on after them. A plan that cannot
    /// begin in its middle may yield everything and `skip`.
    pub from: u64,
    /// The summary that the previous stage's fold made; null in stage 1.
    pub previous_summary: Value,
}

/// A plan that cannot be made: the job fails with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// An attempt that failed: the reason ends up in the task's `error_details`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It may succeed later: a service was away, a file was not there yet. Tried again after a
    /// pause, as often as the task type's [`TaskPolicy`] allows.
    #[error("{0}")]
    Transient(String),
    /// It will never succeed: the input is wrong. The task has failed.
    #[error("{0}")]
    Permanent(String),
}

impl TaskError {
    /// A failure that may pass.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::Transient(reason.into())
    }

    /// A failure for good.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }
}

/// One attempt at one task, as its handler sees it.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Which of the job type's task types it is.
    pub task_type: &'a str,
    /// The parameters of its definition.
    pub parameters: &'a RawValue,
    /// The result of its predecessor, if it has one that completed.
    pub predecessor_result: Option<&'a RawValue>,
    /// 1 for the first attempt.
    pub attempt: u32,
}

impl Task<'_> {
    /// The parameters as the handler's own type.
    ///
    /// # Errors
    /// The parameters do not fit the type: says where.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        serde_json::from_str(self.parameters.get()).map_err(|error| {
            TaskError::Permanent(format!(
                "the parameters of a {} task do not fit: {error}",
                self.task_type
            ))
        })
    }

    /// The predecessor's result as the handler's own type.
    ///
    /// # Errors
    /// There is none, or it does not fit the type.
    pub fn predecessor<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        let result = self.predecessor_result.ok_or_else(|| {
            TaskError::Permanent(format!(
                "a {} task needs its predecessor's result",
                self.task_type
            ))
        })?;
        serde_json::from_str(result.get()).map_err(|error| {
            TaskError::Permanent(format!(
                "the predecessor's result does not fit a {} task: {error}",
                self.task_type
            ))
        })
    }
}

/// A kind of job. Implement it in a file of its own and add it to [the app](crate::App::job).
#[async_trait]
pub trait JobType: Debug + Send + Sync + 'static {
    /// The parameters once [`JobType::check`] passed them.
    type Parameters: DeserializeOwned + Send + 'static;

    /// The name in `/api/jobs/submit/{job_type}`, 1-50 characters.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence or two, for people who choose among job types.
    fn description(&self) -> &'static str {
        ""
    }

    /// Checks the job type's own fields and fills in their defaults. Its JSON Schema is gained from
    /// it, too.
    fn check(&self, fields: &mut Fields);

    /// The one path that this job type takes; `None` lets `use_service_bus` choose.
    fn prescribed_path(&self) -> Option<ProcessingPath> {
        None
    }

    /// Its stages, in order; at least one, at most 100.
    fn stages(&self, parameters: &Self::Parameters) -> Vec<StageSpec>;

    /// The tasks of a stage. Yielding none is fine: the stage ends at once.
    fn plan(&self, parameters: Self::Parameters, context: PlanContext) -> Plan;

    /// How tasks of a type are tried; what it leaves open is the app's setting.
    fn task_policy(&self, _task_type: &str) -> TaskPolicy {
        TaskPolicy::default()
    }

    /// A job that takes longer fails; `None`: the app's setting, a week.
    fn time_limit(&self, _parameters: &Self::Parameters) -> Option<Duration> {
        None
    }

    /// Runs one task. May run more than once for the same task, so it must be idempotent. May be
    /// dropped at any `await`, when the attempt takes too long, has lost its lease, or its job was
    /// cancelled.
    ///
    /// # Errors
    /// The attempt failed with the reason, for good or not. A panic is a transient failure.
    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError>;

    /// What becomes of a stage's results.
    fn fold(&self, stage: Stage) -> Box<dyn Fold>;
}

/// A handler's own type as the JSON that is stored.
///
/// # Errors
/// The type cannot be written as JSON (a map with keys that are not text).
pub fn to_json(value: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}

impl From<serde_json::Error> for TaskError {
    fn from(error: serde_json::Error) -> Self {
        Self::Permanent(format!("the result cannot be written as JSON: {error}"))
    }
}

impl From<serde_json::Error> for PlanError {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("a task's parameters cannot be written as JSON: {error}"))
    }
}
