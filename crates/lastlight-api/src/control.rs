//! Cancelling, retrying, pausing and resuming a job, and deciding at its gates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{GateDecision, JobId, JobStatus, Stage};

/// The result of a request to cancel a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Cancellation {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// The job's state before the request.
    pub previous_status: JobStatus,
    /// Number of tasks that will not run.
    pub tasks_skipped: u64,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to retry a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// The job's state before the request.
    pub previous_status: JobStatus,
    /// The stage in which the job continues.
    pub stage: Stage,
    /// Number of tasks that run again.
    pub tasks_reset: u64,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to run a job again that is over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Resubmission {
    /// The job's id.
    pub job_id: JobId,
    /// The run: 2 for the first resubmission.
    pub run: i32,
    /// Whether it began. If not, the run before is being archived, if the app has an archive, or its tasks are being deleted, and the
    /// next sweeps begin it.
    pub is_begun: bool,
    /// How the run before ended.
    pub previous_status: JobStatus,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to pause or resume a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// Whether the job is paused.
    pub paused: bool,
    /// Whether the job will pause at the end of its stage.
    pub pause_requested: bool,
    /// What happened, as text for a user.
    pub message: String,
}

/// A decision at a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRequest {
    /// What is decided: `approve` or `reject`.
    pub decision: GateDecision,
    /// Who decided, at most 2,000 bytes.
    #[serde(default)]
    pub by: Option<String>,
    /// Why, at most 2,000 bytes.
    #[serde(default)]
    pub comment: Option<String>,
    /// The gate's result, for the stages that depend on it: at most 64 KiB of JSON.
    #[serde(default)]
    pub data: Option<Value>,
}

/// The result of a decision at a gate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// The job's id.
    pub job_id: JobId,
    /// The name of the gate.
    pub node: String,
    /// What was decided.
    pub decision: GateDecision,
    /// The gate's output, with who decided and when.
    pub output: Value,
    /// The job's state now.
    pub status: JobStatus,
    /// What happened, as text for a user.
    pub message: String,
}
