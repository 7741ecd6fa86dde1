//! The events of a job: what happened to it, and who asked for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{JobId, Stage, Timestamp};

/// A page of the events of a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobEvents {
    /// The job's id.
    pub job_id: JobId,
    /// The events in order.
    pub events: Vec<JobEvent>,
    /// Where the list continues; null: this is its end so far.
    pub next_cursor: Option<String>,
}

/// Something that happened to a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// Its number, which grows with each event of the job.
    pub event_id: i64,
    /// When it happened.
    pub happened_at: Timestamp,
    /// The run of the job: 1, and one more after each resubmission.
    pub run: i32,
    /// The stage; null: the whole job.
    pub stage: Option<Stage>,
    /// The name of the node, in a job whose stages form a graph.
    pub node: Option<String>,
    /// What happened; a newer app may have kinds that are not in this list:
    /// `job_submitted`, `job_retried`, `job_resubmitted`, `pause_requested`, `pause_withdrawn`, `job_paused`, `job_resumed`,
    /// `job_completed`, `job_failed`, `job_cancelled`, `resubmission_requested`, `deletion_started`, `job_archived`, `stage_started`, `stage_planned`, `stage_ended`,
    /// `stage_reopened`, `tasks_retried`, `tasks_skipped`, `gate_waiting`, `gate_decided`, `child_submitted`; and what the sweep repaired: `messages_resent`,
    /// `planning_resumed`, `attempts_presumed_dead`, `counters_repaired`.
    pub kind: String,
    /// The event as a sentence.
    pub message: String,
    /// Who asked for it, if a user did and said so.
    pub requested_by: Option<String>,
    /// Why they asked for it.
    pub reason: Option<String>,
    /// More about it, by its kind.
    pub detail: Option<Box<RawValue>>,
    /// How often the sweep made this repair within the hour; otherwise 1.
    pub times: i32,
    /// When the sweep made this repair for the last time within the hour.
    pub last_at: Option<Timestamp>,
}
