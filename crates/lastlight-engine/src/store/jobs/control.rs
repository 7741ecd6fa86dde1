//! Control of jobs by users: cancel, retry, pause, resume. And failing jobs before their stages have
//! ended.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::Jobs;
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, UserRequest},
    store::{
        connection::DatabaseError,
        rows::{StageKey, without_nul},
    },
};

/// Result of a request to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseRequest {
    /// The job is paused.
    Paused,
    /// The job will pause at the end of its stage.
    AtStageEnd,
    /// The job is finished or does not exist.
    NotOpen,
}

/// Result of a request to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeRequest {
    /// The job was paused and continues; its job message is unsent.
    Resumed,
    /// The job will not pause at the end of its stage.
    PauseWithdrawn,
    /// The job is finished, was not to pause, or does not exist.
    NotPaused,
}

impl Jobs<'_> {
    /// Ends a job with a reason before its stages have ended, as failed or cancelled; `None` if that
    /// is not legal. Its open tasks are skipped afterwards. Returns how it ended: a job whose last
    /// stage ran after its end ends as before.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn end_early(
        self,
        job_id: &JobId,
        status: JobStatus,
        reason: &str,
        request: &UserRequest,
    ) -> Result<Option<JobStatus>, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let ended = end_early(&mut *transaction, job_id, status, reason).await?;
        failpoint!("end_early.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("end_early.after_commit", Err(DatabaseError::lost()));
        Ok(ended)
    }

    /// Fails a job because its stage cannot be planned; `false`, and nothing changed, if `owner`
    /// has lost the lease to another planner, or the job is finished.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn fail_plan(
        self,
        key: &StageKey,
        owner: Uuid,
        reason: &str,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.0.begin().await?;
        let released = sqlx::query_file!(
            "src/store/sql/release_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
        )
        .execute(&mut *transaction)
        .await?;
        if released.rows_affected() == 0 {
            return Ok(false);
        }
        let failed = end_early(&mut *transaction, &key.job_id, JobStatus::Failed, reason).await?;
        failpoint!("fail_plan.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("fail_plan.after_commit", Err(DatabaseError::lost()));
        Ok(failed.is_some())
    }

    /// Reopens a finished job in the stage in which it ended; returns its new status, or `None` if
    /// that is not legal, or a task of the stage is not ready to run again.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn reopen(
        self,
        key: &StageKey,
        stage_results: &str,
        deadline_seconds: f64,
        request: &UserRequest,
    ) -> Result<Option<JobStatus>, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let status = sqlx::query_file_scalar!(
            "src/store/sql/reopen_job.sql",
            key.job_id.as_str(),
            key.stage.number(),
            stage_results as _,
            deadline_seconds,
            JobStatus::reopenable() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if status.is_none() {
            return Ok(None);
        }
        failpoint!("reopen_job.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("reopen_job.after_commit", Err(DatabaseError::lost()));
        Ok(status)
    }

    /// Requests that a job pauses at the end of its stage.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn request_pause(
        self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<PauseRequest, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let is_paused = sqlx::query_file_scalar!(
            "src/store/sql/request_pause.sql",
            job_id.as_str(),
            JobStatus::open() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(match is_paused {
            Some(true) => PauseRequest::Paused,
            Some(false) => PauseRequest::AtStageEnd,
            None => PauseRequest::NotOpen,
        })
    }

    /// Resumes a job that is paused or was to pause.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn resume(
        self,
        job_id: &JobId,
        request: &UserRequest,
    ) -> Result<ResumeRequest, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let was_paused = sqlx::query_file_scalar!(
            "src/store/sql/resume_job.sql",
            job_id.as_str(),
            JobStatus::open() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(match was_paused {
            Some(true) => ResumeRequest::Resumed,
            Some(false) => ResumeRequest::PauseWithdrawn,
            None => ResumeRequest::NotPaused,
        })
    }

    /// Fails a job whose stage is not planned and has no planner; `false` if the job is finished,
    /// paused or in another stage, or if the stage is planned or being planned. Its open tasks are
    /// skipped afterwards.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn fail_unplanned(self, key: &StageKey, reason: &str) -> Result<bool, DatabaseError> {
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/fail_unplanned_job.sql",
            key.job_id.as_str(),
            key.stage.number(),
            without_nul(reason) as _,
            &JobStatus::sources(JobStatus::Failed) as _,
        )
        .fetch_one(self.0.pool().await?)
        .await?)
    }
}

async fn end_early(
    executor: impl PgExecutor<'_>,
    job_id: &JobId,
    status: JobStatus,
    reason: &str,
) -> Result<Option<JobStatus>, sqlx::Error> {
    sqlx::query_file_scalar!(
        "src/store/sql/end_early.sql",
        job_id.as_str(),
        &*without_nul(reason),
        status.as_str(),
        JobStatus::sources(status) as _,
    )
    .fetch_optional(executor)
    .await
}
