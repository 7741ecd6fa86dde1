//! What the engine sees of a job type: parameters, tasks, results and summaries are JSON. A
//! [`Job`](super::Job) becomes one in `typed`.

use std::{borrow::Cow, collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use lastlight_api::{job_types::WorkflowInfo, schedules::ScheduleRequest};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Contexts, Fields, Fold, Growth, PlanError, Retention, StageOptions, TaskError, TaskPolicy,
    task::Attempt, upstream::Upstream,
};
use crate::model::{
    DEFAULT_QUEUE, JobId, ProcessingPath, Stage, StageInGraph, TaskIndex, WorkerHandler,
};

/// One stage of a job with certain parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSpec {
    /// The task type of all its tasks, 1-50 characters.
    pub task_type: Cow<'static, str>,
    pub(crate) options: StageOptions,
    /// Its place in a graph; `None`: it follows the stage before. All stages of a job have one, or
    /// none.
    pub place: Option<StageInGraph>,
    /// The name by which workers know the handler of its tasks; `None`: its task type.
    pub handler: Option<String>,
    /// The queue of the workers that run its tasks; `None`: the app's process runs them, unless its
    /// job gives all tasks to workers.
    pub queue: Option<Cow<'static, str>>,
}

impl StageSpec {
    /// A stage of a line.
    pub(crate) fn in_line(task_type: &'static str, options: StageOptions) -> Self {
        let queue = options.queue.map(Cow::Borrowed);
        Self { task_type: task_type.into(), options, place: None, handler: None, queue }
    }

    /// A stage of a graph.
    pub fn in_graph(
        task_type: impl Into<Cow<'static, str>>,
        options: StageOptions,
        place: StageInGraph,
    ) -> Self {
        let queue = options.queue.map(Cow::Borrowed);
        Self { task_type: task_type.into(), options, place: Some(place), handler: None, queue }
    }

    /// The handler of its tasks in a job of this path, if they are for workers.
    pub fn worker(&self, path: ProcessingPath) -> Option<WorkerHandler> {
        let queue = match &self.queue {
            None if path != ProcessingPath::Worker => return None,
            None => DEFAULT_QUEUE,
            Some(queue) => queue,
        };
        let name = self.handler.as_deref().unwrap_or(&self.task_type);
        Some(WorkerHandler { queue: queue.to_owned(), name: name.to_owned() })
    }

    /// Whether the stage tolerates `failed` failed tasks of `total`.
    pub fn tolerates(&self, failed: u64, total: u64) -> bool {
        self.options.failures.tolerates(failed, total)
    }
}

/// One task of a plan.
#[derive(Debug, Clone)]
pub struct TaskDefinition {
    /// The semantic index, unique within the stage: `tile_x5_y10`.
    pub index: TaskIndex,
    /// The parameters for [`JobType::run`]: a JSON object, nested at most 64 levels deep.
    pub parameters: Box<RawValue>,
    /// The task whose result is passed to [`JobType::run`].
    pub predecessor: Predecessor,
}

/// The task whose result a task reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predecessor {
    /// The task of the previous stage with the same semantic index, if there is one.
    SameIndex,
    /// Another task of the previous stage.
    Index(TaskIndex),
    /// A task of any stage that this one depends on, even through others.
    In(Stage, TaskIndex),
    /// None.
    Nothing,
}

/// A stream of a stage's tasks. Their order must be the same in every call.
pub type RawPlan = BoxStream<'static, Result<TaskDefinition, PlanError>>;

/// The input of a plan.
#[derive(Debug, Clone)]
pub struct PlanContext {
    /// Id of the job.
    pub job_id: JobId,
    /// The stage to plan.
    pub stage: Stage,
    /// Number of task definitions that were taken already: the plan continues after them. A plan
    /// that cannot start in the middle may yield everything and `skip`.
    pub from: u64,
    /// The summary of the previous stage; null in stage 1, and in a graph.
    pub previous_summary: Value,
    /// What the stages that it depends on resulted in; `None` for a plan that is tried in memory.
    pub upstream: Option<Arc<dyn Upstream>>,
}

/// What became of a decision.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It was taken.
    Taken {
        /// The stage's output.
        output: Box<RawValue>,
        /// The stages that depend on it and that it did not choose: these are skipped.
        not_chosen: BTreeSet<Stage>,
    },
    /// The stage does not run.
    Skipped,
}

/// The job that a stage submits and waits for.
#[derive(Debug, Clone)]
pub enum Child {
    /// It is submitted.
    Job {
        /// Its type.
        job_type: String,
        /// Its parameters.
        parameters: Map<String, Value>,
    },
    /// The stage does not run.
    Skipped,
}

/// Why a submission is not admitted although its parameters are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It would be refused again.
    Refused(String),
    /// That cannot be checked now.
    Unavailable(String),
}

/// The text from which a job type was made.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'a> {
    /// The SHA-256 of the source, in hexadecimal digits.
    pub id: &'a str,
    /// A number that its author gave it.
    pub version: Option<i32>,
    /// The text.
    pub source: &'a str,
}

/// One attempt at one task, as passed to [`JobType::run`].
#[derive(Debug)]
pub struct Task {
    /// The task type.
    pub task_type: String,
    /// The parameters from its [`TaskDefinition`].
    pub parameters: Box<RawValue>,
    /// The attempt.
    pub attempt: Attempt,
}

/// A kind of job, for the controller. A panic in the code of a job becomes an error here.
#[async_trait]
pub trait JobType: Debug + Send + Sync {
    /// The name in `/api/jobs/submit/{job_type}`, 1-50 characters.
    fn name(&self) -> &str;

    /// One or two sentences on what it does, for users who choose a job type.
    fn description(&self) -> &str;

    /// Checks the job type's own fields and fills in their defaults. The JSON Schema is derived
    /// from it too.
    fn check(&self, fields: &mut Fields);

    /// The only path of this job type; `None` lets `use_service_bus` select the path.
    fn prescribed_path(&self) -> Option<ProcessingPath>;

    /// The stages in order, 1 to 100.
    ///
    /// # Errors
    /// The parameters do not match the job type: they were stored by another version of it. Or it
    /// panicked.
    fn stages(&self, parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError>;

    /// The tasks of a stage. A plan without tasks is valid: the stage finishes at once.
    ///
    /// # Errors
    /// As for [`JobType::stages`]; or the job has no such stage.
    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<RawPlan, PlanError>;

    /// The retry policy and timeout of a task type; fields that are `None` use the app's settings.
    fn task_policy(&self, task_type: &str) -> TaskPolicy;

    /// How the pauses between attempts of a task type grow.
    fn growth(&self, _task_type: &str) -> Growth {
        Growth::Doubled
    }

    /// A job that takes longer fails; `None` uses the app's setting, by default one week.
    ///
    /// # Errors
    /// As for [`JobType::stages`].
    fn time_limit(&self, parameters: &Map<String, Value>) -> Result<Option<Duration>, PlanError>;

    /// For how long its jobs are kept after their end.
    fn retention(&self) -> Retention {
        Retention::default()
    }

    /// When its jobs are submitted by themselves. The names are unique in the app.
    fn schedules(&self) -> Vec<ScheduleRequest> {
        Vec::new()
    }

    /// Runs one task. It may run more than once for the same task, so it must be idempotent. It may
    /// be dropped at any `await`: when the attempt takes too long, has lost its lease, or its job
    /// was cancelled. A panic is not caught here.
    ///
    /// # Errors
    /// The attempt failed.
    async fn run(&self, task: Task) -> Result<Box<RawValue>, TaskError>;

    /// Why a worker is not to run a task with these parameters: the task fails with the reason.
    fn unfit_for_worker(&self, _parameters: &RawValue) -> Option<String> {
        None
    }

    /// The result of a task for whose handler a worker answered this.
    ///
    /// # Errors
    /// The answer is no result of such a task, or says that the attempt failed.
    fn result_of_worker(
        &self,
        _task_type: &str,
        answered: Box<RawValue>,
    ) -> Result<Box<RawValue>, TaskError> {
        Ok(answered)
    }

    /// The fold that summarizes a stage's results.
    ///
    /// # Errors
    /// As for [`JobType::plan`].
    fn fold(
        &self,
        parameters: &Map<String, Value>,
        stage: Stage,
    ) -> Result<Box<dyn Fold>, PlanError>;

    /// Takes the decision of a stage of the kind [`StageKind::Decision`](crate::model::StageKind).
    /// The same results upstream lead to the same decision.
    ///
    /// # Errors
    /// The decision cannot be taken: the stage fails, or waits if something is unavailable.
    async fn decide(
        &self,
        _job_id: &JobId,
        _parameters: &Map<String, Value>,
        stage: Stage,
        _upstream: Arc<dyn Upstream>,
    ) -> Result<Decision, PlanError> {
        Err(PlanError::new(format!("stage {stage} of {} takes no decision", self.name())))
    }

    /// Whether a stage of a graph whose plan has no tasks was to run: if not, it counts as skipped.
    ///
    /// # Errors
    /// As for [`JobType::decide`].
    async fn runs(
        &self,
        _job_id: &JobId,
        _parameters: &Map<String, Value>,
        _stage: Stage,
        _upstream: Arc<dyn Upstream>,
    ) -> Result<bool, PlanError> {
        Ok(true)
    }

    /// The job that a stage of the kind [`StageKind::Job`](crate::model::StageKind) submits.
    ///
    /// # Errors
    /// As for [`JobType::decide`].
    async fn child(
        &self,
        _job_id: &JobId,
        _parameters: &Map<String, Value>,
        stage: Stage,
        _upstream: Arc<dyn Upstream>,
    ) -> Result<Child, PlanError> {
        Err(PlanError::new(format!("stage {stage} of {} submits no job", self.name())))
    }

    /// Whether [`JobType::admit`] checks anything.
    fn has_admission(&self) -> bool {
        false
    }

    /// Checks a submission beyond its parameters, before its job is stored: that files exist which
    /// it names, for example.
    ///
    /// # Errors
    /// It is not admitted.
    async fn admit(&self, _parameters: &Map<String, Value>) -> Result<(), NotAdmitted> {
        Ok(())
    }

    /// What is doubtful about the job type, for whoever deploys it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The text from which it was made, if it was: it is stored with each job, and the job runs as
    /// this text says, even if there is another one of the same name by then.
    fn definition(&self) -> Option<Definition<'_>> {
        None
    }

    /// The workflow file that it was made of, for users.
    fn workflow(&self) -> Option<WorkflowInfo> {
        None
    }

    /// The values that tasks share.
    fn contexts(&self) -> Contexts;
}
