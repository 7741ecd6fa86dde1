//! What workers ask and are answered, and the list of workers and their queues.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{JobId, Stage, TaskId, Timestamp};

/// Maximum number of tasks in a claim, and of outcomes in a finish.
pub const MOST_TASKS: u16 = 100;

/// Maximum number of tasks in a heartbeat.
pub const MOST_BEATS: usize = 1000;

/// Maximum number of handlers in a claim.
pub const MOST_HANDLERS: usize = 100;

/// Maximum number of seconds that a claim waits.
pub const LONGEST_WAIT_SECONDS: f64 = 25.0;

/// Maximum size of a heartbeat and of a finish, in bytes.
pub const LARGEST_WORKER_BODY: usize = 8 * 1024 * 1024;

/// An attempt: every request of a worker after the claim names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AttemptKey {
    pub job_id: JobId,
    pub stage: Stage,
    pub task_id: TaskId,
    /// From 1.
    pub attempt: i16,
}

/// A request for tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The worker's name, unique among all workers that run at the same time: 1 to 100 characters.
    pub worker_id: String,
    /// 1 to 50 characters; "default" if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The handlers that it has: 1 to 100 names of 1 to 100 characters.
    pub handlers: Vec<String>,
    /// Maximum number of tasks, 1 to 100; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u16>,
    /// How long to wait for a task if there is none, 0 to 25; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<f64>,
}

/// The answer to a claim.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClaimedTasks {
    /// Empty when the wait is over.
    pub tasks: Vec<ClaimedTask>,
}

/// A task that a worker is to run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClaimedTask {
    pub job_id: JobId,
    pub stage: Stage,
    pub task_id: TaskId,
    /// The name of its stage.
    pub node: String,
    /// The name of its handler.
    pub handler: String,
    #[schemars(with = "Map<String, Value>")]
    pub params: Box<RawValue>,
    /// The result of the task that it follows, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    pub predecessor_result: Option<Box<RawValue>>,
    /// From 1; it names the attempt in every later request.
    pub attempt: i16,
    /// Without a heartbeat that names it for this time, the attempt is lost.
    pub lease_seconds: f64,
    /// The attempt is to end after this time; null: no limit.
    pub timeout_seconds: Option<f64>,
    /// The W3C trace context of its job.
    pub traceparent: Option<String>,
}

impl ClaimedTask {
    /// The attempt.
    pub fn key(&self) -> AttemptKey {
        AttemptKey {
            job_id: self.job_id,
            stage: self.stage,
            task_id: self.task_id.clone(),
            attempt: self.attempt,
        }
    }
}

/// A running attempt, in a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Beat {
    #[serde(flatten)]
    pub key: AttemptKey,
    /// The share of the work that is done, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f32>,
    /// What it does; cut at 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of its log; the last 64 KiB are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
}

/// A worker says what it runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    pub worker_id: String,
    /// At most 1,000.
    pub tasks: Vec<Beat>,
}

/// The answer to a heartbeat, in the order of its tasks.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAnswers {
    pub tasks: Vec<BeatAnswer>,
}

/// The standing of an attempt.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BeatAnswer {
    #[serde(flatten)]
    pub key: AttemptKey,
    pub answer: Standing,
}

/// Whether an attempt is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It holds its task, for another lease.
    Continue,
    /// Its job is finished: it is to stop.
    Cancelled,
    /// It does not hold its task any more: it is to stop.
    Lost,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// With a result.
    Completed,
    /// With an error: it is tried again as often as the job allows, unless `error_type` names an error
    /// that no attempt changes.
    Failed,
    /// With the wish for another attempt, as often as the job allows.
    Retry,
    /// It was released, and does not count.
    Released,
}

impl OutcomeKind {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Retry, Self::Released];

    /// The name in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::Released => "released",
        }
    }
}

/// The end of an attempt.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    #[serde(flatten)]
    pub key: AttemptKey,
    pub outcome: OutcomeKind,
    /// Of a completed attempt: at most 1 MiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed or is to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The kind of the error, such as the name of its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Of a retry: the pause before the next attempt, in place of the usual one; at most 6 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<f64>,
    /// The end of its log; the last 64 KiB are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
}

/// A worker says what became of attempts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finish {
    pub worker_id: String,
    /// 1 to 100.
    pub outcomes: Vec<Outcome>,
}

/// The answer to a finish, in the order of its outcomes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FinishAnswers {
    pub outcomes: Vec<OutcomeAnswer>,
}

/// What became of an outcome.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeAnswer {
    /// The attempt; absent if the outcome does not name one.
    #[serde(flatten)]
    pub key: Option<AttemptKey>,
    pub answer: Counting,
    /// What is wrong with an invalid outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether an outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// It counts, now or since it was said before.
    Counted,
    /// The attempt did not hold its task any more, or its job is finished.
    Superseded,
    /// There is no such task for workers.
    Unknown,
    /// It cannot be read: `error` says why.
    Invalid,
}

/// The queues and the workers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkerList {
    pub queues: Vec<WorkerQueue>,
    /// Those that were seen in the last 90 seconds, at most 1,000.
    pub workers: Vec<WorkerInfo>,
}

/// A queue of tasks for workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerQueue {
    pub queue: String,
    /// Number of tasks that wait for a worker: exact up to 10,000 for each handler.
    pub depth: i64,
    /// Number of tasks without an outcome: those that wait, those that run, and those between two
    /// attempts.
    pub open: i64,
    /// How long the oldest of them has waited.
    pub oldest_wait_seconds: Option<f64>,
    /// Number of workers that were seen in the last 90 seconds.
    pub workers: usize,
    /// Whether tasks wait and no worker serves one of their handlers.
    pub unserved: bool,
    pub handlers: Vec<HandlerInfo>,
}

/// A handler with the work that waits for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandlerInfo {
    pub name: String,
    pub depth: i64,
    pub open: i64,
    pub oldest_wait_seconds: Option<f64>,
    /// When a worker last asked for its tasks; null: never.
    pub served_at: Option<Timestamp>,
    /// Number of workers that serve it and were seen in the last 90 seconds.
    pub workers: usize,
}

impl HandlerInfo {
    /// Whether tasks wait and no worker serves it.
    pub fn is_unserved(&self) -> bool {
        self.depth > 0 && self.workers == 0
    }
}

/// A worker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkerInfo {
    pub worker_id: String,
    pub queue: String,
    pub handlers: Vec<String>,
    /// When it was first seen.
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// The tasks that its last heartbeat named and that are still its own, at most 100.
    pub running: Vec<RunningTask>,
}

/// A task that a worker runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunningTask {
    pub job_id: JobId,
    pub job_type: String,
    pub stage: Stage,
    pub node: String,
    pub task_id: TaskId,
    pub attempt: i16,
    /// When this attempt began.
    pub since: Option<Timestamp>,
    /// The share of the work that is done, 0 to 1.
    pub progress: Option<f32>,
    pub message: Option<String>,
}

/// One number of the list, for autoscalers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkerValue {
    pub value: i64,
}
