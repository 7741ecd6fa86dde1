//! A job in memory: plans, tasks and folds as the engine would run them, without its queues and
//! database. It checks what the engine can only notice later: that plans are the same every time
//! and can begin anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use lastlight_engine::{
    job::erased::{Attempt, Catalog, Fields, JobType, PlanContext, StageSpec, TaskDefinition},
    model::{JobId, Stage as StageNumber},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    attempts::{Checkpoint, TIMEOUT, TaskEnd},
    outcome::{Finished, JobFailed, TaskFailed},
    records::{Records, StageRecord},
};
use crate::{App, Context, Job, PlanError, ResultExt, TaskError};

/// Number of tasks that run at the same time.
const AT_ONCE: usize = 16;

/// Maximum number of tasks of one stage.
const LARGEST_STAGE: usize = 1_000_000;

/// Runs a job in memory. Await it, after setting what should differ from the default.
pub fn run<J: Job>(job: J) -> Run<J> {
    Run { job, catalog: Catalog::default().job::<J>(None), runs_twice: false }
}

/// Calls a handler of an app, once, and returns its result.
///
/// # Errors
/// There is no such handler, the parameters or the result do not match its types, or it failed.
pub async fn call<R: DeserializeOwned>(
    app: &App,
    handler: &str,
    parameters: impl Serialize,
) -> Result<R, TaskError> {
    let parameters = serde_json::value::to_raw_value(&parameters).permanent()?;
    let catalog = app.clone().into_engine().catalog();
    let cancellation = CancellationToken::new();
    let _cancel = cancellation.clone().drop_guard();
    let attempt = Attempt {
        job_id: String::new(),
        task_id: handler.to_owned(),
        number: 1,
        deadline: Instant::now() + TIMEOUT,
        cancellation,
        predecessor: None,
        contexts: catalog.contexts().clone(),
        notes: Arc::default(),
        checkpoints: Arc::<Checkpoint>::default() as _,
    };
    let handlers = catalog.handlers();
    let Some(call) = handlers.call(handler, attempt, &parameters) else {
        let names: Vec<&str> = handlers.names().collect();
        return Err(TaskError::permanent(format!(
            "there is no handler {handler:?}; there are {names:?}"
        )));
    };
    serde_json::from_str(call.await?.get()).permanent()
}

/// A job that is about to run in memory.
#[derive(Debug)]
#[must_use = "await it"]
pub struct Run<J> {
    job: J,
    catalog: Catalog,
    runs_twice: bool,
}

impl<J: Job> Run<J> {
    /// Gives the tasks a context, in place of the one that its `start` would make.
    pub fn provide<C: Context>(self, value: C) -> Self {
        self.catalog.contexts().provide(value);
        self
    }

    /// Runs each task a second time, as a queue does that delivers a message twice while the outcome
    /// of the first attempt is being recorded. The first result counts; a failure of the second
    /// attempt fails the run, since a task must be idempotent.
    pub fn duplicates(self) -> Self {
        Self { runs_twice: true, ..self }
    }

    async fn finish(self) -> Result<Finished<J>, JobFailed> {
        let Self { job, catalog, runs_twice } = self;
        if let [problem, ..] = catalog.problems() {
            return Err(JobFailed::new(problem.clone()));
        }
        let definition = catalog
            .get(J::NAME)
            .ok_or_else(|| JobFailed::new(format!("there is no job {:?}", J::NAME)))?;
        let parameters = checked(definition.as_ref(), &job)?;
        let specs = definition.stages(&parameters).map_err(JobFailed::of_plan)?;
        if !(1..=100).contains(&specs.len()) {
            return Err(JobFailed::new(format!(
                "the job has {} stages with these parameters; 1 to 100 are allowed",
                specs.len()
            )));
        }
        let job_id = JobId::derive(J::NAME, &parameters);
        let running = Running { definition: definition.as_ref(), job_id, parameters, runs_twice };
        Finished::of(running.stages(specs).await?)
    }
}

impl<J: Job> IntoFuture for Run<J> {
    type Output = Result<Finished<J>, JobFailed>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}

/// The parameters as a submission of the job would have them.
fn checked<J: Job>(definition: &dyn JobType, job: &J) -> Result<Map<String, Value>, JobFailed> {
    let submitted = match serde_json::to_value(job) {
        Ok(Value::Object(submitted)) => submitted,
        Ok(_) => return Err(JobFailed::new("the parameters are no JSON object".to_owned())),
        Err(error) => {
            return Err(JobFailed::new(format!(
                "the parameters cannot be written as JSON: {error}"
            )));
        }
    };
    let mut fields = Fields::new(submitted);
    definition.check(&mut fields);
    fields.finish().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        JobFailed::new(format!("the submission is rejected: {}", problems.join("; ")))
    })
}

pub(super) struct Running<'a> {
    pub(super) definition: &'a dyn JobType,
    pub(super) job_id: JobId,
    parameters: Map<String, Value>,
    pub(super) runs_twice: bool,
}

impl Running<'_> {
    /// Runs all stages, one after the other. In a graph, a stage that failed does not end the job
    /// before the stages that do not follow it have run.
    async fn stages(&self, specs: Vec<StageSpec>) -> Result<Records, JobFailed> {
        let mut records = Records::default();
        let (mut failed, mut skipped) = (Vec::new(), Vec::new());
        for (spec, number) in specs.into_iter().zip(1_u8..) {
            let number =
                StageNumber::try_from(number).map_err(|e| JobFailed::new(e.to_string()))?;
            let needs = spec.place.iter().flat_map(|place| &place.needs);
            if needs.into_iter().any(|needed| records.get(*needed).is_none()) {
                skipped.push((number.get(), name(&spec).to_owned()));
                records.push(None);
                continue;
            }
            match self.stage(&spec, number, &records).await {
                Ok(stage) => records.push(Some(stage)),
                Err(error) if spec.place.is_none() => return Err(error),
                Err(error) => {
                    failed.push(error);
                    records.push(None);
                }
            }
        }
        match JobFailed::of_stages(failed, skipped) {
            Some(error) => Err(error),
            None => Ok(records),
        }
    }

    async fn stage(
        &self,
        spec: &StageSpec,
        number: StageNumber,
        earlier: &Records,
    ) -> Result<StageRecord, JobFailed> {
        let failed = |reason: String| JobFailed::new(reason).in_stage(number.get(), name(spec));
        let plan =
            self.plan(number, 0, earlier).await.map_err(|error| failed(error.to_string()))?;
        self.check_plan(&plan, number, earlier).await.map_err(failed)?;
        let mut attempts = 0;
        let mut stage = StageRecord {
            task_type: spec.task_type.clone().into_owned(),
            planned: plan.iter().map(|task| task.index.as_str().to_owned()).collect(),
            outputs: BTreeMap::new(),
            failed: Vec::new(),
            summary: Value::Null,
            attempts: 0,
        };
        let ends: Vec<TaskEnd> = stream::iter(plan)
            .map(|task| self.task(spec, number, task, earlier))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for end in ends {
            attempts += u64::from(end.attempts);
            match end.result {
                Ok(output) => {
                    stage.outputs.insert(end.index, output);
                }
                Err(reason) => stage.failed.push(TaskFailed { index: end.index, reason }),
            }
        }
        stage.attempts = attempts;
        stage.failed.sort_by(|one, other| one.index.cmp(&other.index));
        let total = (stage.outputs.len() + stage.failed.len()) as u64;
        if !spec.tolerates(stage.failed.len() as u64, total) {
            return Err(failed(format!("{} of {total} tasks failed", stage.failed.len()))
                .with_tasks(stage.failed));
        }
        let mut fold = self
            .definition
            .fold(&self.parameters, number)
            .map_err(|error| failed(error.to_string()))?;
        for output in stage.outputs.values() {
            fold.add(output).map_err(failed)?;
        }
        let summary = fold.finish().map_err(failed)?;
        stage.summary = serde_json::from_str(summary.get()).map_err(|e| failed(e.to_string()))?;
        Ok(stage)
    }

    async fn plan(
        &self,
        stage: StageNumber,
        from: u64,
        earlier: &Records,
    ) -> Result<Vec<TaskDefinition>, PlanError> {
        let previous = stage.previous().and_then(|previous| earlier.get(previous));
        let context = PlanContext {
            job_id: self.job_id,
            stage,
            from,
            previous_summary: previous.map_or(Value::Null, |previous| previous.summary.clone()),
            upstream: Some(Arc::new(earlier.clone())),
        };
        let plan = self.definition.plan(&self.parameters, context)?;
        // One more than are allowed is enough to reject the plan.
        plan.take(LARGEST_STAGE + 1).try_collect().await
    }

    /// Checks that the plan is valid, the same every time, and can begin anywhere.
    async fn check_plan(
        &self,
        plan: &[TaskDefinition],
        number: StageNumber,
        earlier: &Records,
    ) -> Result<(), String> {
        if plan.len() > LARGEST_STAGE {
            return Err(format!("the plan has more than {LARGEST_STAGE} tasks, or never ends"));
        }
        let mut indexes = BTreeSet::new();
        if let Some(twice) = plan.iter().find(|task| !indexes.insert(task.index.as_str())) {
            return Err(format!("the plan yields the task index {:?} twice", twice.index.as_str()));
        }
        for from in [0, plan.len() / 2] {
            let again = self.plan(number, from as u64, earlier).await;
            let again = again.map_err(|error| format!("the second time: {error}"))?;
            let before = &plan[from..];
            let difference = before.iter().zip(&again).zip(from..).find(|((one, other), _)| {
                one.index != other.index || one.parameters.get() != other.parameters.get()
            });
            if let Some(((one, other), place)) = difference {
                return Err(format!(
                    "the plan is not the same every time: task {place} was {:?} with {}, and when the plan began at task \
                     {from}, {:?} with {}",
                    one.index.as_str(),
                    one.parameters,
                    other.index.as_str(),
                    other.parameters
                ));
            }
            if before.len() != again.len() {
                return Err(format!(
                    "the plan is not the same every time: it had {} tasks from task {from} on, and then {}",
                    before.len(),
                    again.len()
                ));
            }
        }
        Ok(())
    }
}

/// The name of a stage: in a graph, rounds of a repeated stage have their own.
fn name(spec: &StageSpec) -> &str {
    spec.place.as_ref().map_or(&spec.task_type, |place| &place.name)
}
