//! Tasks of finished jobs, step by step: skipping those that are open, and reopening those that did
//! not succeed.

use super::Tasks;
use crate::{
    failpoint::failpoint,
    model::{JobStatus, TaskStatus},
    store::{connection::DatabaseError, rows::StageKey},
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

impl Tasks<'_> {
    /// Skips up to `limit` open tasks after the id `after` ("" in the first step) of an open stage
    /// of a finished job. Does nothing if the job is not finished.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn skip_open(
        self,
        key: &StageKey,
        after: &str,
        limit: i64,
    ) -> Result<SkippedTasks, DatabaseError> {
        let mut transaction = self.0.begin().await?;
        let finished = sqlx::query_file!(
            "src/store/sql/finished_job.sql",
            key.job_id.as_str(),
            JobStatus::open() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if finished.is_none() {
            return Ok(SkippedTasks { count: 0, last: None });
        }
        if after.is_empty() {
            // Before the tasks: a claim locks a batch, and then its tasks.
            sqlx::query_file!(
                "src/store/sql/end_batches.sql",
                key.job_id.as_str(),
                key.stage.number(),
            )
            .execute(&mut *transaction)
            .await?;
        }
        let skipped = sqlx::query_file!(
            "src/store/sql/skip_open_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            after,
            limit,
            TaskStatus::sources(TaskStatus::Skipped) as _,
        )
        .map(|row| SkippedTasks { count: row.skipped.unsigned_abs(), last: row.last })
        .fetch_one(&mut *transaction)
        .await?;
        failpoint!("skip.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("skip.after_commit", Err(DatabaseError::lost()));
        Ok(skipped)
    }

    /// Makes the tasks that did not succeed in the next `limit` batches after `after` (-1 in the
    /// first step) ready to run again. The job stays finished until [`Jobs::reopen`](crate::store::Jobs::reopen), so
    /// none of its tasks runs yet, and an interrupted sequence of steps may start from the
    /// beginning.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn reopen(
        self,
        key: &StageKey,
        after: i32,
        limit: i64,
    ) -> Result<ReopenedTasks, DatabaseError> {
        failpoint!("reopen_tasks.before_commit", Err(DatabaseError::lost()));
        let reopened = sqlx::query_file!(
            "src/store/sql/reopen_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            after,
            limit,
            TaskStatus::reopenable() as _,
            JobStatus::reopenable() as _,
        )
        .map(|row| ReopenedTasks {
            tasks: row.tasks.unsigned_abs(),
            last: row.last.filter(|_| row.batches >= limit),
        })
        .fetch_one(self.0.pool().await?)
        .await?;
        failpoint!("reopen_tasks.after_commit", Err(DatabaseError::lost()));
        Ok(reopened)
    }
}
