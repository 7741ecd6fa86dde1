//! What a person may do to a job: end it, have what failed repeated, pause it, let it go on. And
//! how a job that is over, for whatever reason, is brought to rest: none of its tasks stays open.

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

/// One step of a walk through a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedTasks {
    /// How many tasks will not run.
    pub count: u64,
    /// Where the next step goes on; `None` when there is none.
    pub last: Option<String>,
}

/// One step of a walk through a stage's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReopenedTasks {
    /// How many tasks are to run again.
    pub tasks: u64,
    /// Where the next step goes on; `None` when there is none.
    pub last: Option<i32>,
}

/// What a request to pause came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseRequest {
    /// The job stands still.
    Paused,
    /// It will at the end of its stage.
    AtStageEnd,
    /// It is over, or there is none.
    NotOpen,
}

/// What a request to resume came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeRequest {
    /// The job stood still and goes on; its job message is owed.
    Resumed,
    /// It will not pause at the end of its stage.
    PauseWithdrawn,
    /// It is over, was not to pause, or there is none.
    NotPaused,
}

impl Database {
    /// Ends a job with a reason before its stages are over, as failed or cancelled; `false` if that
    /// is not legal. Its open tasks are skipped afterwards.
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

    /// Fails a job because its stage cannot be planned; `false`, and nothing changed, if that is
    /// not `owner`'s to say any more: another planner holds the lease, or the job is over.
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

    /// Skips up to `limit` open tasks after the id `after` ("" at first) of an open stage whose job
    /// is over. Does nothing if it is not.
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

    /// Closes a stage of a job that is over, if none of its tasks is open; says whether this call
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

    /// Makes what did not succeed in the next `limit` batches after `after` (-1 at first) ready to
    /// run again. The job is over and stays so until [`Database::reopen_job`], so nothing of it
    /// runs yet, and a walk that was cut off may begin anew.
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

    /// Lets a job that is over go on in the stage in which it ended; its new state, or `None` if
    /// that is not legal, or something in the stage is not ready to run again.
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

    /// Asks a job to stop at the end of its stage.
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

    /// Lets a job go on that was to pause.
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
