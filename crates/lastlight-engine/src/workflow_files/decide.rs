//! Decisions of nodes that have no tasks: the branch of a conditional, the output of a fan-in.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::TryStreamExt;
use lastlight_workflow::{Aggregation, Aggregator, Child, FanIn, Kind, Node, Workflow};
use serde_json::{Value, json};

use super::{
    plan::{evaluated, outputs_of},
    stages::stage_of,
};
use crate::job::{
    PlanError,
    erased::{Decision, TaskEnd, Upstream},
};
use crate::model::JobId;

/// The largest output of a fan-in, in bytes of JSON: that of a task's result.
const LARGEST_OUTPUT: usize = 1024 * 1024;

/// Takes the decision of a node.
///
/// # Errors
/// A path leads nowhere, or the outputs cannot be gathered: the node fails. Or they cannot be read
/// now.
pub(super) async fn decide(
    workflow: &Workflow,
    node: &Node,
    parameters: &serde_json::Map<String, Value>,
    job_id: &JobId,
    upstream: Arc<dyn Upstream>,
) -> Result<Decision, PlanError> {
    let outputs = outputs_of(node, &*upstream).await?;
    let evaluation = evaluated(workflow, node, parameters, &outputs, job_id);
    if !evaluation.runs()? {
        return Ok(Decision::Skipped);
    }
    let (output, not_chosen) = match &node.kind {
        Kind::FanIn(fan_in) => (gathered(fan_in, &*upstream).await?, BTreeSet::new()),
        _ => {
            let chosen = evaluation.branch()?;
            let not_chosen = chosen.not_chosen.iter().filter_map(|node| stage_of(*node)).collect();
            (chosen.output(), not_chosen)
        }
    };
    let output = serde_json::value::to_raw_value(&output)?;
    Ok(Decision::Taken { output, not_chosen })
}

/// The output of a fan-in. Items that are too large together are left out of it: another fan-out can
/// have them as its source nevertheless.
async fn gathered(fan_in: &FanIn, upstream: &dyn Upstream) -> Result<Value, PlanError> {
    let stage = stage_of(fan_in.fan_out)
        .ok_or_else(|| PlanError::new("its fan-out has no stage of its own"))?;
    let mut ends = upstream.results(stage);
    let mut aggregator = Aggregator::new(fan_in.aggregation);
    let (mut items, mut bytes) = (0u64, 0);
    let collects = matches!(fan_in.aggregation, Aggregation::Collect | Aggregation::Concat);
    while let Some(end) = ends.try_next().await? {
        items += 1;
        let child = match end {
            TaskEnd::Completed(result) => {
                bytes += result.get().len();
                if collects && bytes > LARGEST_OUTPUT {
                    continue;
                }
                Child::Completed(serde_json::from_str(result.get())?)
            }
            TaskEnd::Failed(error) => Child::Failed { error, error_type: None },
        };
        aggregator.add(child)?;
    }
    if collects && bytes > LARGEST_OUTPUT {
        return Ok(json!({
            "item_count": items,
            "items_left_out": format!(
                "the {items} items have {bytes} bytes, and an output at most {LARGEST_OUTPUT}: make them the source of a fan-out"
            ),
        }));
    }
    Ok(aggregator.finish())
}
