//! A [`Stage`] as functions on JSON: its plan, the work of its tasks, and its fold. Knows no other
//! stage.

use std::any::TypeId;

use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    Contexts, Fold, Job, Link, PlanContext, PlanError, Planned, Stage, StageOptions, TaskContext,
    TaskError, TaskPolicy,
    job_type::{Predecessor, RawPlan, Task, TaskDefinition},
    json,
    plan::Before,
    stage_list::Earlier,
};
use crate::model::TaskIndex;

/// The field that holds the parameters of a task that are no JSON object.
const VALUE: &str = "$value";

/// The functions of a stage, with JSON in place of its types.
pub(super) struct TypedStage<J> {
    pub(super) id: TypeId,
    pub(super) name: &'static str,
    /// The stages that directly precede it; a repeated stage does not name itself.
    pub(super) previous: Vec<TypeId>,
    pub(super) rounds: fn(&J) -> usize,
    pub(super) options: fn(&J, usize) -> StageOptions,
    pub(super) policy: fn() -> TaskPolicy,
    pub(super) plan: fn(J, PlanInput) -> Result<RawPlan, PlanError>,
    pub(super) run: fn(Task) -> BoxFuture<'static, Result<Box<RawValue>, TaskError>>,
    pub(super) fold: fn() -> Box<dyn Fold>,
    /// Whether a value is a result of its tasks: if not, where it differs.
    pub(super) is_result: fn(&RawValue) -> Result<(), String>,
}

/// What a plan receives in addition to the job.
pub(super) struct PlanInput {
    /// Of the stages that directly precede it, in their order.
    pub(super) summaries: Vec<Value>,
    pub(super) round: usize,
    pub(super) from: u64,
    pub(super) contexts: Contexts,
    pub(super) predecessors: Predecessors,
}

/// Where the tasks of a stage find the results that they read.
pub(super) struct Predecessors {
    /// The name of the stage.
    pub(super) name: &'static str,
    /// Whether the stages of the job form a graph.
    pub(super) in_graph: bool,
    /// The stages that directly precede it.
    pub(super) previous: Vec<Earlier>,
    /// All stages that have ended before it begins.
    pub(super) upstream: Vec<Earlier>,
}

impl<J: Job> TypedStage<J> {
    pub(super) fn of<S: Stage<Job = J>>() -> Self {
        Self {
            id: TypeId::of::<S>(),
            name: S::NAME,
            previous: <S::Previous as Link<J>>::stages(),
            rounds: <S::Previous as Link<J>>::rounds,
            options: S::options,
            policy: S::policy,
            plan: plan::<S>,
            run: |task| run::<S>(task).boxed(),
            fold: || Box::new(TypedFold::<S>(S::Summary::default())),
            is_result: |value| json::read::<S::Output>(value, "the result").map(drop),
        }
    }
}

fn plan<S: Stage>(job: S::Job, given: PlanInput) -> Result<RawPlan, PlanError> {
    let PlanInput { summaries, round, from, contexts, predecessors } = given;
    let input = <S::Previous as Link<S::Job>>::input(summaries).map_err(PlanError::new)?;
    let context = PlanContext::<S> { job, input, round, contexts };
    let definition = move |planned: Planned<S::Task>| {
        let index = index(&planned.index)?;
        Ok(TaskDefinition {
            parameters: parameters(&planned.task, &planned.index).map_err(PlanError::new)?,
            predecessor: predecessors.of(&planned.index, planned.predecessor, &index)?,
            index,
        })
    };
    let tasks = S::plan(context).from(from);
    Ok(tasks.map(move |planned| planned.and_then(&definition)).boxed())
}

impl Predecessors {
    /// The predecessor of a task, as the engine finds it.
    fn of(
        &self,
        task: &str,
        named: Option<Before>,
        own_index: &TaskIndex,
    ) -> Result<Predecessor, PlanError> {
        match named {
            None => Ok(match self.previous.as_slice() {
                _ if !self.in_graph => Predecessor::SameIndex,
                [one] => Predecessor::In(one.number, own_index.clone()),
                _ => Predecessor::Nothing,
            }),
            Some(Before::InPrevious(before)) => match self.previous.as_slice() {
                _ if !self.in_graph => Ok(Predecessor::Index(index(&before)?)),
                [one] => Ok(Predecessor::In(one.number, index(&before)?)),
                [] => Ok(Predecessor::Nothing),
                several => Err(PlanError::new(format!(
                    "task {task:?} of stage {:?} is to read the result of {before:?}, and several stages precede it ({}): \
                     say which one with `after_in`",
                    self.name,
                    names(several)
                ))),
            },
            Some(Before::In { stage, name, index: before }) => {
                let found = self.upstream.iter().find(|earlier| earlier.id == stage);
                let found = found.ok_or_else(|| {
                    let upstream = match self.upstream.as_slice() {
                        [] => "no stage does".to_owned(),
                        upstream => format!("these do: {}", names(upstream)),
                    };
                    PlanError::new(format!(
                        "task {task:?} of stage {:?} is to read the result of {before:?} of stage {name:?}, which does not \
                         precede stage {0:?}; {upstream}",
                        self.name
                    ))
                })?;
                Ok(Predecessor::In(found.number, index(&before)?))
            }
        }
    }
}

fn names(stages: &[Earlier]) -> String {
    stages.iter().map(|stage| stage.name).collect::<Vec<_>>().join(", ")
}

fn index(text: &str) -> Result<TaskIndex, PlanError> {
    TaskIndex::try_from(text).map_err(|error| PlanError::new(error.to_string()))
}

/// A task's parameters as a JSON object.
fn parameters<T: Serialize + DeserializeOwned>(
    task: &T,
    index: &str,
) -> Result<Box<RawValue>, String> {
    let written = json::write(task, &format!("the parameters of task {index:?}"))?;
    if written.get().starts_with('{') {
        return Ok(written);
    }
    RawValue::from_string(format!("{{\"{VALUE}\":{}}}", written.get()))
        .map_err(|error| error.to_string())
}

/// A task's parameters from the object that [`parameters`] made.
fn typed_parameters<T: DeserializeOwned>(parameters: &RawValue) -> Result<T, TaskError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(rename = "$value", borrow)]
        value: &'a RawValue,
    }
    let wrapped = parameters.get().starts_with("{\"$value\"");
    let inner = wrapped.then(|| serde_json::from_str::<Wrapped<'_>>(parameters.get()).ok());
    let parameters = inner.flatten().map_or(parameters, |wrapped| wrapped.value);
    json::read(parameters, "the task's parameters").map_err(TaskError::Permanent)
}

async fn run<S: Stage>(task: Task) -> Result<Box<RawValue>, TaskError> {
    let parameters = typed_parameters(&task.parameters)?;
    drop(task.parameters);
    let output = S::run(TaskContext::new(task.attempt), parameters).await?;
    json::write(&output, "the result").map_err(TaskError::Permanent)
}

struct TypedFold<S: Stage>(S::Summary);

impl<S: Stage> Fold for TypedFold<S> {
    fn add(&mut self, result: &RawValue) -> Result<(), String> {
        S::fold(&mut self.0, json::read(result, "a task's result")?);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<RawValue>, String> {
        json::write(&self.0, "the summary")
    }
}
