//! Jobs, stages and tasks as the read endpoints show them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    model::{JobId, JobStatus, ProcessingPath, Stage, Timestamp},
    store::{JobRecord, Totals},
    workflow::StageStanding,
};

/// A job in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobView {
    /// Its id: the hash of its type and parameters.
    job_id: JobId,
    /// Its type.
    job_type: String,
    /// Where it stands.
    status: JobStatus,
    /// The stage that runs or is next.
    stage: Stage,
    /// How many stages it has.
    total_stages: Stage,
    /// Its pipeline.
    processing_path: ProcessingPath,
    /// What was submitted, with the defaults.
    parameters: Box<RawValue>,
    /// Tasks of its stages so far.
    total: i64,
    /// Of these, with a result.
    completed: i64,
    /// Of these, failed for good.
    failed: i64,
    /// Of these, that will not run.
    skipped: i64,
    /// Of these, without an outcome.
    open: i64,
    /// Why it failed, if it did.
    error_details: Option<String>,
    /// It is to stop at the end of its stage.
    pause_requested: bool,
    /// Since when it stands still, if it does.
    paused_at: Option<Timestamp>,
    /// When it was submitted.
    created_at: Timestamp,
    /// When its row changed last.
    updated_at: Timestamp,
    /// When it was over.
    finished_at: Option<Timestamp>,
    /// A job that is not over by then fails.
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

/// A job's row, without a look at its stages.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StoredJob {
    job_id: JobId,
    job_type: String,
    status: JobStatus,
    stage: Stage,
    total_stages: Stage,
    processing_path: ProcessingPath,
    parameters: Box<RawValue>,
    /// A summary of each stage that ended, keyed by its number.
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

/// A job whole.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WholeJob {
    #[serde(flatten)]
    job: JobView,
    /// A summary of each stage that ended, keyed by its number.
    stage_results: Box<RawValue>,
    /// The final result, once there is one.
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

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StageProgress {
    /// Which stage.
    stage: Stage,
    /// The type of its tasks; null where this version of the app does not know the job type.
    task_type: Option<&'static str>,
    /// All its tasks are written.
    planned: bool,
    /// Tasks written so far.
    total: i64,
    /// Of these, whose messages are not sent yet.
    pending_queue: i64,
    /// Of these, that wait for their turn, or for another attempt; null where nobody says how many
    /// run.
    queued: Option<i64>,
    /// Of these, that run now, as the handlers said in the last seconds; null where none says it.
    running: Option<i64>,
    /// Of these, without an outcome.
    open: i64,
    /// Of these, with a result.
    completed: i64,
    /// Of these, failed for good.
    failed: i64,
    /// Of these, that will not run.
    skipped: i64,
    /// Outcomes a second, since the stage began; null before the first.
    rate_per_second: Option<f64>,
    /// Seconds until its end, if it goes on like this; null where that cannot be said.
    eta_seconds: Option<f64>,
    /// When it began.
    started_at: Timestamp,
    /// When it was over.
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
