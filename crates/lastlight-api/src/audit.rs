//! The audit of a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, Stage};

/// The audit of a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAudit {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// Whether in every stage planned = completed + failed + skipped + open, the counters agree
    /// with a recount of the tasks, and no task is open once the stage is finished.
    pub consistent: bool,
    /// Each stage so far.
    pub stages: Vec<AuditedStage>,
}

/// The audit of a stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedStage {
    /// The number of the stage.
    pub stage: Stage,
    /// Whether all of its tasks are planned.
    #[serde(default)]
    pub is_planned: bool,
    /// Whether the stage is finished.
    #[serde(default, rename = "isOver")]
    pub is_finished: bool,
    /// Planned tasks.
    pub planned: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed for good.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
    /// Tasks without an outcome.
    pub open: i64,
    /// Whether the stage's counters are equal to a recount of its tasks.
    pub counters_agree: bool,
    /// Attempts that began.
    pub attempts: i64,
    /// Deliveries that were ignored as duplicates, since there was nothing to do.
    #[serde(rename = "duplicatesAbsorbed")]
    pub duplicates_ignored: i64,
    /// Attempts that ended too late, so that their outcomes were discarded.
    pub stale_completions_refused: i64,
    /// Messages sent in total.
    pub messages_sent: i64,
    /// Of these, messages that were sent again: after a loss, the death of a process or a failed
    /// attempt.
    pub messages_resent: i64,
    /// Batches whose messages are unsent.
    // `None`: an older app does not send it.
    #[serde(rename = "batchesOwed")]
    #[schemars(with = "i64")]
    pub batches_unsent: Option<i64>,
    /// Seconds from the stage's first batch to its last outcome, as in the comparison's
    /// `tasks_per_second`, but including the time that passed until a user retried it. Null until
    /// the stage is finished.
    pub busy_seconds: Option<f64>,
}
