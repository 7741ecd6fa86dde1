//! How far a job whose stages form a graph is, and how long it may still take.

use std::{collections::BTreeMap, time::Duration};

use lastlight_api::{
    Stage, StageKind, StageOutcome,
    jobs::{JobStatusAnswer, NodeProgress, StageProgress},
};

use crate::format::{between, lasting};

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands::api) struct Overview {
    /// Number of nodes that have ended.
    pub(in crate::commands::api) ended: usize,
    pub(in crate::commands::api) nodes: usize,
    /// The share of the nodes that have ended, 0 to 1; of a running node its share of ended tasks
    /// counts.
    pub(in crate::commands::api) share: f64,
    /// Estimated seconds until the last node ends, without the time that users take to decide: the
    /// longest way through the open nodes. A running node takes as long as its tasks need at their
    /// rate, one that has not begun as long as those that ran in this job took on average. `None`
    /// before anything is known.
    pub(in crate::commands::api) seconds_left: Option<f64>,
    /// Whether a gate has not ended, so that the end also depends on a user.
    pub(in crate::commands::api) is_gated: bool,
}

impl Overview {
    pub(in crate::commands::api) fn of(status: &JobStatusAnswer) -> Self {
        let nodes = || status.progress.iter().filter_map(|one| Some((one, one.node.as_ref()?)));
        let count = nodes().count();
        let ended = nodes().filter(|(_, node)| node.outcome.is_some()).count();
        let begun: f64 = nodes()
            .filter(|(stage, node)| node.outcome.is_none() && stage.planned && stage.total > 0)
            .map(|(stage, _)| stage.done() as f64 / stage.total as f64)
            .sum();
        let took: Vec<f64> = nodes()
            .filter(|(stage, node)| {
                let has_run =
                    matches!(node.outcome, Some(StageOutcome::Completed | StageOutcome::Failed));
                node.kind == StageKind::Tasks && has_run && stage.total > 0
            })
            .filter_map(|(stage, _)| between(stage.started_at?.0, stage.finished_at?.0))
            .map(|took| took.as_secs_f64())
            .collect();
        let mean = (!took.is_empty()).then(|| took.iter().sum::<f64>() / took.len() as f64);
        Self {
            ended,
            nodes: count,
            share: if count == 0 { 0.0 } else { (ended as f64 + begun) / count as f64 },
            seconds_left: longest_way(nodes(), mean),
            is_gated: nodes()
                .any(|(_, node)| node.kind == StageKind::Gate && node.outcome.is_none()),
        }
    }

    /// `3 of 7 nodes ended, 52 %, about 4 min 10 s left`, without the time that users take.
    pub(in crate::commands::api) fn words(&self) -> String {
        // 100 % is only what has ended.
        let percent = (self.share * 100.0).floor();
        let mut words = format!("{} of {} nodes ended, {percent:.0} %", self.ended, self.nodes);
        if let Some(seconds) = self.seconds_left.filter(|seconds| *seconds > 0.0) {
            let left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            words.push_str(&format!(", about {} left", lasting(left)));
            if self.is_gated {
                words.push_str(" without the time of decisions");
            }
        }
        words
    }
}

/// The seconds that the longest way through open nodes takes; `None` if the time of one on the way is
/// unknown, or nothing is open.
fn longest_way<'a>(
    nodes: impl Iterator<Item = (&'a StageProgress, &'a NodeProgress)>,
    mean: Option<f64>,
) -> Option<f64> {
    let mut until: BTreeMap<Stage, f64> = BTreeMap::new();
    for (stage, node) in nodes.filter(|(_, node)| node.outcome.is_none()) {
        // What it depends on has a lower number. Nodes that have ended are not in the map.
        let begins = node
            .needs
            .iter()
            .chain(&node.follows)
            .filter_map(|before| until.get(before))
            .fold(0.0_f64, |longest, end| longest.max(*end));
        let takes = match node.kind {
            StageKind::Tasks => {
                let known = stage.eta_seconds.filter(|eta| eta.is_finite() && *eta >= 0.0);
                known.or(mean)?
            }
            StageKind::Decision | StageKind::Gate | StageKind::Job => 0.0,
        };
        until.insert(stage.stage, begins + takes);
    }
    until.into_values().reduce(f64::max)
}
