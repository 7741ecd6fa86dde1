//! Control: what a person may do to a job. End it, have what failed repeated, pause it at the end
//! of its stage, let it go on. Only along legal transitions; everything else is refused with the
//! state that the job is in.

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

/// A request answers after this; `reconcile` does the rest.
const LONGEST_REQUEST: Duration = Duration::from_secs(20);

/// What a request to cancel came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Cancellation {
    /// The job.
    pub job_id: JobId,
    /// Where it stands now.
    pub status: JobStatus,
    /// Where it stood before.
    pub previous_status: JobStatus,
    /// Tasks that will not run.
    pub tasks_skipped: u64,
    /// What happened, for people.
    pub message: String,
}

/// What a request to repeat what failed came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Retry {
    /// The job.
    pub job_id: JobId,
    /// Where it stands now.
    pub status: JobStatus,
    /// Where it stood before.
    pub previous_status: JobStatus,
    /// The stage in which it goes on.
    pub stage: Stage,
    /// Tasks that run again.
    pub tasks_reset: u64,
    /// What happened, for people.
    pub message: String,
}

/// What a request to pause or to resume came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Pause {
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// It stands still now.
    pub paused: bool,
    /// It will stand still at the end of its stage.
    pub pause_requested: bool,
    /// What happened, for people.
    pub message: String,
}

impl Controller {
    /// Ends a job. What waits does not run; what runs is stopped at its next heartbeat, and its
    /// outcome does not count.
    ///
    /// # Errors
    /// There is no such job, it is over already, or the database failed.
    pub async fn cancel(&self, job_id: &JobId) -> Result<Cancellation, ControllerError> {
        let job = self.job(job_id).await?;
        let cancelled =
            self.0.database.end_early(job_id, JobStatus::Cancelled, "cancelled on request").await?;
        if !cancelled {
            return Err(self.refused(job_id, Change::Cancel).await?);
        }
        tracing::info!(%job_id, "job cancelled");
        let skipped = self.bring_to_rest(&job.key()).await?;
        Ok(Cancellation {
            job_id: *job_id,
            status: JobStatus::Cancelled,
            previous_status: job.status,
            tasks_skipped: skipped,
            message: format!(
                "The job was cancelled; {skipped} tasks will not run. Attempts under way are stopped at their next \
                 heartbeat, and their outcomes do not count."
            ),
        })
    }

    /// Lets a job that failed or was cancelled go on: of the stage in which it ended, what did not
    /// succeed runs again. What succeeded stays.
    ///
    /// # Errors
    /// There is no such job, it has neither failed nor was it cancelled, or the database failed;
    /// then the same request may be made again.
    pub async fn retry(&self, job_id: &JobId) -> Result<Retry, ControllerError> {
        let job = self.job(job_id).await?;
        if let Some(refusal) = IllegalChange::of(Change::Retry, &job) {
            return Err(refusal.into());
        }
        let key = job.key();
        // Nothing may be skipped any more while tasks are made ready to run.
        self.bring_to_rest(&key).await?;
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
        tracing::info!(%job_id, stage = key.stage.get(), tasks_reset, "job goes on");
        self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
        // A job that failed with nothing left to repeat in its stage goes on after it.
        self.advance(&key).await?;
        Ok(Retry {
            job_id: *job_id,
            status,
            previous_status: job.status,
            stage: key.stage,
            tasks_reset,
            message: format!(
                "The job goes on in stage {}; {tasks_reset} tasks run again, what succeeded stays.",
                key.stage
            ),
        })
    }

    /// Stops a job at the end of its stage: what runs goes on, the next stage waits.
    ///
    /// # Errors
    /// There is no such job, it is over, or the database failed.
    pub async fn pause(&self, job_id: &JobId) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.request_pause(job_id).await? {
            PauseRequest::Paused => {
                "The job stands still before its next stage; resume lets it go on."
            }
            PauseRequest::AtStageEnd => {
                "The job will stand still at the end of its stage; resume before that withdraws it."
            }
            PauseRequest::NotOpen => return Err(self.refused(job_id, Change::Pause).await?),
        };
        self.paused(job_id, message).await
    }

    /// Lets a paused job go on, or withdraws a pause that has not come yet.
    ///
    /// # Errors
    /// There is no such job, it was not to pause, or the database failed.
    pub async fn resume(&self, job_id: &JobId) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.resume_job(job_id).await? {
            ResumeRequest::Resumed => {
                self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
                "The job goes on."
            }
            ResumeRequest::PauseWithdrawn => {
                "The job will not stand still at the end of its stage."
            }
            ResumeRequest::NotPaused => return Err(self.refused(job_id, Change::Resume).await?),
        };
        self.paused(job_id, message).await
    }

    /// Makes every open task of a job that is over skipped, and closes its stage; says how many
    /// tasks. Takes no longer than a request may; `reconcile` does the rest. Does nothing to a job
    /// that is not over.
    pub(super) async fn bring_to_rest(&self, key: &StageKey) -> Result<u64, ControllerError> {
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

    /// How long a job may take.
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

    /// Why what was asked was refused, by the state that the job is in now.
    async fn refused(
        &self,
        job_id: &JobId,
        asked: Change,
    ) -> Result<ControllerError, ControllerError> {
        let job = self.job(job_id).await?;
        Ok(match IllegalChange::of(asked, &job) {
            Some(refusal) => refusal.into(),
            // It was not allowed a moment ago: somebody else changed the job meanwhile.
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
