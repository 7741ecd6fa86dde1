//! The tasks of a node: one for a task, one per item for a fan-out. A task whose parameters cannot be
//! made is planned with the reason, and fails with it, so that other items run. A fan-out whose items
//! cannot be had, or not all of them, cannot be planned: the node fails.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use lastlight_workflow::{
    Child, Evaluation, EvaluationError, Inputs, Kind, Node, NodeNumber, Source, Workflow,
};
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    UNMADE,
    stages::{node_of, stage_of},
};
use crate::{
    job::{
        PlanError,
        erased::{PlanContext, Predecessor, RawPlan, TaskDefinition, TaskEnd, Upstream},
    },
    model::{JobId, TaskIndex},
    transport::blob_storage::{BlobStorage, LinesError},
};

/// Reads the outputs that a node needs.
///
/// # Errors
/// They cannot be read now.
pub(super) async fn outputs_of(
    node: &Node,
    upstream: &dyn Upstream,
) -> Result<BTreeMap<NodeNumber, Value>, PlanError> {
    let mut outputs = BTreeMap::new();
    for number in node.reads() {
        let Some(stage) = stage_of(*number) else { continue };
        if let Some(output) = upstream.output(stage).await? {
            outputs.insert(*number, serde_json::from_str(output.get())?);
        }
    }
    Ok(outputs)
}

/// A node with its values.
pub(super) fn evaluated<'a>(
    workflow: &'a Workflow,
    node: &'a Node,
    parameters: &'a Map<String, Value>,
    outputs: &'a BTreeMap<NodeNumber, Value>,
    job_id: &'a JobId,
) -> Evaluation<'a> {
    workflow.evaluate(node, Inputs { parameters, outputs, run_id: job_id.as_str() })
}

/// What a plan needs of its workflow.
#[derive(Debug, Clone)]
pub(super) struct Planner {
    pub(super) workflow: Arc<Workflow>,
    pub(super) parameters: Arc<Map<String, Value>>,
    pub(super) blobs: Arc<BlobStorage>,
}

/// Items that are made tasks of at once.
const CHUNK: usize = 500;

/// What the tasks of a fan-out are made of.
struct Values {
    number: NodeNumber,
    outputs: BTreeMap<NodeNumber, Value>,
    job_id: JobId,
}

/// An item of a fan-out.
type Item = Result<Value, PlanError>;

impl Planner {
    /// The tasks of a stage.
    pub(super) fn plan(self, context: PlanContext) -> RawPlan {
        let mut before = context.from;
        // An error is not skipped, wherever it is.
        let is_before = move |_: &TaskDefinition| {
            let is_before = before > 0;
            before = before.saturating_sub(1);
            std::future::ready(Ok(is_before))
        };
        stream::once(async move { self.begun(context).await })
            .try_flatten()
            .try_skip_while(is_before)
            .boxed()
    }

    async fn begun(self, context: PlanContext) -> Result<RawPlan, PlanError> {
        let PlanContext { job_id, stage, upstream, .. } = context;
        let upstream = upstream.ok_or_else(|| {
            PlanError::new("a workflow file is planned from the results of its job's stages")
        })?;
        let workflow = Arc::clone(&self.workflow);
        let node = node_of(&workflow, stage)
            .ok_or_else(|| PlanError::new(format!("there is no node {stage}")))?;
        let outputs = outputs_of(node, &*upstream).await?;
        let evaluation = evaluated(&workflow, node, &self.parameters, &outputs, &job_id);
        match evaluation.runs() {
            Ok(true) => {}
            // Without tasks, the node is skipped.
            Ok(false) => return Ok(stream::empty().boxed()),
            Err(error) if matches!(node.kind, Kind::FanOut(_)) => return Err(error.into()),
            Err(error) => return Ok(one(unmade(&node.name, &error)?)),
        }
        let items = match &node.kind {
            Kind::FanOut(fan_out) => self.items(&fan_out.source, &evaluation, upstream)?,
            _ => {
                return Ok(one(match evaluation.params() {
                    Ok(params) => definition(&node.name, &params)?,
                    Err(error) => unmade(&node.name, &error)?,
                }));
            }
        };
        drop(evaluation);
        let values = Values { number: node.number, outputs, job_id };
        // Several items at once: making the node's values is more work than evaluating it.
        let chunks = items.ready_chunks(CHUNK).scan(0, move |next, items| {
            let first = *next;
            *next += items.len() as u64;
            std::future::ready(Some(stream::iter(self.of_items(&values, first, items))))
        });
        Ok(chunks.flatten().boxed())
    }

    /// The tasks of items, the first of which has the index `first`. The plan ends with the first
    /// error.
    fn of_items(
        &self,
        values: &Values,
        first: u64,
        items: Vec<Item>,
    ) -> Vec<Result<TaskDefinition, PlanError>> {
        let Values { number, outputs, job_id } = values;
        let Some(node) = self.workflow.node(*number) else { return Vec::new() };
        let evaluation = evaluated(&self.workflow, node, &self.parameters, outputs, job_id);
        let task = |(index, item): (u64, Item)| {
            let item = item?;
            evaluation.check_items(index + 1)?;
            let text = index.to_string();
            match evaluation.item_params(index, &item) {
                Ok(params) => definition(&text, &params),
                Err(error) => unmade(&text, &error),
            }
        };
        (first..).zip(items).map(task).collect()
    }

    /// The items of a fan-out, little by little if there may be many.
    fn items(
        &self,
        source: &Source,
        evaluation: &Evaluation<'_>,
        upstream: Arc<dyn Upstream>,
    ) -> Result<BoxStream<'static, Item>, EvaluationError> {
        Ok(match source {
            Source::Array(_) => {
                let items: Vec<Value> = evaluation.items()?.to_vec();
                stream::iter(items.into_iter().map(Ok)).boxed()
            }
            Source::Results { fan_out, .. } => match stage_of(*fan_out) {
                Some(stage) => upstream.results(stage).map(item_of_end).boxed(),
                None => stream::empty().boxed(),
            },
            Source::File(_) => {
                let address = evaluation.source_file()?.to_owned();
                let lines = Arc::clone(&self.blobs).json_lines(address);
                lines
                    .map_err(|error| match error {
                        LinesError::Wrong(reason) => PlanError::Failed(reason),
                        LinesError::Unavailable(error) => PlanError::Unavailable(error.to_string()),
                    })
                    .boxed()
            }
        })
    }
}

fn item_of_end(end: Result<TaskEnd, PlanError>) -> Item {
    let child = match end? {
        TaskEnd::Completed(result) => Child::Completed(serde_json::from_str(result.get())?),
        TaskEnd::Failed(error) => Child::Failed { error, error_type: None },
    };
    Ok(child.into_item())
}

fn one(definition: TaskDefinition) -> RawPlan {
    stream::once(async { Ok(definition) }).boxed()
}

fn unmade(index: &str, error: &EvaluationError) -> Result<TaskDefinition, PlanError> {
    planned(index, serde_json::value::to_raw_value(&json!({ UNMADE: error.to_string() }))?)
}

fn definition(index: &str, params: &Map<String, Value>) -> Result<TaskDefinition, PlanError> {
    planned(index, serde_json::value::to_raw_value(params)?)
}

fn planned(index: &str, parameters: Box<RawValue>) -> Result<TaskDefinition, PlanError> {
    Ok(TaskDefinition {
        index: TaskIndex::try_from(index)?,
        parameters,
        predecessor: Predecessor::Nothing,
    })
}
