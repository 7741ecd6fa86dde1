//! The parts of the API's answers that the command line reads. Fields that an older app does not
//! send are optional; unknown fields of a newer app are ignored.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use lastlight::model::{JobStatus, ProcessingPath, TaskStatus, timestamp};

/// A time in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub OffsetDateTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        timestamp::read(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a time")))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&timestamp::write(self.0))
    }
}

/// `POST jobs/submit/{job_type}`.
#[derive(Debug, Clone, Deserialize)]
pub struct Submitted {
    pub job_id: String,
    /// `created`, or the status of the job if the same submission exists already.
    pub status: String,
    /// What happened, as text for users.
    pub message: String,
    /// Possible mistakes in the submission.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `GET jobs/status/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub job_id: String,
    pub job_type: String,
    pub status: JobStatus,
    /// The current stage.
    pub stage: u8,
    /// Number of stages.
    pub total_stages: u8,
    pub processing_path: ProcessingPath,
    /// Version of this status, to wait for a change; empty if the app does not send it.
    #[serde(default)]
    pub version: String,
    pub parameters: Map<String, Value>,
    /// The stages so far.
    pub progress: Vec<Progress>,
    /// Counts, latencies and summary of each finished stage, by its number.
    #[serde(default)]
    pub stage_results: Map<String, Value>,
    #[serde(default)]
    pub result_data: Option<Value>,
    /// Why the job failed or was cancelled.
    #[serde(default)]
    pub error_details: Option<String>,
    /// When it was submitted.
    pub created_at: Moment,
    /// Time of the last change of the job itself; for a finished job, the time when it finished.
    pub updated_at: Moment,
    /// When the job times out.
    #[serde(default)]
    pub deadline: Option<Moment>,
    /// The job will pause at the end of its stage.
    #[serde(default)]
    pub pause_requested: bool,
    /// Since when the job is paused.
    #[serde(default)]
    pub paused_at: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub stage: u8,
    /// Type of its tasks.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Planning is complete: `total` no longer grows.
    pub planned: bool,
    pub total: u64,
    /// Tasks whose message is unsent.
    #[serde(default)]
    pub pending_queue: u64,
    /// Tasks whose message was sent.
    #[serde(default)]
    pub queued: Option<u64>,
    /// Tasks with a running attempt.
    #[serde(default)]
    pub running: Option<u64>,
    pub open: u64,
    pub completed: u64,
    /// Tasks that failed finally.
    pub failed: u64,
    /// Tasks that will not run.
    pub skipped: u64,
    #[serde(default)]
    pub rate_per_second: Option<f64>,
    /// Estimated remaining time.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    #[serde(default)]
    pub started_at: Option<Moment>,
    #[serde(default)]
    pub finished_at: Option<Moment>,
}

impl Status {
    /// Since when the job is paused; `None` for a finished job.
    pub fn paused_since(&self) -> Option<Moment> {
        self.paused_at.filter(|_| !self.status.is_terminal())
    }
}

impl Job {
    /// Whether the job is paused. A finished job is not, even if a pause was requested.
    pub fn is_paused(&self) -> bool {
        self.paused_at.is_some() && !self.status.is_terminal()
    }

    /// Tasks that ran to completion or failure.
    pub fn done(&self) -> u64 {
        self.completed + self.failed
    }
}

impl Progress {
    /// Tasks that ran to completion or failure. A skipped task is terminal but not done, because it
    /// never ran.
    pub fn done(&self) -> u64 {
        self.completed + self.failed
    }

    /// Whether every task is terminal and the stage is closed.
    pub fn is_finished(&self) -> bool {
        self.planned && self.done() + self.skipped == self.total && self.finished_at.is_some()
    }
}

/// `POST jobs/cancel`, `retry`, `pause` and `resume`.
#[derive(Debug, Clone, Deserialize)]
pub struct Changed {
    /// The status after the request.
    pub status: JobStatus,
    /// What happened, as text for users.
    pub message: String,
}

/// `GET jobs/audit/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct Audit {
    pub status: JobStatus,
    pub consistent: bool,
    /// The stages so far.
    pub stages: Vec<AuditedStage>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedStage {
    pub stage: u8,
    /// Planned tasks.
    pub planned: u64,
    pub completed: u64,
    /// Tasks that failed finally.
    pub failed: u64,
    /// Tasks that will not run.
    pub skipped: u64,
    pub open: i64,
    /// The counters equal a recount of the tasks.
    pub counters_agree: bool,
    pub attempts: u64,
    /// Deliveries that were ignored as duplicates.
    #[serde(rename = "duplicatesAbsorbed")]
    pub duplicates_ignored: u64,
    /// Completions that were rejected because their attempt was no longer current.
    pub stale_completions_refused: u64,
    pub messages_sent: u64,
    /// Messages that were sent again, included in `messages_sent`.
    pub messages_resent: u64,
    /// Batches whose messages are unsent; an older app does not send it.
    #[serde(default)]
    #[serde(rename = "batchesOwed")]
    pub batches_unsent: Option<u64>,
    /// Time from the first batch to the last outcome, in seconds.
    #[serde(default)]
    pub busy_seconds: Option<f64>,
}

/// `GET jobs/types`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobTypes {
    pub job_types: Vec<KnownJobType>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct KnownJobType {
    /// The name to pass to `submit`.
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// The path of every job of this type, if the type prescribes one.
    #[serde(default)]
    pub prescribed_path: Option<ProcessingPath>,
    /// JSON Schema of the parameters.
    #[serde(default)]
    pub parameters: Value,
}

/// `GET db/jobs`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobPage {
    /// Newest first.
    pub jobs: Vec<Job>,
    pub query_info: QueryInfo,
}

/// `GET db/jobs/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobDetails {
    pub job: Job,
    /// The stages so far.
    #[serde(default)]
    pub stages: Vec<Progress>,
}

/// Information about a page.
#[derive(Debug, Clone, Deserialize)]
pub struct QueryInfo {
    /// Cursor of the next page; `None` on the last one.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A job in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub job_id: String,
    pub job_type: String,
    pub status: JobStatus,
    /// The current stage.
    pub stage: u8,
    /// Number of stages.
    pub total_stages: u8,
    pub processing_path: ProcessingPath,
    pub total: u64,
    pub completed: u64,
    /// Tasks that failed finally.
    pub failed: u64,
    /// Tasks that will not run.
    pub skipped: u64,
    /// Why the job failed or was cancelled.
    #[serde(default)]
    pub error_details: Option<String>,
    /// Since when the job is paused.
    #[serde(default)]
    pub paused_at: Option<Moment>,
    /// When it was submitted.
    pub created_at: Moment,
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// When the job times out.
    #[serde(default)]
    pub deadline: Option<Moment>,
}

/// `GET db/tasks/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskPage {
    /// In stage order.
    pub tasks: Vec<Task>,
    pub query_info: QueryInfo,
}

/// A task in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    pub task_id: String,
    pub task_type: String,
    pub stage: u8,
    /// Name of the task within its stage.
    pub task_index: String,
    pub status: TaskStatus,
    /// Number of the current attempt, or of the one that decided the outcome.
    pub attempt: u32,
    /// Why the task, or its last attempt, failed.
    #[serde(default)]
    pub error_details: Option<String>,
    /// When the first attempt started.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When the task became terminal.
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// When the next attempt is due.
    #[serde(default)]
    pub due_at: Option<Moment>,
}

/// `GET monitor/poison`.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonStatus {
    pub poison_messages_found: u64,
    /// `healthy` or `attention_needed`.
    pub status: String,
    /// The queues, by name.
    pub queue_details: BTreeMap<String, PoisonQueue>,
}

/// A queue of dead-lettered messages.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonQueue {
    /// Which messages the queue is for.
    pub holds: String,
    /// Whether only an operator moves its messages; an older app does not send it.
    #[serde(default)]
    pub is_review: Option<bool>,
    /// Number of messages; absent if unknown.
    #[serde(default)]
    pub poison_messages: Option<u64>,
    #[serde(default)]
    pub error: Option<String>,
    /// The first messages.
    #[serde(default)]
    pub messages: Vec<DeadLetters>,
}

/// A dead-lettered message.
#[derive(Debug, Clone, Deserialize)]
pub struct DeadLetters {
    /// The id to pass to redrive and discard.
    pub message_id: String,
    /// When the message was dead-lettered.
    #[serde(default)]
    pub enqueued_at: Option<Moment>,
    /// Number of deliveries.
    #[serde(default)]
    pub delivery_count: u32,
    /// Why the message was dead-lettered.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub message: String,
}

/// `POST monitor/poison` with `process`.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonProcessed {
    /// Messages in all queues before processing.
    pub poison_messages_found: u64,
    /// Messages among these that remain in review queues; an older app does not send it.
    #[serde(default)]
    pub left_for_review: Option<u64>,
    pub jobs_marked_failed: u64,
    pub tasks_marked_failed: u64,
    /// The outcome of each processed message.
    #[serde(default)]
    pub messages: Vec<Value>,
    #[serde(default)]
    pub errors: Vec<String>,
}

/// `POST monitor/poison` with `redrive` or `discard`.
#[derive(Debug, Clone, Deserialize)]
pub struct Removed {
    /// The queue that the message was in.
    pub queue: String,
    pub message_id: String,
    /// The queue that the message was sent to, after a redrive.
    #[serde(default)]
    pub sent_to: Option<String>,
    /// The text of the message, after a discard.
    #[serde(default)]
    pub message: Option<String>,
}

/// `GET metrics/comparison`.
#[derive(Debug, Clone, Deserialize)]
pub struct Comparison {
    pub queue_storage: PathMetrics,
    pub service_bus: PathMetrics,
    /// Service Bus compared with Storage Queues.
    pub comparison: Improvements,
    #[serde(default)]
    pub query_info: ComparisonInfo,
}

/// Information about a comparison.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct ComparisonInfo {
    /// Finished stages that are not included yet.
    pub stages_not_counted_yet: u64,
    /// Finished jobs that are not included yet.
    pub jobs_not_counted_yet: u64,
}

/// The metrics of a path.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, serde::Serialize)]
pub struct PathMetrics {
    /// Finished jobs.
    pub jobs_processed: u64,
    /// Average time from submission to the end of a job, in milliseconds.
    pub avg_latency_ms: Option<f64>,
    /// Share of jobs that timed out: 0 to 1.
    pub timeout_rate: Option<f64>,
    /// Tasks with an outcome, divided by the duration of their stages.
    pub tasks_per_second: Option<f64>,
}

/// Service Bus compared with Storage Queues, in percent; positive is better.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
pub struct Improvements {
    /// Reduction of the time that a job takes.
    pub latency_improvement: Option<f64>,
    /// Increase in tasks per second.
    pub throughput_improvement: Option<f64>,
    /// Reduction of the share of jobs that time out.
    pub timeout_reduction: Option<f64>,
    /// Why there is not enough data to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
