//! The trait that a job type implements, and the types in its interface.

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
    /// The task type of all its tasks, 1-50 characters.
    pub task_type: &'static str,
    /// Number of tasks per message: 1, unless the tasks are so short or so numerous that their
    /// messages would cost more than the tasks themselves (Service Bus Standard grants 1,000
    /// credits per second, and each message takes one).
    pub tasks_per_message: TasksPerMessage,
    /// Whether failed tasks fail the job.
    pub failures: FailurePolicy,
    /// Number of tasks, if known before the stage is planned; used by preflight.
    pub expected_tasks: Option<u64>,
    /// Usual duration of one task, if known; used by preflight.
    pub usual_duration: Option<Duration>,
}

impl StageSpec {
    /// A stage with one message per task, in which no task may fail.
    pub fn new(task_type: &'static str) -> Self {
        Self {
            task_type,
            tasks_per_message: TasksPerMessage::ONE,
            failures: FailurePolicy::FailJob,
            expected_tasks: None,
            usual_duration: None,
        }
    }

    /// Sets the policy for failed tasks.
    pub fn with_failure_policy(self, failures: FailurePolicy) -> Self {
        Self { failures, ..self }
    }

    /// Sets the expected number of tasks.
    pub fn with_expected_tasks(self, tasks: u64) -> Self {
        Self { expected_tasks: Some(tasks), ..self }
    }

    /// Sets the usual duration of one task.
    pub fn with_usual_duration(self, duration: Duration) -> Self {
        Self { usual_duration: Some(duration), ..self }
    }

    /// Sets the number of tasks per message.
    pub fn with_tasks_per_message(self, tasks_per_message: TasksPerMessage) -> Self {
        Self { tasks_per_message, ..self }
    }
}

/// One task of a plan.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    /// The semantic index, unique within the stage: `tile_x5_y10`.
    pub index: TaskIndex,
    /// The parameters for [`JobType::run`]: a JSON object, nested at most 64 levels deep.
    pub parameters: Box<RawValue>,
    /// The task of the previous stage whose result is passed to [`JobType::run`]; `None` means the
    /// task with the same semantic index.
    pub predecessor: Option<TaskIndex>,
}

impl TaskDefinition {
    /// A task with this semantic index and these parameters, which must become a JSON object. Its
    /// predecessor is the task of the previous stage with the same index.
    ///
    /// # Errors
    /// The index or the parameters are not valid for a task.
    pub fn new(index: &str, parameters: &impl Serialize) -> Result<Self, PlanError> {
        Ok(Self { index: task_index(index)?, parameters: to_json(parameters)?, predecessor: None })
    }

    /// The same task with another predecessor.
    ///
    /// # Errors
    /// The index is not valid for a task.
    pub fn with_predecessor(self, index: &str) -> Result<Self, PlanError> {
        Ok(Self { predecessor: Some(task_index(index)?), ..self })
    }
}

fn task_index(text: &str) -> Result<TaskIndex, PlanError> {
    TaskIndex::try_from(text).map_err(|error| PlanError(error.to_string()))
}

/// A stream of a stage's tasks. Their order must be the same in every call.
pub type Plan = BoxStream<'static, Result<TaskDefinition, PlanError>>;

/// The input of a plan.
#[derive(Debug, Clone)]
pub struct PlanContext {
    /// The stage to plan.
    pub stage: Stage,
    /// Number of task definitions that were taken already: the plan continues after them. A plan
    /// that cannot start in the middle may yield everything and `skip`.
    pub from: u64,
    /// The summary of the previous stage; null in stage 1.
    pub previous_summary: Value,
}

/// The stage cannot be planned: the job fails with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// An attempt failed: the reason is stored in the task's `error_details`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The task may succeed later: a service was unavailable, or a file did not exist yet. It is
    /// retried after a pause, as often as the task type's [`TaskPolicy`] allows.
    #[error("{0}")]
    Transient(String),
    /// The task will never succeed, for example because its input is wrong. It fails.
    #[error("{0}")]
    Permanent(String),
}

impl TaskError {
    /// Creates a transient failure.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::Transient(reason.into())
    }

    /// Creates a permanent failure.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }
}

/// One attempt at one task, as passed to [`JobType::run`].
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The task type.
    pub task_type: &'a str,
    /// The parameters from its [`TaskDefinition`].
    pub parameters: &'a RawValue,
    /// The result of its predecessor, if there is one and it completed.
    pub predecessor_result: Option<&'a RawValue>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

impl Task<'_> {
    /// The parameters, deserialized.
    ///
    /// # Errors
    /// The parameters do not match the type; the error says where.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        serde_json::from_str(self.parameters.get()).map_err(|error| {
            TaskError::Permanent(format!(
                "the parameters of a {} task do not match its type: {error}",
                self.task_type
            ))
        })
    }

    /// The predecessor's result, deserialized.
    ///
    /// # Errors
    /// There is none, or it does not match the type.
    pub fn predecessor<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        let result = self.predecessor_result.ok_or_else(|| {
            TaskError::Permanent(format!(
                "a {} task needs its predecessor's result",
                self.task_type
            ))
        })?;
        serde_json::from_str(result.get()).map_err(|error| {
            TaskError::Permanent(format!(
                "the predecessor's result does not match the type that a {} task expects: {error}",
                self.task_type
            ))
        })
    }
}

/// A kind of job. Implement it in a file of its own and add it to [the app](crate::App::job).
#[async_trait]
pub trait JobType: Debug + Send + Sync + 'static {
    /// The parameters, as accepted by [`JobType::check`].
    type Parameters: DeserializeOwned + Send + 'static;

    /// The name in `/api/jobs/submit/{job_type}`, 1-50 characters.
    fn name(&self) -> &'static str;

    /// One or two sentences on what it does, for users who choose a job type.
    fn description(&self) -> &'static str {
        ""
    }

    /// Checks the job type's own fields and fills in their defaults. The JSON Schema is derived
    /// from it too.
    fn check(&self, fields: &mut Fields);

    /// The only path of this job type; `None` lets `use_service_bus` select the path.
    fn prescribed_path(&self) -> Option<ProcessingPath> {
        None
    }

    /// The stages in order, 1 to 100.
    fn stages(&self, parameters: &Self::Parameters) -> Vec<StageSpec>;

    /// The tasks of a stage. A plan without tasks is valid: the stage finishes at once.
    fn plan(&self, parameters: Self::Parameters, context: PlanContext) -> Plan;

    /// The retry policy and timeout of a task type; fields that are `None` use the app's settings.
    fn task_policy(&self, _task_type: &str) -> TaskPolicy {
        TaskPolicy::default()
    }

    /// A job that takes longer fails; `None` uses the app's setting, by default one week.
    fn time_limit(&self, _parameters: &Self::Parameters) -> Option<Duration> {
        None
    }

    /// Runs one task. It may run more than once for the same task, so it must be idempotent. It may
    /// be dropped at any `await`: when the attempt takes too long, has lost its lease, or its job
    /// was cancelled.
    ///
    /// # Errors
    /// The attempt failed, transiently or permanently. A panic is a transient failure.
    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError>;

    /// The fold that summarizes a stage's results.
    fn fold(&self, stage: Stage) -> Box<dyn Fold>;
}

/// Serializes a value as JSON, for storage.
///
/// # Errors
/// The value cannot be written as JSON, for example a map with keys that are not text.
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
