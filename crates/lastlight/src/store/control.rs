//! Control of jobs by users: cancel, retry, pause, resume. And closing the stages of a finished
//! job, so that none of its tasks stays open.

use sqlx::{PgExecutor, Row};
use uuid::Uuid;

use super::{
    Database, DatabaseError, StageKey,
    jobs::{corrupt, without_nul},
};
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, TaskStatus},
};

/// Result of one step of skipping a stage's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedTasks {
    /// Number of tasks that were skipped.
    pub count: u64,
    /// Id after which the next step continues; `None` after the last step.
    pub last: Option<String>,
}

/// Result of one step of reopening a stage's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReopenedTasks {
    /// Number of tasks that are to run again.
    pub tasks: u64,
    /// Batch after which the next step continues; `None` after the last step.
    pub last: Option<i32>,
}

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

impl Database {
    /// Ends a job with a reason before its stages have ended, as failed or cancelled; `false` if
    /// that is not legal. Its open tasks are skipped afterwards.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn end_early(
        &self,
        job_id: &JobId,
        status: JobStatus,
        reason: &str,
    ) -> Result<bool, DatabaseError> {
        failpoint!("end_early.before_commit", Err(DatabaseError::lost()));
        let ended = end_early(self.pool().await?, job_id, status, reason).await?;
        failpoint!("end_early.after_commit", Err(DatabaseError::lost()));
        Ok(ended)
    }

    /// Fails a job because its stage cannot be planned; `false`, and nothing changed, if `owner`
    /// has lost the lease to another planner, or the job is finished.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn fail_plan(
        &self,
        key: &StageKey,
        owner: Uuid,
        reason: &str,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.begin().await?;
        let released = sqlx::query(include_str!("sql/release_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .execute(&mut *transaction)
            .await?;
        if released.rows_affected() == 0 {
            return Ok(false);
        }
        let failed = end_early(&mut *transaction, &key.job_id, JobStatus::Failed, reason).await?;
        failpoint!("fail_plan.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("fail_plan.after_commit", Err(DatabaseError::lost()));
        Ok(failed)
    }

    /// Skips up to `limit` open tasks after the id `after` ("" in the first step) of an open stage
    /// of a finished job. Does nothing if the job is not finished.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn skip_open_tasks(
        &self,
        key: &StageKey,
        after: &str,
        limit: i64,
    ) -> Result<SkippedTasks, DatabaseError> {
        let mut transaction = self.begin().await?;
        let over: Option<String> = sqlx::query_scalar(include_str!("sql/finished_job.sql"))
            .bind(key.job_id.as_str())
            .bind(JobStatus::open())
            .fetch_optional(&mut *transaction)
            .await?;
        if over.is_none() {
            return Ok(SkippedTasks { count: 0, last: None });
        }
        let row = sqlx::query(include_str!("sql/skip_open_tasks.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(after)
            .bind(limit)
            .bind(TaskStatus::sources(TaskStatus::Skipped))
            .fetch_one(&mut *transaction)
            .await?;
        let skipped = SkippedTasks {
            count: row.try_get::<i64, _>("skipped")?.unsigned_abs(),
            last: row.try_get("last")?,
        };
        failpoint!("skip.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("skip.after_commit", Err(DatabaseError::lost()));
        Ok(skipped)
    }

    /// Closes a stage of a finished job, if none of its tasks is open; returns whether this call
    /// did.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn close_stage(&self, key: &StageKey) -> Result<bool, DatabaseError> {
        let closed = sqlx::query(include_str!("sql/close_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(JobStatus::open())
            .execute(self.pool().await?)
            .await?;
        Ok(closed.rows_affected() == 1)
    }

    /// Makes the tasks that did not succeed in the next `limit` batches after `after` (-1 in the
    /// first step) ready to run again. The job stays finished until [`Database::reopen_job`], so
    /// none of its tasks runs yet, and an interrupted sequence of steps may start from the
    /// beginning.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn reopen_tasks(
        &self,
        key: &StageKey,
        after: i32,
        limit: i64,
    ) -> Result<ReopenedTasks, DatabaseError> {
        failpoint!("reopen_tasks.before_commit", Err(DatabaseError::lost()));
        let row = sqlx::query(include_str!("sql/reopen_tasks.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(after)
            .bind(limit)
            .bind(TaskStatus::reopenable())
            .bind(JobStatus::reopenable())
            .fetch_one(self.pool().await?)
            .await?;
        failpoint!("reopen_tasks.after_commit", Err(DatabaseError::lost()));
        let is_last = row.try_get::<i64, _>("batches")? < limit;
        Ok(ReopenedTasks {
            tasks: row.try_get::<i64, _>("tasks")?.unsigned_abs(),
            last: row.try_get::<Option<i32>, _>("last")?.filter(|_| !is_last),
        })
    }

    /// Reopens a finished job in the stage in which it ended; returns its new status, or `None` if
    /// that is not legal, or a task of the stage is not ready to run again.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn reopen_job(
        &self,
        key: &StageKey,
        stage_results: &str,
        deadline_seconds: f64,
    ) -> Result<Option<JobStatus>, DatabaseError> {
        let mut transaction = self.begin().await?;
        let status: Option<String> = sqlx::query_scalar(include_str!("sql/reopen_job.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(stage_results)
            .bind(deadline_seconds)
            .bind(JobStatus::reopenable())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(status) = status else {
            return Ok(None);
        };
        let status = JobStatus::from_name(&status).ok_or_else(|| corrupt("status", status))?;
        failpoint!("reopen_job.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("reopen_job.after_commit", Err(DatabaseError::lost()));
        Ok(Some(status))
    }

    /// Requests that a job pauses at the end of its stage.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn request_pause(&self, job_id: &JobId) -> Result<PauseRequest, DatabaseError> {
        let paused: Option<bool> = sqlx::query_scalar(include_str!("sql/request_pause.sql"))
            .bind(job_id.as_str())
            .bind(JobStatus::open())
            .fetch_optional(self.pool().await?)
            .await?;
        Ok(match paused {
            Some(true) => PauseRequest::Paused,
            Some(false) => PauseRequest::AtStageEnd,
            None => PauseRequest::NotOpen,
        })
    }

    /// Resumes a job that is paused or was to pause.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn resume_job(&self, job_id: &JobId) -> Result<ResumeRequest, DatabaseError> {
        let was_paused: Option<bool> = sqlx::query_scalar(include_str!("sql/resume_job.sql"))
            .bind(job_id.as_str())
            .bind(JobStatus::open())
            .fetch_optional(self.pool().await?)
            .await?;
        Ok(match was_paused {
            Some(true) => ResumeRequest::Resumed,
            Some(false) => ResumeRequest::PauseWithdrawn,
            None => ResumeRequest::NotPaused,
        })
    }
}

async fn end_early(
    executor: impl PgExecutor<'_>,
    job_id: &JobId,
    status: JobStatus,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/end_early.sql"))
        .bind(job_id.as_str())
        .bind(without_nul(reason).as_ref())
        .bind(status.as_str())
        .bind(JobStatus::sources(status))
        .fetch_one(executor)
        .await
}
