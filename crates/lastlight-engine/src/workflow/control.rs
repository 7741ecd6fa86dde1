//! Control: what an operator may do to a job: cancel it, retry what failed, pause it at the end of
//! its stage, and resume it. Only legal transitions are made; any other request is rejected with
//! the job's current state.

use std::time::{Duration, Instant};

use lastlight_api::control::{Cancellation, Pause, Retry};
use serde_json::{Map, Value};

use super::{Change, Controller, ControllerError, IllegalChange, ReconcileReport};
use crate::{
    model::{JobId, JobStatus, StageKind, UserRequest},
    store::{GraphStage, JobRecord, PauseRequest, ResumeRequest, StageKey},
};

/// Tasks skipped by one transaction.
const SKIPPED_AT_ONCE: i64 = 5000;

/// Batches reopened by one transaction.
const REOPENED_AT_ONCE: i64 = 50;

/// A request returns after this time; `reconcile` does the rest.
pub(super) const LONGEST_REQUEST: Duration = Duration::from_secs(20);

impl Controller {
    /// Cancels a job. Waiting tasks do not run; running attempts are stopped at their next
    /// heartbeat, and their outcomes are discarded.
    ///
    /// # Errors
    /// There is no such job, it is finished already, or the database failed.
    pub async fn cancel(
        &self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<Cancellation, ControllerError> {
        let job = self.job(job_id).await?;
        let status = self
            .0
            .database
            .jobs()
            .end_early(job_id, JobStatus::Cancelled, "cancelled on request", request)
            .await?;
        let Some(status) = status else {
            return Err(self.refused(job_id, Change::Cancel).await?);
        };
        tracing::info!(%job_id, %status, "job cancelled");
        let skipped = self.ended_early(&job).await?;
        Ok(Cancellation {
            job_id: *job_id,
            status,
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
    pub async fn retry(
        &self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<Retry, ControllerError> {
        let job = self.job(job_id).await?;
        if job.is_purging == Some(true) {
            return Err(ControllerError::BeingDeleted { job_id: *job_id });
        }
        if let Some(refusal) = IllegalChange::of(Change::Retry, &job) {
            return Err(refusal.into());
        }
        if job.is_graph() {
            return self.retry_graph(&job, request).await;
        }
        let key = job.key();
        // No task may be skipped any more while tasks are made ready to run.
        self.close_stage_of(&key, false).await?;
        let tasks_reset = self.reopen_tasks(&key).await?;
        let mut results: Map<String, Value> =
            serde_json::from_str(job.stage_results.get()).unwrap_or_default();
        results.remove(&key.stage.to_string());
        let deadline = self.time_limit(&job).await.as_secs_f64();
        let stored = Value::Object(results).to_string();
        let jobs = self.0.database.jobs();
        let Some(status) = jobs.reopen(&key, &stored, deadline, request).await? else {
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

    /// Retries a job whose stages form a graph: what failed or had not ended runs again, and what
    /// was skipped because of it waits again.
    async fn retry_graph(
        &self,
        job: &JobRecord,
        request: &UserRequest,
    ) -> Result<Retry, ControllerError> {
        let job_id = &job.job_id;
        let in_job = |stage| StageKey { job_id: *job_id, stage };
        self.close_stages_of(job).await?;
        let stages = self.0.database.stages().of_graph(job_id).await?;
        let runs_again: Vec<&GraphStage> =
            stages.iter().filter(|stage| stage.runs_again()).collect();
        let mut tasks_reset = 0;
        for stage in runs_again.iter().filter(|stage| stage.kind == StageKind::Tasks) {
            tasks_reset += self.reopen_tasks(&in_job(stage.stage)).await?;
        }
        let deadline = self.time_limit(job).await.as_secs_f64();
        if !self.0.database.stages().reopen_graph(job_id, deadline, request).await? {
            return Err(self.refused(job_id, Change::Retry).await?);
        }
        tracing::info!(%job_id, stages = runs_again.len(), tasks_reset, "job retried");
        self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
        self.submit_children(Some(job_id)).await?;
        // A stage in which nothing is left to run again has ended.
        for stage in &stages {
            self.advance(&in_job(stage.stage)).await?;
        }
        let names: Vec<&str> = runs_again.iter().map(|stage| stage.name.as_str()).collect();
        let again = self.job(job_id).await?;
        Ok(Retry {
            job_id: *job_id,
            status: again.status,
            previous_status: job.status,
            stage: runs_again.first().map_or(job.stage, |stage| stage.stage),
            tasks_reset,
            message: format!(
                "The job continues with {}; {tasks_reset} tasks run again, completed tasks keep their results.",
                names.join(", ")
            ),
        })
    }

    /// Makes the tasks of a closed stage ready that did not succeed; returns their number.
    async fn reopen_tasks(&self, key: &StageKey) -> Result<u64, ControllerError> {
        let mut reset = 0;
        let mut after = Some(-1);
        while let Some(last) = after {
            let reopened = self.0.database.tasks().reopen(key, last, REOPENED_AT_ONCE).await?;
            reset += reopened.tasks;
            after = reopened.last;
        }
        Ok(reset)
    }

    /// Pauses a job at the end of its stage: running tasks continue, the next stage waits.
    ///
    /// # Errors
    /// There is no such job, it is finished, or the database failed.
    pub async fn pause(
        &self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.jobs().request_pause(job_id, request).await? {
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
    pub async fn resume(
        &self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<Pause, ControllerError> {
        self.job(job_id).await?;
        let message = match self.0.database.jobs().resume(job_id, request).await? {
            ResumeRequest::Resumed => {
                self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
                self.submit_children(Some(job_id)).await?;
                "The job continues."
            }
            ResumeRequest::PauseWithdrawn => "The job will not pause at the end of its stage.",
            ResumeRequest::NotPaused => return Err(self.refused(job_id, Change::Resume).await?),
        };
        self.paused(job_id, message).await
    }

    /// What follows the end of a job before its stages have ended: its open tasks are skipped, its
    /// stages closed, and its last stage runs if it is to run all the same. Returns the number of
    /// skipped tasks. `reconcile` does what this leaves.
    pub(super) async fn ended_early(&self, job: &JobRecord) -> Result<u64, ControllerError> {
        self.notify_soon();
        let skipped = self.close_stages_of(job).await?;
        if job.is_graph() && self.finalize(&job.job_id).await? {
            self.send_unsent_job_messages(&mut ReconcileReport::default()).await?;
        }
        if job.is_child == Some(true) {
            self.child_ended(&job.job_id).await?;
        }
        Ok(skipped)
    }

    /// Starts the last stage of a job that ended before it, once all of its stages are closed, if
    /// that stage is to run all the same.
    pub(super) async fn finalize(&self, job_id: &JobId) -> Result<bool, ControllerError> {
        let job = self.job(job_id).await?;
        let limit = self.time_limit(&job).await.as_secs_f64();
        let starts = self.0.database.stages().finalize(job_id, limit).await?;
        if starts {
            tracing::info!(%job_id, ended = %job.status, "the last stage of a job that ended before it starts");
        }
        Ok(starts)
    }

    /// Skips every open task of a finished job and closes its stages: in a graph several may be
    /// open.
    async fn close_stages_of(&self, job: &JobRecord) -> Result<u64, ControllerError> {
        if !job.is_graph() {
            return self.close_stage_of(&job.key(), false).await;
        }
        let mut skipped = 0;
        for stage in self.0.database.stages().of_graph(&job.job_id).await? {
            if !stage.is_closed {
                let key = StageKey { job_id: job.job_id, stage: stage.stage };
                skipped += self.close_stage_of(&key, stage.child_job_id.is_some()).await?;
            }
        }
        Ok(skipped)
    }

    /// Skips every open task of a finished job, cancels the job for which its stage waits, and
    /// closes the stage; returns the number of tasks. Takes no longer than a request may;
    /// `reconcile` does the rest. Does nothing to a job that is not finished.
    pub(super) async fn close_stage_of(
        &self,
        key: &StageKey,
        has_child: bool,
    ) -> Result<u64, ControllerError> {
        let began = Instant::now();
        let mut skipped = 0;
        let mut after = Some(String::new());
        while let Some(last) = after {
            let some = self.0.database.tasks().skip_open(key, &last, SKIPPED_AT_ONCE).await?;
            skipped += some.count;
            after = some.last.filter(|_| began.elapsed() < LONGEST_REQUEST);
        }
        // Before the stage is closed, so that the sweep finds it if this process dies.
        if has_child {
            self.cancel_children(&key.job_id).await?;
        }
        self.0.database.stages().close(key).await?;
        Ok(skipped)
    }

    /// The time limit of a job.
    pub(super) async fn time_limit(&self, job: &JobRecord) -> Duration {
        let parameters: Map<String, Value> =
            serde_json::from_str(job.parameters.get()).unwrap_or_default();
        let definition = self.job_type_by(&job.job_type, job.definition_id.as_deref()).await;
        let own = definition
            .ok()
            .and_then(|definition| definition.time_limit(&parameters).ok().flatten());
        own.unwrap_or(self.0.timing.job_timeout)
    }

    pub(super) async fn job(&self, job_id: &JobId) -> Result<JobRecord, ControllerError> {
        let unknown = ControllerError::UnknownJob { job_id: *job_id };
        self.0.database.jobs().get(job_id).await?.ok_or(unknown)
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
