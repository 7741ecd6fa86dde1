//! A [`Job`] as the engine uses it: parameters, tasks, results and summaries as JSON.

use std::{fmt, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, TryFutureExt};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Contexts, Fields, Fold, Job, JobType, PlanError, Retention, StageSpec, TaskError, TaskPolicy,
    job_type::{PlanContext, RawPlan, Task},
    panics::{caught, panicked},
    parameters::ParameterRules,
    stage_list::{Earlier, Numbered, StageList, is_name},
    typed_stage::{PlanInput, Predecessors, TypedStage},
    upstream::Upstream,
};
use crate::model::{ProcessingPath, Stage as StageNumber};

/// Upper bound of a job's time limit, since the database's times are bounded: 100 years.
const LONGEST_JOB: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A job type of an app.
pub(crate) struct Typed<J: Job> {
    name: &'static str,
    path: Option<ProcessingPath>,
    description: String,
    rules: ParameterRules,
    stages: StageList<J>,
    contexts: Contexts,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> fmt::Debug for Typed<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<J: Job> Typed<J> {
    /// The job type under its own name, or under another one and over one path.
    ///
    /// # Errors
    /// The definition is not valid, for the reason given.
    pub(crate) fn new(
        other: Option<(&'static str, ProcessingPath)>,
        contexts: Contexts,
    ) -> Result<Self, String> {
        let (name, path) = match other {
            Some((name, path)) => (name, Some(path)),
            None => (J::NAME, J::PATH),
        };
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<J>();
        let rules = ParameterRules::new(schema)
            .map_err(|problem| format!("job type {name:?}: {problem}"))?;
        let description = match other {
            Some((_, ProcessingPath::ServiceBus)) => {
                format!("{}, always over Service Bus.", J::NAME)
            }
            Some((_, ProcessingPath::QueueStorage)) => {
                format!("{}, always over Storage Queues.", J::NAME)
            }
            Some((_, ProcessingPath::Worker)) => format!("{}, always by workers.", J::NAME),
            None => rules.description().to_owned(),
        };
        let stages = StageList::of_job();
        if let Some(problem) = stages.problem() {
            return Err(format!("job type {name:?}: {problem}"));
        }
        if !is_name(name) {
            return Err(format!("the name of job type {name:?} must have 1 to 50 characters"));
        }
        Ok(Self { name, path, description, rules, stages, contexts, job: PhantomData })
    }

    fn named(&self, task_type: &str) -> Result<&TypedStage<J>, String> {
        let stages = || self.stages.iter();
        stages().find(|stage| stage.name == task_type).ok_or_else(|| {
            let names: Vec<&str> = stages().map(|stage| stage.name).collect();
            format!("{} has no task type {task_type:?}; it has {}", self.name, names.join(", "))
        })
    }

    /// The job with these parameters.
    fn job(&self, parameters: &Map<String, Value>) -> Result<J, PlanError> {
        self.rules.read(parameters).map_err(|error| {
            PlanError::new(format!("the job's parameters do not match its type: {error}"))
        })
    }

    /// The stage with this number.
    fn numbered(&self, job: &J, number: StageNumber) -> Result<Numbered<'_, J>, PlanError> {
        self.stages
            .numbered(job, number)
            .ok_or_else(|| PlanError::new(format!("{} has no stage {number}", self.name)))
    }
}

/// The summaries of stages of a graph.
async fn summaries(
    previous: &[Earlier],
    upstream: Option<Arc<dyn Upstream>>,
) -> Result<Vec<Value>, PlanError> {
    let mut summaries = Vec::with_capacity(previous.len());
    for Earlier { name, number, .. } in previous {
        let summary = match &upstream {
            Some(upstream) => upstream.summary(*number).await?,
            None => None,
        };
        let summary = summary.ok_or_else(|| {
            PlanError::new(format!("there is no summary of stage {number} ({name})"))
        })?;
        summaries.push(serde_json::from_str(summary.get())?);
    }
    Ok(summaries)
}

#[async_trait]
impl<J: Job> JobType for Typed<J> {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn check(&self, fields: &mut Fields) {
        self.rules.check::<J>(fields);
    }

    fn prescribed_path(&self) -> Option<ProcessingPath> {
        self.path
    }

    fn stages(&self, parameters: &Map<String, Value>) -> Result<Vec<StageSpec>, PlanError> {
        let job = self.job(parameters)?;
        caught(|| self.stages.specs(&job)).map_err(PlanError::new)?
    }

    fn plan(
        &self,
        parameters: &Map<String, Value>,
        context: PlanContext,
    ) -> Result<RawPlan, PlanError> {
        let PlanContext { stage: number, from, previous_summary, upstream, .. } = context;
        let job = self.job(parameters)?;
        let in_graph = self.stages.is_graph();
        let contexts = self.contexts.clone();
        let planned = caught(|| -> Result<RawPlan, PlanError> {
            let Numbered { stage, round, previous, upstream: earlier } =
                self.numbered(&job, number)?;
            let plan = stage.plan;
            let before = previous.clone();
            let predecessors =
                Predecessors { name: stage.name, in_graph, previous, upstream: earlier };
            let input =
                move |summaries| PlanInput { summaries, round, from, contexts, predecessors };
            if !in_graph {
                return plan(job, input(vec![previous_summary]));
            }
            let planned = async move {
                let summaries = summaries(&before, upstream).await?;
                plan(job, input(summaries))
            };
            Ok(planned.try_flatten_stream().boxed())
        });
        let caught = AssertUnwindSafe(planned.map_err(PlanError::new)??).catch_unwind();
        Ok(caught
            .map(|task| task.unwrap_or_else(|panic| Err(PlanError::new(panicked(&*panic)))))
            .boxed())
    }

    fn task_policy(&self, task_type: &str) -> TaskPolicy {
        let Ok(stage) = self.named(task_type) else { return TaskPolicy::default() };
        caught(stage.policy).unwrap_or_else(|problem| {
            tracing::error!(
                job_type = self.name,
                task_type,
                problem,
                "the task policy cannot be computed; the app's settings are used"
            );
            TaskPolicy::default()
        })
    }

    fn time_limit(&self, parameters: &Map<String, Value>) -> Result<Option<Duration>, PlanError> {
        let job = self.job(parameters)?;
        let limit = caught(|| job.time_limit()).map_err(PlanError::new)?;
        Ok(limit.map(|limit| limit.min(LONGEST_JOB)))
    }

    fn retention(&self) -> Retention {
        J::retention()
    }

    async fn run(&self, task: Task) -> Result<Box<RawValue>, TaskError> {
        let run = self.named(&task.task_type).map_err(TaskError::Permanent)?.run;
        run(task).await
    }

    fn result_of_worker(
        &self,
        task_type: &str,
        answered: Box<RawValue>,
    ) -> Result<Box<RawValue>, TaskError> {
        let stage = self.named(task_type).map_err(TaskError::Permanent)?;
        (stage.is_result)(&answered).map_err(TaskError::Permanent)?;
        Ok(answered)
    }

    fn fold(
        &self,
        parameters: &Map<String, Value>,
        stage: StageNumber,
    ) -> Result<Box<dyn Fold>, PlanError> {
        let job = self.job(parameters)?;
        caught(|| self.numbered(&job, stage).map(|numbered| (numbered.stage.fold)()))
            .map_err(PlanError::new)?
    }

    fn contexts(&self) -> Contexts {
        self.contexts.clone()
    }
}
