//! Jobs: submission, status, lists and records.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    JobId, JobStatus, JobVersion, Labels, ProcessingPath, Stage, StageKind, StageOutcome, Timestamp,
};

/// The result of a submission.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// The job's id: the same for the same submission.
    pub job_id: JobId,
    /// `created` for a new job; `resubmitted` for one that runs again; the existing job's status if the same submission was made before.
    pub status: String,
    /// The job's type.
    pub job_type: String,
    /// What happened, as text for a user.
    pub message: String,
    /// The parameters, with defaults filled in.
    pub parameters: Map<String, Value>,
    /// The labels of the job: those of its first submission. Absent if there are none.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Warnings about fields that were accepted but that nothing reads, and that may be mistakes.
    /// Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The job message.
    pub queue_info: QueueInfo,
}

/// The job message of a submission.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct QueueInfo {
    /// Whether a job message was sent. If not, `message` of the submission says why.
    pub queued: bool,
    /// The queue of job messages.
    pub queue_name: String,
    /// The message's id, if one was sent.
    pub message_id: Option<String>,
    /// The job's pipeline.
    pub processing_path: ProcessingPath,
    /// The job's id.
    pub job_id: JobId,
    /// The stage that the message starts.
    pub stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatusAnswer {
    pub job_id: JobId,
    pub job_type: String,
    pub status: JobStatus,
    /// The current or next stage.
    pub stage: Stage,
    pub total_stages: Stage,
    pub processing_path: ProcessingPath,
    pub parameters: Box<RawValue>,
    /// The labels of the job. Absent if there are none.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// A summary of each finished stage, keyed by stage number.
    #[serde(default)]
    pub stage_results: Box<RawValue>,
    /// The progress of the stages so far, in order.
    pub progress: Vec<StageProgress>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The job fails if it is not finished by this time.
    pub deadline: Option<Timestamp>,
    /// Whether the job is to pause at the end of its current stage.
    #[serde(default)]
    pub pause_requested: bool,
    /// Time since which the job is paused; null if it is not.
    pub paused_at: Option<Timestamp>,
    /// The version of the job's state. Pass it as `seen` together with `wait` so that no change is
    /// missed.
    // `None`: an older app does not send it.
    #[schemars(with = "JobVersion")]
    pub version: Option<JobVersion>,
    /// The final result, once the job has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_data: Option<Box<RawValue>>,
    /// The reason, if the job failed or was cancelled; also while its last node still runs after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_details: Option<String>,
}

impl JobStatusAnswer {
    /// Time since which the job is paused; `None` for a finished job.
    pub fn paused_since(&self) -> Option<Timestamp> {
        self.paused_at.filter(|_| !self.status.is_terminal())
    }
}

/// The progress of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageProgress {
    /// The stage's number.
    pub stage: Stage,
    /// The type of the stage's tasks; null if this version of the app does not know the job type.
    pub task_type: Option<String>,
    /// Whether all tasks of the stage are written.
    pub planned: bool,
    /// Number of tasks written so far.
    pub total: i64,
    /// Number of these tasks whose messages are not sent yet.
    #[serde(default)]
    pub pending_queue: i64,
    /// Number of these tasks that wait for their first or next attempt; null if no handler has
    /// reported how many are running.
    pub queued: Option<i64>,
    /// Number of these tasks that are running, as reported by the handlers in the last seconds;
    /// null if none has reported.
    pub running: Option<i64>,
    /// Number of these tasks without an outcome.
    pub open: i64,
    /// Number of these tasks that completed with a result.
    pub completed: i64,
    /// Number of these tasks that failed permanently.
    pub failed: i64,
    /// Number of these tasks that were skipped and will not run.
    pub skipped: i64,
    /// Task outcomes per second since the stage began; null before the first outcome.
    pub rate_per_second: Option<f64>,
    /// Estimated seconds until the stage ends, at this rate; null if unknown.
    pub eta_seconds: Option<f64>,
    /// Time at which the stage began; null if its job is a graph and the stage waits for others.
    pub started_at: Option<Timestamp>,
    /// Time at which the stage finished.
    pub finished_at: Option<Timestamp>,
    /// The stage's place in the graph of its job. Absent if the job's stages form a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeProgress>,
}

/// A stage of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeProgress {
    /// Its name, unique in its job.
    pub name: String,
    /// How it comes to its end.
    pub kind: StageKind,
    /// The stages that must complete before it runs.
    pub needs: Vec<Stage>,
    /// The stages that must only end before it runs.
    pub follows: Vec<Stage>,
    /// How many of these have not ended.
    pub waits_for: i16,
    /// How it ended; null if it has not, or if its job ended first.
    pub outcome: Option<StageOutcome>,
    /// Whether its failure does not fail the job.
    pub best_effort: bool,
    /// Whether it is a gate that waits for a decision now.
    pub waits_for_decision: bool,
    /// Time at which the waiting gate is decided without a user; null if it waits without an end.
    pub decide_until: Option<Timestamp>,
    /// What a stage without tasks resulted in: a gate's decision, for example.
    pub output: Option<Value>,
    /// The job that it waits for, if it waits for one.
    pub child_job_id: Option<JobId>,
}

impl StageProgress {
    /// Tasks that ran to completion or failure. A skipped task is terminal but not done, because it
    /// never ran.
    pub fn done(&self) -> i64 {
        self.completed + self.failed
    }

    /// Whether every task is terminal and the stage is closed.
    pub fn is_finished(&self) -> bool {
        self.planned && self.done() + self.skipped == self.total && self.finished_at.is_some()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Jobs {
    /// Newest first.
    pub jobs: Vec<JobView>,
    pub query_info: JobsQueryInfo,
}

/// The filters of the request, and the cursor of the next page.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobsQueryInfo {
    pub limit: u16,
    /// Null if the list is not limited to the last hours: with `from`, `to`, or a search.
    pub hours_back: Option<u16>,
    /// Only jobs submitted at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only jobs submitted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The labels and parameters that were searched for, by the names of their query parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, String>,
    /// The prefix that was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    pub status: Option<ListedAs>,
    pub job_type: Option<String>,
    pub processing_path: Option<ProcessingPath>,
    /// Number of jobs on this page.
    pub returned: usize,
    /// Number of jobs read to fill this page.
    pub scanned: u64,
    /// The jobs submitted at this time or later were searched, and those of before are for the next page. Absent on the last
    /// page. A page of a search may have fewer jobs than `limit`, or none, and still a next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_until: Option<Timestamp>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The values of the filter `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedAs {
    Queued,
    /// Paused before a stage. Not a stored status: such jobs are stored as `queued`.
    Paused,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl ListedAs {
    /// Every value, in display order.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Paused,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            other => other.stored().as_str(),
        }
    }

    /// The status stored in the rows of these jobs.
    pub fn stored(self) -> JobStatus {
        match self {
            Self::Queued | Self::Paused => JobStatus::Queued,
            Self::Processing => JobStatus::Processing,
            Self::Completed => JobStatus::Completed,
            Self::Failed => JobStatus::Failed,
            Self::Cancelled => JobStatus::Cancelled,
        }
    }
}

/// A job in a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// The job's id: the hash of its type and parameters.
    pub job_id: JobId,
    /// The job's type.
    pub job_type: String,
    /// The job's status.
    pub status: JobStatus,
    /// The current or next stage.
    pub stage: Stage,
    /// Number of stages of the job.
    pub total_stages: Stage,
    /// The pipeline of the job: Storage Queues or Service Bus.
    pub processing_path: ProcessingPath,
    /// The submitted parameters, with defaults filled in.
    #[serde(deserialize_with = "flattened_json")]
    pub parameters: Box<RawValue>,
    /// The labels of the job. Absent if there are none.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Number of tasks of the stages so far.
    pub total: i64,
    /// Number of these tasks that completed with a result.
    pub completed: i64,
    /// Number of these tasks that failed permanently.
    pub failed: i64,
    /// Number of these tasks that were skipped and will not run.
    pub skipped: i64,
    /// Number of these tasks without an outcome.
    pub open: i64,
    /// The reason, if the job failed or was cancelled; also while its last node still runs after that.
    pub error_details: Option<String>,
    /// Whether the job is to pause at the end of its current stage.
    pub pause_requested: bool,
    /// Time since which the job is paused; null if it is not.
    pub paused_at: Option<Timestamp>,
    /// Time of submission.
    pub created_at: Timestamp,
    /// Time of the last change to the job's row.
    pub updated_at: Timestamp,
    /// Time at which the job finished.
    pub finished_at: Option<Timestamp>,
    /// The job fails if it is not finished by this time.
    pub deadline: Option<Timestamp>,
}

impl JobView {
    /// Whether the job is paused. A finished job is not, even if a pause was requested.
    pub fn is_paused(&self) -> bool {
        self.paused_at.is_some() && !self.status.is_terminal()
    }

    /// Tasks that ran to completion or failure.
    pub fn done(&self) -> i64 {
        self.completed + self.failed
    }
}

/// A flattened struct cannot read a `RawValue`.
fn flattened_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    to_raw_value(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The complete record of a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WholeJob {
    #[serde(flatten)]
    pub job: JobView,
    /// A summary of each finished stage, keyed by stage number.
    pub stage_results: Box<RawValue>,
    /// The final result, once the job has one.
    pub result_data: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct JobDetails {
    pub job: WholeJob,
    /// The stages of the job so far, in order.
    #[serde(default)]
    pub stages: Vec<StageProgress>,
    /// The workflow file from which the job was made. Absent if its job type is made in code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<JobDefinition>,
}

/// A workflow file as it was when a job was submitted. Later versions of the file do not change the
/// job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDefinition {
    /// The name of the workflow.
    pub name: String,
    /// The version that the file states. Absent if it states none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// The text of the file: YAML.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_job_is_read_as_it_was_written() {
        let time = "2026-11-25T10:00:00.000000+00:00";
        let document = json!({
            "job_id": "a".repeat(64), "job_type": "t", "status": "completed", "stage": 1, "total_stages": 1,
            "processing_path": "service_bus", "parameters": { "n": [1, 2.5] }, "total": 1, "completed": 1, "failed": 0,
            "skipped": 0, "open": 0, "error_details": null, "pause_requested": false, "paused_at": null,
            "created_at": time, "updated_at": time, "finished_at": time, "deadline": null, "stage_results": { "1": {} },
            "result_data": { "sum": 1 },
        });
        let job: WholeJob = serde_json::from_str(&document.to_string()).unwrap();
        assert_eq!(job.job.parameters.get(), r#"{"n":[1,2.5]}"#);
        assert_eq!(serde_json::to_value(&job).unwrap(), document);
    }

    #[test]
    fn the_status_of_an_older_or_newer_app_is_read() {
        let time = "2026-11-25T10:00:00.000000+00:00";
        let stage = json!({
            "stage": 1, "planned": true, "total": 3, "open": 1, "completed": 1, "failed": 1, "skipped": 0,
        });
        let status: JobStatusAnswer = serde_json::from_value(json!({
            "jobId": "a".repeat(64), "jobType": "t", "status": "processing", "stage": 1, "totalStages": 1,
            "processingPath": "queue_storage", "parameters": {}, "progress": [stage], "createdAt": time, "updatedAt": time,
            "fieldOfTheFuture": 1,
        }))
        .unwrap();
        assert_eq!(status.version, None);
        assert!(!status.pause_requested && status.paused_since().is_none());
        let [stage] = &*status.progress else { panic!("{status:?}") };
        assert_eq!((stage.done(), stage.pending_queue, stage.running), (2, 0, None));
        assert!(!stage.is_finished());
    }
}
