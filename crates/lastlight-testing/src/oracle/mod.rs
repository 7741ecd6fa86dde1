//! The oracle: the conditions that a job must meet once nothing runs any more. It compares the
//! request (the job's parameters), the runs (the handlers' ledger), the commits (the recorder's
//! log) and the rows of the tables, by sets of keys and not by totals alone. It is pure: facts in,
//! violations out.
//!
//! (a) every planned task has an outcome; (b) no task has two; (c) each stage was advanced once,
//! and no task of the next stage began before its last outcome; (d) counters equal a recount; (e)
//! the job finished in time with the expected status. In a graph, (c) is: each node began once, after
//! all nodes that it depends on, and came to what the parameters and the decisions at gates determine.

mod graph;
mod line;
mod shared;

use std::time::Duration;

use serde::Serialize;

pub use graph::{ExpectedGraph, judge_graph};
pub use line::judge;

use crate::work::Work;
use lastlight_engine::model::JobStatus;

/// A job and the outcome that is expected of it.
#[derive(Debug, Clone)]
pub struct Expected {
    pub job_id: String,
    pub work: Work,
    /// The status in which it must end; `None`: any terminal status.
    pub end: Option<JobStatus>,
    /// The longest duration allowed.
    pub within: Duration,
    /// The job may have been retried: then a task may leave the outcome failed or skipped.
    pub may_be_reopened: bool,
    /// An operator, a dead process or another worker may decide a task: then it may have another
    /// outcome than its parameters determine.
    pub outcomes_may_differ: bool,
}

impl Expected {
    /// A job that ends as its parameters determine.
    pub fn new(job_id: String, work: Work, within: Duration) -> Self {
        let end = match work.failing_stage() {
            Some(_) => JobStatus::Failed,
            None => JobStatus::Completed,
        };
        Self {
            job_id,
            work,
            end: Some(end),
            within,
            may_be_reopened: false,
            outcomes_may_differ: false,
        }
    }

    /// The same job with another final status.
    #[must_use]
    pub fn ending(self, end: Option<JobStatus>) -> Self {
        Self { end, ..self }
    }
}

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    NothingLost,
    NothingTwice,
    StagesInTurn,
    CountersAgree,
    NothingStuck,
    /// A condition of the scenario itself, beyond the promises above.
    Scenario,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub promise: Promise,
    /// The job's tag; empty if the violation belongs to no job.
    pub job: String,
    /// How the promise was broken, with the first keys.
    pub detail: String,
}

#[derive(Debug, Default)]
pub struct Judgement {
    /// Empty if all promises hold.
    pub violations: Vec<Violation>,
    /// Number of runs in the ledger.
    pub runs: u64,
    /// Number of tasks with an outcome.
    pub outcomes: u64,
}
