//! Control: what an operator may do to a job: cancel it, retry what failed, pause it at the end of
//! its stage, and resume it. Only legal transitions are made; any other request is rejected with
//! the job's current state.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Change, Controller, ControllerError, IllegalChange, ReconcileReport};
use crate::{
    model::{JobId, JobStatus, Stage},
    store::{JobRecord, PauseRequest, ResumeRequest, StageKey},
};

/// Tasks skipped by one transaction.
const SKIPPED_AT_ONCE: i64 = 5000;

/// Batches reopened by one transaction.
const REOPENED_AT_ONCE: i64 = 50;

/// A request returns after this time; `reconcile` does the rest.
const LONGEST_REQUEST: Duration = Duration::from_secs(20);

/// The result of a request to cancel a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Cancellation {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// The job's state before the request.
    pub previous_status: JobStatus,
    /// Number of tasks that will not run.
    pub tasks_skipped: u64,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to retry a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Retry {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// The job's state before the request.
    pub previous_status: JobStatus,
    /// The stage in which the job continues.
    pub stage: Stage,
    /// Number of tasks that run again.
    pub tasks_reset: u64,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to pause or resume a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pause {
    /// The job's id.
    pub job_id: JobId,
    /// The job's state now.
    pub status: JobStatus,
    /// Whether the job is paused.
    pub paused: bool,
    /// Whether the job will pause at the end of its stage.
    pub pause_requested: bool,
    /// What happened, as text for a user.
    pub message: String,
}

impl Controller {
    /// Cancels a job. Waiting tasks do not run; running attempts are stopped at their next
    /// heartbeat, and their outcomes are discarded.
    ///
    /// # Errors
    /// There is no such job, it is finished already, or the database failed.
    pub async fn cancel(&self, job_id: &JobId) -> Result<Cancellation, ControllerError> {
        let job = self.job(job_id).await?;
        let cancelled =
            self.0.database.end_early(job_id, JobStatus::Cancelled, "cancelled on request").await?;
        if !cancelled {
            return Err(self.refused(job_id, Change::Cancel).await?);
        }
        tracing::info!(%job_id, "job cancelled");
        let skipped = self.close_stage_of(&job.key()).await?;
        Ok(Cancellation {
            job_id: *job_id,
            status: JobStatus::Cancelled,
            previous_status: job.status,
            tasks_skipped: skipped,
            message: format!(
                "The job was cancelled; {skipped} tasks will not run. Running attempts are stopped at their next \
                 heartbeat, and their outcomes are discarded."
            ),
        })
    }

    /// Continues a job that failed or was cancelled: the tasks that did not succeed in the stage in
    /// which it ended run again. Completed tasks keep their results.
    ///
    /// # Errors
    /// There is no such job, it neither failed nor was cancelled, or the database failed; after a
    /// database failure the same request may be made again.
    pub async fn retry(&self, job_id: &JobId) -> Result<Retry, ControllerError> {
        let job = self.job(job_id).await?;
        if let Some(refusal) = IllegalChange::of(Change::Retry, &job) {
            return Err(refusal.into());
        }
        let key = job.key();
        // No task may be skipped any more while tasks are made ready to run.
        self.close_stage_of(&key).await?;
        let mut tasks_reset = 0;
        let mut after = Some(-1);
        while let Some(last) = after {
            let reopened = self.0.database.reopen_tasks(&key, last, REOPENED_AT_ONCE).await?;
            tasks_reset += reopened.tasks;
            after = reopened.last;
        }
        let mut results: Map<String, Value> =
            serde_json::from_str(job.stage_results.get()).unwrap_or_default();
        results.remove(&key.stage.to_string());
        let deadline = self.time_limit(&job).as_secs_f64();
        let stored = Value::Object(results).to_string();
        let Some(status) = self.0.database.reopen_job(&key, &stored, deadline).await? else {
            return Err(self.refused(job_id, Change::Retry).await?);
        };
        tracing::info!(%job_id, stage = key.stage.get(), tasks_reset, "job retried");
        self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
        // If nothing is left to run again in its stage, the job continues after that stage.
        self.advance(&key).await?;
        Ok(Retry {
            job_id: *job_id,
            status,
            previous_status: job.status,
            stage: key.stage,
            tasks_reset,
            message: format!(
                "The job continues in stage {}; {tasks_reset} tasks run again, completed tasks keep their results.",
                key.stage
            ),
        })
    }

    /// Pauses a job at the end of its stage: running tasks continue, the next stage waits.
    ///
    /// # Errors
    /// There is no such job, it is finished, or the database failed.
    pub async fn pause(&self, job_id: &JobId) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.request_pause(job_id).await? {
            PauseRequest::Paused => "The job is paused before its next stage; resume continues it.",
            PauseRequest::AtStageEnd => {
                "The job will pause at the end of its stage; resume before that withdraws the request."
            }
            PauseRequest::NotOpen => return Err(self.refused(job_id, Change::Pause).await?),
        };
        self.paused(job_id, message).await
    }

    /// Continues a paused job, or withdraws a pause that has not taken effect yet.
    ///
    /// # Errors
    /// There is no such job, no pause was requested, or the database failed.
    pub async fn resume(&self, job_id: &JobId) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.resume_job(job_id).await? {
            ResumeRequest::Resumed => {
                self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
                "The job continues."
            }
            ResumeRequest::PauseWithdrawn => "The job will not pause at the end of its stage.",
            ResumeRequest::NotPaused => return Err(self.refused(job_id, Change::Resume).await?),
        };
        self.paused(job_id, message).await
    }

    /// Skips every open task of a finished job and closes its stage; returns the number of tasks.
    /// Takes no longer than a request may; `reconcile` does the rest. Does nothing to a job that is
    /// not finished.
    pub(super) async fn close_stage_of(&self, key: &StageKey) -> Result<u64, ControllerError> {
        let began = Instant::now();
        let mut skipped = 0;
        let mut after = Some(String::new());
        while let Some(last) = after {
            let some = self.0.database.skip_open_tasks(key, &last, SKIPPED_AT_ONCE).await?;
            skipped += some.count;
            after = some.last.filter(|_| began.elapsed() < LONGEST_REQUEST);
        }
        self.0.database.close_stage(key).await?;
        Ok(skipped)
    }

    /// The time limit of a job.
    pub(super) fn time_limit(&self, job: &JobRecord) -> Duration {
        let parameters: Map<String, Value> =
            serde_json::from_str(job.parameters.get()).unwrap_or_default();
        let own = self
            .0
            .catalog
            .get(&job.job_type)
            .and_then(|definition| definition.time_limit(&parameters).ok().flatten());
        own.unwrap_or(self.0.timing.job_timeout)
    }

    async fn job(&self, job_id: &JobId) -> Result<JobRecord, ControllerError> {
        let unknown = ControllerError::UnknownJob { job_id: *job_id };
        self.0.database.get_job(job_id).await?.ok_or(unknown)
    }

    /// Why a request was rejected, by the job's current state.
    async fn refused(
        &self,
        job_id: &JobId,
        asked: Change,
    ) -> Result<ControllerError, ControllerError> {
        let job = self.job(job_id).await?;
        Ok(match IllegalChange::of(asked, &job) {
            Some(refusal) => refusal.into(),
            // The change was not allowed a moment ago: another request changed the job meanwhile.
            None => ControllerError::ChangedMeanwhile { job_id: *job_id, status: job.status },
        })
    }

    async fn paused(&self, job_id: &JobId, message: &str) -> Result<Pause, ControllerError> {
        let job = self.job(job_id).await?;
        Ok(Pause {
            job_id: *job_id,
            status: job.status,
            paused: job.paused_at.is_some(),
            pause_requested: job.is_pause_requested,
            message: message.to_owned(),
        })
    }
}
