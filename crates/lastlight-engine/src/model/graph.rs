//! The place of a stage in the graph of its job's stages.

use std::collections::BTreeSet;

use lastlight_api::{GateDecision, Stage, StageKind};

/// A stage of a graph: what it depends on, and how it comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInGraph {
    /// 1 to 50 characters, unique in its job.
    pub name: String,
    /// How it comes to its end.
    pub kind: StageKind,
    /// The stages that must complete before it runs; if one does not, it is skipped. Each has a lower
    /// number.
    pub needs: BTreeSet<Stage>,
    /// The stages that must only end before it runs. Each has a lower number.
    pub follows: BTreeSet<Stage>,
    /// Whether its failure does not fail the job.
    pub best_effort: bool,
    /// Whether it also runs after a job that ended before it, by a cancellation or by its time limit.
    /// It follows all other stages.
    pub is_finalize: bool,
    /// Seconds in which a gate must be decided, and what counts as decided then.
    pub timeout: Option<(u32, GateDecision)>,
}

impl StageInGraph {
    /// Number of stages that it depends on.
    pub fn dependencies(&self) -> i16 {
        // A job has at most 100 stages.
        (self.needs.len() + self.follows.len()) as i16
    }
}
