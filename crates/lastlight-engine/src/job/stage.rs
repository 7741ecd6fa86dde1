//! Stages: what a job does, step by step, with the types that the compiler checks from one stage to
//! the next. Knows neither how stages are stored nor what runs them.

use std::{future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{FailurePolicy, Job, Link, Plan, PlanContext, TaskContext, TaskError, TaskPolicy};
use crate::model::TasksPerMessage;

/// One stage of a job: a plan of tasks, the work of one task, and a fold of their results.
///
/// The functions have no `self`: what tasks share is a [`Context`](super::Context).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stage",
    label = "a stage is a type that implements `Stage`"
)]
pub trait Stage: Sized + Send + Sync + 'static {
    /// The task type of all its tasks: 1 to 50 characters, unique in its job. Stored with each task
    /// and named in lists and metrics. Without one, the name of the job.
    const NAME: &'static str = <Self::Job as Job>::NAME;

    /// The job that it is a stage of.
    type Job: Job;
    /// The stage before it, or several stages as a tuple; [`Start`](super::Start) for a first stage.
    type Previous: Link<Self::Job>;
    /// The parameters of one task.
    type Task: Serialize + DeserializeOwned + Send + 'static;
    /// The result of one task: at most 1 MiB of JSON.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// What remains of the stage's results: the next stage's plan receives it, and the job's status
    /// shows it. Its size must not grow with the number of tasks.
    type Summary: Default + Serialize + DeserializeOwned + Send + 'static;

    /// The tasks of the stage. The same parameters must give the same tasks in the same order: if a
    /// planner dies, another one continues where it stopped.
    fn plan(context: PlanContext<Self>) -> Plan<Self::Task>;

    /// Runs one task. It may run more than once for the same task, so it must be idempotent. It may
    /// be dropped at any `await`: when the attempt takes too long, has lost its lease, or its job
    /// was cancelled.
    ///
    /// # Errors
    /// The attempt failed. Any error becomes a transient failure with `?`; see [`TaskError`]. A
    /// panic is a transient failure.
    fn run(
        context: TaskContext<Self>,
        task: Self::Task,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;

    /// Adds the result of one completed task to the summary. Called once for each, in no particular
    /// order.
    fn fold(summary: &mut Self::Summary, output: Self::Output);

    /// Messages, tolerated failures and expected size of the stage; `round` counts from 0 for a
    /// stage that is repeated.
    fn options(_job: &Self::Job, _round: usize) -> StageOptions {
        StageOptions::default()
    }

    /// Attempts, pauses and timeout of its tasks; fields that are `None` use the app's settings.
    fn policy() -> TaskPolicy {
        TaskPolicy::default()
    }
}

/// Messages, tolerated failures and expected size of a stage.
///
/// ```
/// # use lastlight_engine::{job::{FailurePolicy, StageOptions}, model::TasksPerMessage};
/// // A hundred short tasks per message; one task in a thousand may fail.
/// let options = StageOptions::default()
///     .tasks_per_message(TasksPerMessage::try_from(100)?)
///     .tolerate(FailurePolicy::TolerateShare(0.001));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageOptions {
    pub(crate) tasks_per_message: TasksPerMessage,
    pub(crate) failures: FailurePolicy,
    pub(crate) expected_tasks: Option<u64>,
    pub(crate) usual_duration: Option<Duration>,
    pub(crate) queue: Option<&'static str>,
}

impl Default for StageOptions {
    /// One message per task; no failed task is tolerated; no expectations.
    fn default() -> Self {
        Self {
            tasks_per_message: TasksPerMessage::ONE,
            failures: FailurePolicy::FailJob,
            expected_tasks: None,
            usual_duration: None,
            queue: None,
        }
    }
}

impl StageOptions {
    /// Number of tasks per message: more than one if the tasks are so short or so numerous that
    /// their messages would cost more than the tasks themselves.
    #[must_use]
    pub fn tasks_per_message(self, tasks_per_message: TasksPerMessage) -> Self {
        Self { tasks_per_message, ..self }
    }

    /// Which failed tasks the stage tolerates.
    #[must_use]
    pub fn tolerate(self, failures: FailurePolicy) -> Self {
        Self { failures, ..self }
    }

    /// Number of tasks, if known before the stage is planned: a job that cannot work is then
    /// rejected at submission.
    #[must_use]
    pub fn expected_tasks(self, tasks: u64) -> Self {
        Self { expected_tasks: Some(tasks), ..self }
    }

    /// The queue of the workers that run its tasks over HTTP, 1 to 50 characters: without it the app's
    /// own process runs them.
    #[must_use]
    pub fn queue(self, queue: &'static str) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Usual duration of one task, for the same purpose.
    #[must_use]
    pub fn usual_duration(self, duration: Duration) -> Self {
        Self { usual_duration: Some(duration), ..self }
    }
}
