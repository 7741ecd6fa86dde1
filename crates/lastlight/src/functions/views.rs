//! Jobs, stages and tasks as the read endpoints return them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    model::{JobId, JobStatus, ProcessingPath, Stage, Timestamp},
    queries::StageStanding,
    store::{JobRecord, Totals},
};

/// A job in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobView {
    /// The job's id: the hash of its type and parameters.
    job_id: JobId,
    /// The job's type.
    job_type: String,
    /// The job's status.
    status: JobStatus,
    /// The current or next stage.
    stage: Stage,
    /// Number of stages of the job.
    total_stages: Stage,
    /// The pipeline of the job: Storage Queues or Service Bus.
    processing_path: ProcessingPath,
    /// The submitted parameters, with defaults filled in.
    parameters: Box<RawValue>,
    /// Number of tasks of the stages so far.
    total: i64,
    /// Number of these tasks that completed with a result.
    completed: i64,
    /// Number of these tasks that failed permanently.
    failed: i64,
    /// Number of these tasks that were skipped and will not run.
    skipped: i64,
    /// Number of these tasks without an outcome.
    open: i64,
    /// The reason, if the job failed.
    error_details: Option<String>,
    /// Whether the job is to pause at the end of its current stage.
    pause_requested: bool,
    /// Time since which the job is paused; null if it is not.
    paused_at: Option<Timestamp>,
    /// Time of submission.
    created_at: Timestamp,
    /// Time of the last change to the job's row.
    updated_at: Timestamp,
    /// Time at which the job finished.
    finished_at: Option<Timestamp>,
    /// The job fails if it is not finished by this time.
    deadline: Option<Timestamp>,
}

impl JobView {
    pub(super) fn new(job: JobRecord, totals: Totals) -> Self {
        Self {
            job_id: job.job_id,
            job_type: job.job_type,
            status: job.status,
            stage: job.stage,
            total_stages: job.total_stages,
            processing_path: job.path,
            parameters: job.parameters,
            total: totals.total,
            completed: totals.completed,
            failed: totals.failed,
            skipped: totals.skipped,
            open: totals.open(),
            error_details: job.error_details,
            pause_requested: job.is_pause_requested,
            paused_at: job.paused_at.map(Timestamp),
            created_at: Timestamp(job.created_at),
            updated_at: Timestamp(job.updated_at),
            finished_at: job.finished_at.map(Timestamp),
            deadline: job.deadline.map(Timestamp),
        }
    }
}

/// A job's row, without its stages.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StoredJob {
    job_id: JobId,
    job_type: String,
    status: JobStatus,
    stage: Stage,
    total_stages: Stage,
    processing_path: ProcessingPath,
    parameters: Box<RawValue>,
    /// A summary of each finished stage, keyed by stage number.
    stage_results: Box<RawValue>,
    result_data: Option<Box<RawValue>>,
    error_details: Option<String>,
    pause_requested: bool,
    paused_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    finished_at: Option<Timestamp>,
    deadline: Option<Timestamp>,
}

impl From<JobRecord> for StoredJob {
    fn from(job: JobRecord) -> Self {
        Self {
            job_id: job.job_id,
            job_type: job.job_type,
            status: job.status,
            stage: job.stage,
            total_stages: job.total_stages,
            processing_path: job.path,
            parameters: job.parameters,
            stage_results: job.stage_results,
            result_data: job.result_data,
            error_details: job.error_details,
            pause_requested: job.is_pause_requested,
            paused_at: job.paused_at.map(Timestamp),
            created_at: Timestamp(job.created_at),
            updated_at: Timestamp(job.updated_at),
            finished_at: job.finished_at.map(Timestamp),
            deadline: job.deadline.map(Timestamp),
        }
    }
}

/// The complete record of a job.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WholeJob {
    #[serde(flatten)]
    job: JobView,
    /// A summary of each finished stage, keyed by stage number.
    stage_results: Box<RawValue>,
    /// The final result, once the job has one.
    result_data: Option<Box<RawValue>>,
}

impl WholeJob {
    pub(super) fn new(mut job: JobRecord, totals: Totals) -> Self {
        let empty = || RawValue::NULL.to_owned();
        Self {
            stage_results: std::mem::replace(&mut job.stage_results, empty()),
            result_data: job.result_data.take(),
            job: JobView::new(job, totals),
        }
    }
}

/// The progress of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StageProgress {
    /// The stage's number.
    stage: Stage,
    /// The type of the stage's tasks; null if this version of the app does not know the job type.
    task_type: Option<&'static str>,
    /// Whether all tasks of the stage are written.
    planned: bool,
    /// Number of tasks written so far.
    total: i64,
    /// Number of these tasks whose messages are not sent yet.
    pending_queue: i64,
    /// Number of these tasks that wait for their first or next attempt; null if no handler has
    /// reported how many are running.
    queued: Option<i64>,
    /// Number of these tasks that are running, as reported by the handlers in the last seconds;
    /// null if none has reported.
    running: Option<i64>,
    /// Number of these tasks without an outcome.
    open: i64,
    /// Number of these tasks that completed with a result.
    completed: i64,
    /// Number of these tasks that failed permanently.
    failed: i64,
    /// Number of these tasks that were skipped and will not run.
    skipped: i64,
    /// Task outcomes per second since the stage began; null before the first outcome.
    rate_per_second: Option<f64>,
    /// Estimated seconds until the stage ends, at this rate; null if unknown.
    eta_seconds: Option<f64>,
    /// Time at which the stage began.
    started_at: Timestamp,
    /// Time at which the stage finished.
    finished_at: Option<Timestamp>,
}

impl From<&StageStanding> for StageProgress {
    fn from(standing: &StageStanding) -> Self {
        let stage = &standing.record;
        let waiting = (stage.open() - stage.unsent).max(0);
        let running = standing.running.map(|running| running.min(waiting));
        Self {
            stage: stage.stage,
            task_type: standing.task_type,
            planned: stage.planned_at.is_some(),
            total: stage.total,
            pending_queue: stage.unsent,
            queued: running.map(|running| waiting - running),
            running,
            open: stage.open(),
            completed: stage.completed,
            failed: stage.failed,
            skipped: stage.skipped,
            rate_per_second: stage.rate().map(thousandths),
            eta_seconds: stage.seconds_left().map(thousandths),
            started_at: Timestamp(stage.created_at),
            finished_at: stage.advanced_at.map(Timestamp),
        }
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
