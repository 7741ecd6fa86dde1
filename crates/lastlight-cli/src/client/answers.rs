//! The shapes of the API's answers, as far as the command line reads them. What an older app does
//! not say is absent; what a newer one says more is left alone.

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
    /// `created`, or where the same submission stands.
    pub status: String,
    /// What happened, for people.
    pub message: String,
    /// What may not be what was meant.
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
    /// The stage that it is in.
    pub stage: u8,
    /// How many it has.
    pub total_stages: u8,
    /// The path that it takes.
    pub processing_path: ProcessingPath,
    /// Which state this is; empty from an app that does not say it.
    #[serde(default)]
    pub version: String,
    /// What was asked for.
    pub parameters: Map<String, Value>,
    /// Each stage so far.
    pub progress: Vec<Progress>,
    /// Each ended stage's counts, latencies and summary, by its number.
    #[serde(default)]
    pub stage_results: Map<String, Value>,
    #[serde(default)]
    pub result_data: Option<Value>,
    /// Why it ended badly.
    #[serde(default)]
    pub error_details: Option<String>,
    /// When it was submitted.
    pub created_at: Moment,
    /// When something about the job as a whole changed last; of a job that is over, when it ended.
    pub updated_at: Moment,
    /// When it will have taken too long.
    #[serde(default)]
    pub deadline: Option<Moment>,
    /// It will stand still at the end of its stage.
    #[serde(default)]
    pub pause_requested: bool,
    /// Since when it stands still.
    #[serde(default)]
    pub paused_at: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub stage: u8,
    /// What its tasks are.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Its plan is whole: `total` grows no more.
    pub planned: bool,
    pub total: u64,
    /// Their message is still owed.
    #[serde(default)]
    pub pending_queue: u64,
    /// Their message was sent.
    #[serde(default)]
    pub queued: Option<u64>,
    /// An attempt is under way.
    #[serde(default)]
    pub running: Option<u64>,
    pub open: u64,
    /// With a result.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Will not run.
    pub skipped: u64,
    #[serde(default)]
    pub rate_per_second: Option<f64>,
    /// How long it will take still.
    #[serde(default)]
    pub eta_seconds: Option<f64>,
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When it was over.
    #[serde(default)]
    pub finished_at: Option<Moment>,
}

impl Status {
    /// Since when it stands still; nothing of a job that is over.
    pub fn stands_still_since(&self) -> Option<Moment> {
        self.paused_at.filter(|_| !self.status.is_terminal())
    }
}

impl Job {
    /// It stands still. A job that is over does not, whatever was asked of it before.
    pub fn stands_still(&self) -> bool {
        self.paused_at.is_some() && !self.status.is_terminal()
    }

    /// Tasks that ran to their outcome.
    pub fn done(&self) -> u64 {
        self.completed + self.failed
    }
}

impl Progress {
    /// Tasks that ran to their outcome. One that was skipped is over and not done: nobody did
    /// anything for it.
    pub fn done(&self) -> u64 {
        self.completed + self.failed
    }

    /// Every task has its outcome, and the stage is closed.
    pub fn is_finished(&self) -> bool {
        self.planned && self.done() + self.skipped == self.total && self.finished_at.is_some()
    }
}

/// `POST jobs/cancel`, `retry`, `pause` and `resume`.
#[derive(Debug, Clone, Deserialize)]
pub struct Changed {
    /// Where the job stands now.
    pub status: JobStatus,
    /// What happened, for people.
    pub message: String,
}

/// `GET jobs/audit/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct Audit {
    /// Where the job stands.
    pub status: JobStatus,
    pub consistent: bool,
    /// Each stage so far.
    pub stages: Vec<AuditedStage>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedStage {
    pub stage: u8,
    /// Tasks that were planned.
    pub planned: u64,
    /// With a result.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// That will not run.
    pub skipped: u64,
    pub open: i64,
    /// The counters are what a recount comes to.
    pub counters_agree: bool,
    pub attempts: u64,
    /// Deliveries that found nothing to do.
    #[serde(rename = "duplicatesAbsorbed")]
    pub duplicates_ignored: u64,
    /// Ends of attempts that came too late.
    pub stale_completions_refused: u64,
    pub messages_sent: u64,
    /// Of these, sent again.
    pub messages_resent: u64,
    /// Batches whose messages are owed; an older app does not say it.
    #[serde(default)]
    #[serde(rename = "batchesOwed")]
    pub batches_unsent: Option<u64>,
    /// From its first batch to its last outcome.
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
    /// What `submit` takes.
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// The path that it always takes.
    #[serde(default)]
    pub prescribed_path: Option<ProcessingPath>,
    /// A JSON Schema.
    #[serde(default)]
    pub parameters: Value,
}

/// `GET db/jobs`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobPage {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// Where it goes on.
    pub query_info: QueryInfo,
}

/// `GET db/jobs/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct JobDetails {
    pub job: Job,
    /// Its stages so far.
    #[serde(default)]
    pub stages: Vec<Progress>,
}

/// What a page says about itself.
#[derive(Debug, Clone, Deserialize)]
pub struct QueryInfo {
    /// What asks for the next page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A job in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub job_id: String,
    pub job_type: String,
    pub status: JobStatus,
    /// The stage that it is in.
    pub stage: u8,
    /// How many it has.
    pub total_stages: u8,
    /// The path that it takes.
    pub processing_path: ProcessingPath,
    pub total: u64,
    /// With a result.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Will not run.
    pub skipped: u64,
    /// Why it ended badly.
    #[serde(default)]
    pub error_details: Option<String>,
    /// Since when it stands still.
    #[serde(default)]
    pub paused_at: Option<Moment>,
    /// When it was submitted.
    pub created_at: Moment,
    /// When it was over.
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// When it will have taken too long.
    #[serde(default)]
    pub deadline: Option<Moment>,
}

/// `GET db/tasks/{job_id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskPage {
    /// In the order of their stages.
    pub tasks: Vec<Task>,
    /// Where it goes on.
    pub query_info: QueryInfo,
}

/// A task in a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    pub task_id: String,
    pub task_type: String,
    pub stage: u8,
    /// Its name in the stage.
    pub task_index: String,
    pub status: TaskStatus,
    /// The attempt that it is in, or that decided.
    pub attempt: u32,
    /// Why it failed, or its last attempt did.
    #[serde(default)]
    pub error_details: Option<String>,
    /// When its first attempt began.
    #[serde(default)]
    pub started_at: Option<Moment>,
    /// When it had its outcome.
    #[serde(default)]
    pub finished_at: Option<Moment>,
    /// When its next attempt is due.
    #[serde(default)]
    pub due_at: Option<Moment>,
}

/// `GET monitor/poison`.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonStatus {
    pub poison_messages_found: u64,
    /// `healthy` or `attention_needed`.
    pub status: String,
    /// Each queue by its name.
    pub queue_details: BTreeMap<String, PoisonQueue>,
}

/// A queue of messages set aside.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonQueue {
    /// What it is for.
    pub holds: String,
    /// Only a person moves what is there; an older app does not say it.
    #[serde(default)]
    pub is_review: Option<bool>,
    /// How many there are; absent if nobody knows.
    #[serde(default)]
    pub poison_messages: Option<u64>,
    #[serde(default)]
    pub error: Option<String>,
    /// The first of them.
    #[serde(default)]
    pub messages: Vec<DeadLetters>,
}

/// A message set aside.
#[derive(Debug, Clone, Deserialize)]
pub struct DeadLetters {
    /// What redrive and discard take.
    pub message_id: String,
    /// When it came there.
    #[serde(default)]
    pub enqueued_at: Option<Moment>,
    /// How often it was delivered.
    #[serde(default)]
    pub delivery_count: u32,
    /// Why it was set aside.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub message: String,
}

/// `POST monitor/poison` with `process`.
#[derive(Debug, Clone, Deserialize)]
pub struct PoisonProcessed {
    /// In all queues, before.
    pub poison_messages_found: u64,
    /// Of these, in the review queues, where they still are; an older app does not say it.
    #[serde(default)]
    pub left_for_review: Option<u64>,
    pub jobs_marked_failed: u64,
    pub tasks_marked_failed: u64,
    /// What became of each.
    #[serde(default)]
    pub messages: Vec<Value>,
    #[serde(default)]
    pub errors: Vec<String>,
}

/// `POST monitor/poison` with `redrive` or `discard`.
#[derive(Debug, Clone, Deserialize)]
pub struct Removed {
    /// The queue that it was in.
    pub queue: String,
    pub message_id: String,
    /// Where it went, if it went anywhere.
    #[serde(default)]
    pub sent_to: Option<String>,
    /// Its text, if it is gone.
    #[serde(default)]
    pub message: Option<String>,
}

/// `GET metrics/comparison`.
#[derive(Debug, Clone, Deserialize)]
pub struct Comparison {
    pub queue_storage: PathMetrics,
    pub service_bus: PathMetrics,
    /// One against the other.
    pub comparison: Improvements,
    /// What it is made of.
    #[serde(default)]
    pub query_info: ComparisonInfo,
}

/// What a comparison says about itself.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct ComparisonInfo {
    /// Stages that ended and are not in it yet.
    pub stages_not_counted_yet: u64,
    /// Jobs that ended and are not in it yet.
    pub jobs_not_counted_yet: u64,
}

/// What the recorded facts of a path come to.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, serde::Serialize)]
pub struct PathMetrics {
    /// Jobs that are over.
    pub jobs_processed: u64,
    /// From submitted to over.
    pub avg_latency_ms: Option<f64>,
    /// Of the jobs, those that took longer than they may: 0 to 1.
    pub timeout_rate: Option<f64>,
    /// Tasks with an outcome, over the time that their stages took.
    pub tasks_per_second: Option<f64>,
}

/// Service Bus against Storage Queues, percent; positive is better.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
pub struct Improvements {
    /// How much less time a job takes.
    pub latency_improvement: Option<f64>,
    /// How many more tasks a second.
    pub throughput_improvement: Option<f64>,
    /// How many fewer jobs take too long.
    pub timeout_reduction: Option<f64>,
    /// Why there is not enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
