//! The lines of an archive of a run of a job, and what a list of archives says of each. One JSON object a line: the job, the
//! definition it was made from, its stages, its tasks, its events, and the end, by which a reader knows that nothing is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    GateDecision, JobId, JobStatus, Labels, ProcessingPath, Stage, StageKind, StageOutcome,
    TaskStatus, Timestamp,
};

/// The version of the lines. A reader of this version reads all of the same number.
pub const ARCHIVE_FORMAT: u32 = 1;

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveLineKind {
    /// [`ArchivedJob`], the first line.
    Job,
    /// [`ArchivedDefinition`].
    Definition,
    /// [`ArchivedStage`].
    Stage,
    /// [`ArchivedTask`].
    Task,
    /// [`ArchivedEvent`].
    Event,
    /// [`ArchiveEnd`], the last line.
    End,
}

/// What any line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnyArchiveLine {
    /// Which line it is.
    pub kind: ArchiveLineKind,
}

/// The job itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "job")]
pub struct ArchivedJob {
    /// The version of the lines: [`ARCHIVE_FORMAT`].
    pub format: u32,
    /// The job's id.
    pub job_id: JobId,
    /// The run: 1, and one more after each resubmission.
    pub run: i32,
    /// The name of its type.
    pub job_type: String,
    /// How it ended.
    pub status: JobStatus,
    /// Its parameters with their defaults: what it takes to submit it again.
    pub parameters: Box<RawValue>,
    /// Its result, if there is one.
    pub result: Option<Box<RawValue>>,
    /// One summary for each ended stage, by its number. Of a graph, the results are with the stages.
    pub stage_results: Box<RawValue>,
    /// Why it failed.
    pub error: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// The path of its messages.
    pub path: ProcessingPath,
    /// The stage that ran last.
    pub stage: Stage,
    /// Number of its stages.
    pub total_stages: Stage,
    /// When this run was submitted.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it would have failed.
    pub deadline: Option<Timestamp>,
    /// Whether stages of other jobs could wait for it.
    pub is_child: bool,
    /// The definition that its stages were made from.
    pub definition_id: Option<String>,
}

/// The text from which the job was made, such as a workflow file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "definition")]
pub struct ArchivedDefinition {
    /// The SHA-256 of the source.
    pub definition_id: String,
    /// The name of its job type.
    pub name: String,
    /// A number that its author gave it.
    pub version: Option<i32>,
    /// The text.
    pub source: String,
}

/// A stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "stage")]
pub struct ArchivedStage {
    /// Its number.
    pub stage: Stage,
    /// The name of the node, in a graph.
    pub node: Option<String>,
    /// How it comes to its end, in a graph.
    pub node_kind: Option<StageKind>,
    /// Its tasks.
    pub total: i64,
    /// Tasks that completed.
    pub completed: i64,
    /// Tasks that failed.
    pub failed: i64,
    /// Tasks that did not run.
    pub skipped: i64,
    /// Batches of messages.
    pub batches: i32,
    /// How it ended, in a graph.
    pub outcome: Option<StageOutcome>,
    /// Its failure does not fail the job.
    pub best_effort: Option<bool>,
    /// It runs also after a job that ended before it.
    pub is_finalize: Option<bool>,
    /// The stages that need it to complete, and those that wait for its end.
    pub needed_by: Option<Vec<i16>>,
    /// The stages that wait for its end.
    pub followed_by: Option<Vec<i16>>,
    /// The dependents that it did not choose.
    pub not_chosen: Option<Vec<i16>>,
    /// What was decided at the gate.
    pub decision: Option<GateDecision>,
    /// Seconds after which a gate decides without a user.
    pub timeout_seconds: Option<i32>,
    /// What it decides then.
    pub on_timeout: Option<GateDecision>,
    /// The job that it waited for.
    pub child_job_id: Option<String>,
    /// What a stage without tasks resulted in.
    pub output: Option<Box<RawValue>>,
    /// Its summary, in a graph.
    pub result: Option<Box<RawValue>>,
    /// When it became ready.
    pub created_at: Timestamp,
    /// When its last task was written.
    pub planned_at: Option<Timestamp>,
    /// When it ended.
    pub advanced_at: Option<Timestamp>,
}

/// A task. Tasks are in the order of their stages, and in a stage in that of their ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "task")]
pub struct ArchivedTask {
    /// Its id.
    pub task_id: String,
    /// Its stage.
    pub stage: Stage,
    /// Its index within the stage.
    pub task_index: String,
    /// Its place in the plan, from 0.
    pub ordinal: i32,
    /// The name of its type.
    pub task_type: String,
    /// How it ended.
    pub status: TaskStatus,
    /// The number of its last attempt.
    pub attempt: i16,
    /// Number of its retries.
    pub retry_count: i16,
    /// The batch of its message.
    pub batch_id: String,
    /// Its predecessor in the stage before.
    pub parent_task_id: Option<String>,
    /// Its parameters.
    pub parameters: Box<RawValue>,
    /// Its result.
    pub result: Option<Box<RawValue>>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// When an attempt began first.
    pub started_at: Option<Timestamp>,
    /// When it had its outcome.
    pub finished_at: Option<Timestamp>,
    /// The worker that ran it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
    /// Its progress, as its last attempt said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f32>,
    /// Its message, as its last attempt said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
}

/// An event of the job, in all of its runs until it was archived.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "event")]
pub struct ArchivedEvent {
    /// Its number, which grows with each event of the job.
    pub event_id: i64,
    /// What happened: a kind of [`crate::events::JobEvent`].
    pub event: String,
    /// The run in which it happened.
    pub run: i32,
    /// The stage; null: the whole job.
    pub stage: Option<Stage>,
    /// The name of the node, in a graph.
    pub node: Option<String>,
    /// When it happened.
    pub happened_at: Timestamp,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// More about it, by its kind.
    pub detail: Option<Box<RawValue>>,
    /// How often the sweep made this repair within the hour; otherwise 1.
    pub times: i32,
    /// When it made this repair for the last time within the hour.
    pub last_at: Option<Timestamp>,
    /// What it repaired in all.
    pub amount: Option<i64>,
}

/// The last line: how many lines came before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "end")]
pub struct ArchiveEnd {
    /// Lines of stages.
    pub stages: u64,
    /// Lines of tasks.
    pub tasks: u64,
    /// Tasks by their status.
    pub tasks_by_status: BTreeMap<String, u64>,
    /// Tasks that the stages have according to their counters. More than `tasks` if the deletion of the job had begun before the
    /// app had an archive.
    pub tasks_planned: u64,
    /// Lines of events.
    pub events: u64,
}

/// An archived run of a job, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedRun {
    /// The job's id.
    pub job_id: JobId,
    /// The run.
    pub run: i32,
    /// The name of its type.
    pub job_type: String,
    /// How it ended.
    pub status: JobStatus,
    /// When the run was submitted.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Number of its tasks.
    pub tasks: u64,
    /// Size of the blob.
    pub bytes: u64,
    /// Size of its lines.
    pub uncompressed_bytes: u64,
    /// The SHA-256 of the blob, in hexadecimal digits.
    pub sha256: String,
    /// The name of the blob in its container.
    pub blob: String,
}
