//! Bulk operations: one action on all jobs that a filter finds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, ProcessingPath, Timestamp, jobs::ListedAs};

/// What a bulk operation does to each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Ends jobs that are not over.
    Cancel,
    /// Continues jobs that failed or were cancelled.
    Retry,
    /// Pauses jobs that are not over at the end of their stage.
    Pause,
    /// Continues paused jobs.
    Resume,
    /// Runs jobs again that are over.
    Resubmit,
    /// Deletes jobs that are over.
    Delete,
}

impl BulkAction {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cancel, Self::Retry, Self::Pause, Self::Resume, Self::Resubmit, Self::Delete];

    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Resubmit => "resubmit",
            Self::Delete => "delete",
        }
    }

    /// The states of the jobs that it can change.
    pub fn applies_to(self) -> &'static [ListedAs] {
        match self {
            Self::Cancel => &[ListedAs::Queued, ListedAs::Paused, ListedAs::Processing],
            Self::Pause => &[ListedAs::Queued, ListedAs::Processing],
            Self::Resume => &[ListedAs::Paused, ListedAs::Processing],
            Self::Retry => &[ListedAs::Failed, ListedAs::Cancelled],
            Self::Resubmit | Self::Delete => {
                &[ListedAs::Completed, ListedAs::Failed, ListedAs::Cancelled]
            }
        }
    }
}

/// Which jobs a bulk operation is for: those of the list of jobs with the same parameters, of any age.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkFilter {
    /// Only jobs of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ListedAs>,
    /// Only jobs of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    /// Only jobs of this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_path: Option<ProcessingPath>,
    /// Only jobs that were submitted at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only jobs that were submitted before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// What their id, their type or a value of a label begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Labels and parameters: `label.KEY` and `param.NAME` with their values.
    #[serde(flatten)]
    pub terms: BTreeMap<String, String>,
}

/// A request for a bulk operation.
#[derive(Debug, Clone, Serialize)]
pub struct BulkRequest {
    pub action: BulkAction,
    /// The conditions as texts, by the names of the parameters of the list of jobs.
    pub filter: BTreeMap<String, String>,
    /// All jobs are meant, although the filter has no condition.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The operation begins; without it, the answer only says which jobs it would be for.
    pub confirm: bool,
}

/// The answer to a request for a bulk operation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkAnswer {
    /// What is done to each job.
    pub action: BulkAction,
    /// The filter, as it was understood.
    pub filter: BulkFilter,
    /// Number of jobs that the filter finds now and that the action can change, counted up to 10,000.
    pub jobs: u64,
    /// Whether there are more than were counted.
    pub has_more: bool,
    /// Up to ten of them.
    pub sample: Vec<BulkJob>,
    /// The operation; null: nothing was done, since `confirm` was not true or no job was found.
    pub operation: Option<BulkOperation>,
    /// What happened, as text for a user.
    pub message: String,
}

/// A job that a bulk operation is for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkJob {
    /// The job's id.
    pub job_id: JobId,
    /// The name of its type.
    pub job_type: String,
    /// Its status now.
    pub status: JobStatus,
    /// When it was submitted.
    pub created_at: Timestamp,
}

/// A bulk operation and its progress.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkOperation {
    /// Its id.
    pub operation_id: String,
    /// What is done to each job.
    pub action: BulkAction,
    /// Which jobs it is for: those that were submitted before it.
    pub filter: BulkFilter,
    /// Whether it goes on.
    pub state: BulkState,
    /// Number of jobs that it found when it began, counted up to 10,000.
    pub jobs: u64,
    /// Whether there were more than were counted.
    pub has_more: bool,
    /// Number of jobs that it changed.
    pub done: u64,
    /// Number of jobs that could not be changed, for example since they had ended meanwhile.
    pub refused: u64,
    /// Why the last one of these was refused.
    pub last_refusal: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Who stopped it, if they said so.
    pub stopped_by: Option<String>,
}

/// Whether a bulk operation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkState {
    /// The sweeps carry it out.
    Running,
    /// It went through all jobs.
    Finished,
    /// A user stopped it. The jobs that it changed stay changed.
    Stopped,
}

impl BulkState {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }
}

/// The newest bulk operations.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkOperations {
    /// Up to 100, the newest first. They are kept for 30 days.
    pub operations: Vec<BulkOperation>,
}
