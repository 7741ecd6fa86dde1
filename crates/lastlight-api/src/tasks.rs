//! Lists of tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{JobId, Stage, TaskStatus, Timestamp};

/// A task with all its fields, as shown to users.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ListedTask {
    /// Id of the task, unique within its job.
    pub task_id: String,
    /// Id of its job.
    pub parent_job_id: JobId,
    /// Type of its job.
    pub job_type: String,
    /// Type of the task.
    pub task_type: String,
    /// Number of its stage.
    pub stage: Stage,
    /// Its semantic index.
    pub task_index: String,
    /// Its position in the plan of the stage, from 0.
    pub ordinal: i32,
    /// Its status; `pending_queue` while its message is unsent.
    pub status: TaskStatus,
    /// Number of attempts that began.
    pub attempt: i16,
    /// Number of messages that were sent again for it.
    pub retry_count: i16,
    /// Id of the batch with which it was planned and sent.
    pub batch_id: String,
    /// Id of the task of the previous stage whose result it receives.
    pub parent_task_id: Option<String>,
    /// Parameters that its handler receives.
    pub parameters: Box<RawValue>,
    /// Its result, if it completed.
    pub result_data: Option<Box<RawValue>>,
    /// Why its last attempt failed, if it did.
    pub error_details: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it completed, failed or was skipped.
    pub finished_at: Option<Timestamp>,
    /// Time before which a retry is not due.
    pub due_at: Option<Timestamp>,
    /// Until when an attempt holds the task, or a message for it is expected to arrive.
    pub lease_until: Option<Timestamp>,
    /// The share of the work that the running attempt has done, 0 to 1, if it says so.
    pub progress: Option<f32>,
    /// What the running attempt does, if it says so.
    pub message: Option<String>,
    /// The worker that claimed it last, if its tasks are for workers.
    #[serde(default)]
    pub worker_id: Option<String>,
}

/// A task, and what its attempts said about themselves.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TaskDetails {
    pub task: ListedTask,
    /// The end of the log of its last attempt that wrote one: at most 64 KiB.
    pub log: Option<TaskLog>,
    /// The checkpoint that the next attempt finds.
    pub checkpoint: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TaskLog {
    /// Number of the attempt.
    pub attempt: i16,
    /// Its last lines.
    pub text: String,
    /// When it was stored.
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// Those of the newest job first; within a job by stage, then by id.
    pub tasks: Vec<ListedTask>,
    pub query_info: TasksQueryInfo,
}

/// The filters of the request, and the cursor of the next page.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TasksQueryInfo {
    #[serde(flatten)]
    pub of: TaskQueryInfo,
    pub hours_back: u16,
    pub job_type: Option<String>,
}

/// The filters and the cursor that both task lists return.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskQueryInfo {
    pub limit: u16,
    pub status: Option<TaskStatus>,
    pub stage: Option<Stage>,
    /// Number of tasks on this page.
    pub returned: usize,
    /// Number of tasks read to fill this page.
    pub scanned: u64,
    /// The `cursor` of the next page; null on the last page. A page with fewer tasks than `limit`
    /// is not necessarily the last.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TasksOfJob {
    /// By stage, then by id.
    pub tasks: Vec<ListedTask>,
    pub query_info: TaskQueryInfo,
}

/// The result of a request to retry or skip tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TasksChanged {
    /// The job's id.
    pub job_id: JobId,
    /// Number of tasks that were changed; or would be.
    pub tasks: u64,
    /// Whether there are more, since the time of a request was over: the same request goes on.
    pub has_more: bool,
    /// Whether nothing was changed.
    pub is_dry_run: bool,
    /// What happened, as text for a user.
    pub message: String,
}

/// Which tasks of a job to retry or to skip.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChangeTasks {
    /// The job's id.
    pub job_id: String,
    /// Only this task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Only tasks of this stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<u8>,
    /// Only tasks in these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Only tasks whose error contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Nothing is changed; the answer says how many tasks are meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
