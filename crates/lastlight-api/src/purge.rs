//! Deleting jobs that are over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, Timestamp};

/// The result of a request to delete a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Deletion {
    /// The job's id.
    pub job_id: JobId,
    /// Whether the job is gone. If not, it is marked, and the next sweeps do the rest: if the app has an archive, once the job is in it.
    pub is_deleted: bool,
    /// Whether the job ran, and was cancelled first.
    pub is_cancelled: bool,
    /// Number of its tasks that this request deleted.
    pub tasks_deleted: u64,
    /// What happened, as text for a user.
    pub message: String,
}

/// Which jobs are to be deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeJobs {
    /// Only jobs that have been over for more than this number of days.
    pub older_than_days: f64,
    /// Only jobs with these states: `completed`, `cancelled` and `failed`.
    pub status: Vec<JobStatus>,
    /// Only jobs of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    /// Nothing is deleted; the answer says what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// The result of a request to delete jobs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// Number of jobs that are being deleted, at most 1,000; or would be.
    pub jobs: u64,
    /// Whether there may be more: the same request deletes the next ones.
    pub has_more: bool,
    /// Whether nothing is deleted.
    pub is_dry_run: bool,
    /// Whether each job is archived before it is deleted; while it cannot be archived, it stays.
    #[serde(default)]
    pub archives_first: bool,
    /// Up to ten of them.
    pub sample: Vec<PurgedJob>,
}

/// A job that is over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PurgedJob {
    /// The job's id.
    pub job_id: JobId,
    /// The name of its type.
    pub job_type: String,
    /// How it ended.
    pub status: JobStatus,
    /// When it ended.
    pub finished_at: Timestamp,
}
