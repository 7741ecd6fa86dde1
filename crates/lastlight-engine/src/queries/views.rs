//! Jobs and stages as answers, from their rows.

use lastlight_api::jobs::{JobStatusAnswer, JobView, StageProgress, WholeJob};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::status::{JobStanding, StageStanding};
use crate::{
    model::{JobId, JobStatus, Labels, ProcessingPath, Stage, Timestamp},
    store::{JobRecord, Totals},
};

pub(super) fn job_view(job: JobRecord, totals: Totals) -> JobView {
    JobView {
        job_id: job.job_id,
        job_type: job.job_type,
        status: job.status,
        stage: job.stage,
        total_stages: job.total_stages,
        processing_path: job.path,
        parameters: job.parameters,
        labels: job.labels,
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

/// A job's row, without its stages.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredJob {
    job_id: JobId,
    job_type: String,
    status: JobStatus,
    stage: Stage,
    total_stages: Stage,
    processing_path: ProcessingPath,
    parameters: Box<RawValue>,
    /// Absent if there are none.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[schemars(default)]
    labels: Labels,
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
            labels: job.labels,
            stage_results: job.stage_results,
            result_data: job.result_data.map(Into::into),
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

pub(super) fn whole_job(mut job: JobRecord, totals: Totals) -> WholeJob {
    WholeJob {
        stage_results: std::mem::take(&mut job.stage_results),
        result_data: job.result_data.take().map(Into::into),
        job: job_view(job, totals),
    }
}

impl From<JobStanding> for JobStatusAnswer {
    fn from(JobStanding { version, job, stages }: JobStanding) -> Self {
        Self {
            job_id: job.job_id,
            job_type: job.job_type,
            status: job.status,
            stage: job.stage,
            total_stages: job.total_stages,
            processing_path: job.path,
            parameters: job.parameters,
            labels: job.labels,
            stage_results: job.stage_results,
            progress: stages.iter().map(StageProgress::from).collect(),
            created_at: Timestamp(job.created_at),
            updated_at: Timestamp(job.updated_at),
            deadline: job.deadline.map(Timestamp),
            pause_requested: job.is_pause_requested,
            paused_at: job.paused_at.map(Timestamp),
            version: Some(version),
            result_data: job.result_data.map(Into::into),
            error_details: job.error_details,
        }
    }
}

impl From<&StageStanding> for StageProgress {
    fn from(standing: &StageStanding) -> Self {
        let stage = &standing.record;
        let waiting = (stage.open() - stage.unsent).max(0);
        let running = standing.running.map(|running| running.min(waiting));
        let has_begun = standing.node.as_ref().is_none_or(|node| node.waits_for == 0);
        Self {
            stage: stage.stage,
            task_type: standing.task_type.clone(),
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
            started_at: has_begun.then_some(Timestamp(stage.created_at)),
            finished_at: stage.advanced_at.map(Timestamp),
            node: standing.node.clone(),
        }
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
