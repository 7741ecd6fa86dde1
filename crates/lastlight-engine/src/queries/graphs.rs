//! Stages that form a graph, as answers.

use std::collections::BTreeMap;

use lastlight_api::jobs::NodeProgress;
use serde_json::value::RawValue;

use crate::{
    model::{Stage, StageKind, Timestamp},
    store::{GraphStage, JobRecord},
};

/// The entries of the stages that have ended, keyed by number, as `stage_results` of a line.
pub(super) fn results_of(stages: &[GraphStage]) -> Box<RawValue> {
    let results: BTreeMap<Stage, &RawValue> =
        stages.iter().filter_map(|stage| Some((stage.stage, &*stage.result.as_ref()?.0))).collect();
    serde_json::value::to_raw_value(&results).unwrap_or_default()
}

/// The places of the stages in their graph.
pub(super) fn nodes_of(job: &JobRecord, stages: &[GraphStage]) -> BTreeMap<Stage, NodeProgress> {
    let before = |number: Stage, of: fn(&GraphStage) -> &Vec<i16>| {
        let leads_here = |stage: &&GraphStage| of(stage).contains(&number.number());
        stages.iter().filter(leads_here).map(|stage| stage.stage).collect()
    };
    let node = |stage: &GraphStage| NodeProgress {
        name: stage.name.clone(),
        kind: stage.kind,
        needs: before(stage.stage, |stage| &stage.needed_by),
        follows: before(stage.stage, |stage| &stage.followed_by),
        waits_for: stage.waits_for,
        outcome: stage.outcome,
        best_effort: stage.best_effort,
        waits_for_decision: stage.kind == StageKind::Gate
            && stage.waits_for == 0
            && !stage.unmet
            && stage.decision.is_none()
            && !job.status.is_terminal(),
        decide_until: stage.decide_until.map(Timestamp),
        output: stage.output.as_ref().and_then(|output| serde_json::from_str(output.0.get()).ok()),
        child_job_id: stage.child_job_id.as_ref().and_then(|id| id.parse().ok()),
    };
    stages.iter().map(|stage| (stage.stage, node(stage))).collect()
}
