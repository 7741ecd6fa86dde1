//! Searches of `reconcile`: work in the tables for which no message will arrive any more.

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Counts, Database, DatabaseError, StageKey,
    batches::{UnsentTask, unsent_task},
    jobs::{job_id_of, path_of, stage_of},
};
use crate::model::{JobStatus, ProcessingPath, TaskStatus};

/// A task that needs a message of its own: its attempt died, or it was deferred.
#[derive(Debug, Clone)]
pub struct TaskDue {
    /// Job and stage of the task.
    pub key: StageKey,
    /// Content of its message.
    pub task: UnsentTask,
    pub path: ProcessingPath,
    /// Number of attempts, counted since a user last retried the task.
    pub tries: u16,
}

/// A job past its deadline.
#[derive(Debug, Clone, Copy)]
pub struct OverdueJob {
    /// The job and the stage that it is in.
    pub key: StageKey,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    /// When it should have finished.
    pub deadline: OffsetDateTime,
}

impl Database {
    /// Makes up to `limit` sent batches unsent again, in stages in which nothing was recorded for
    /// `quiet_seconds`; returns how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark_lost_batches_unsent(
        &self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/lost_batches.sql"))
            .bind(quiet_seconds)
            .bind(limit)
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// Takes up to `limit` tasks whose attempt died, for a new message each; they are examined
    /// again after `again_seconds`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take_dead_attempts(
        &self,
        again_seconds: f64,
        limit: i64,
    ) -> Result<Vec<TaskDue>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/dead_attempts.sql"))
            .bind(again_seconds)
            .bind(limit)
            .bind(TaskStatus::sources(TaskStatus::Retrying))
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.iter().map(task_due).collect::<Result<_, _>>()?)
    }

    /// Makes the job message unsent again for each stage that is not planned and whose planner
    /// died, or whose job message was sent `lost_seconds` ago without a planner starting.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark_dead_planners_unsent(&self, lost_seconds: f64) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/dead_planners.sql"))
            .bind(lost_seconds)
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// Stages that ended and were not advanced.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_advance(&self, limit: i64) -> Result<Vec<StageKey>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_to_advance.sql"))
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.iter().map(stage_key).collect::<Result<_, _>>()?)
    }

    /// Open stages of finished jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_close(&self, limit: i64) -> Result<Vec<StageKey>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_to_close.sql"))
            .bind(limit)
            .bind(JobStatus::open())
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.iter().map(stage_key).collect::<Result<_, _>>()?)
    }

    /// Opens closed stages of finished jobs in which a retry that died left open tasks, so that
    /// these are skipped; returns how many. `quiet_seconds`: how long a retry may still be running
    /// without a change in the stage.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn open_partially_reopened(
        &self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/open_partially_reopened.sql"))
            .bind(quiet_seconds)
            .bind(limit)
            .bind(JobStatus::open())
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// Unfinished jobs past their deadline.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn overdue_jobs(&self, limit: i64) -> Result<Vec<OverdueJob>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/overdue_jobs.sql"))
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let jobs = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(OverdueJob {
                key: stage_key(row)?,
                created_at: row.try_get("created_at")?,
                deadline: row.try_get("deadline")?,
            })
        });
        Ok(jobs.collect::<Result<_, _>>()?)
    }

    /// Stages that are planned, have open tasks by their counters, and in which nothing was
    /// recorded for `quiet_seconds`. Each is returned at most once in that time, to one of all
    /// callers.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn silent_stages(
        &self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<Vec<StageKey>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/silent_stages.sql"))
            .bind(quiet_seconds)
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.iter().map(stage_key).collect::<Result<_, _>>()?)
    }

    /// Compares a stage's counters with its tasks, while nobody can record an outcome, and corrects
    /// them. If they differed, returns the counters before and after.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn repair_counters(
        &self,
        key: &StageKey,
    ) -> Result<Option<(Counts, Counts)>, DatabaseError> {
        let stage = i16::from(key.stage.get());
        let mut transaction = self.begin().await?;
        let row = sqlx::query(include_str!("sql/lock_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(stage)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let counters = counts(&row)?;
        // A separate statement, so that it sees everything committed before the lock was taken.
        let row = sqlx::query(include_str!("sql/recount_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(stage)
            .fetch_one(&mut *transaction)
            .await?;
        let recount = counts(&row)?;
        if counters == recount {
            return Ok(None);
        }
        sqlx::query(include_str!("sql/repair_counters.sql"))
            .bind(key.job_id.as_str())
            .bind(stage)
            .bind(recount.total)
            .bind(recount.completed)
            .bind(recount.failed)
            .bind(recount.skipped)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some((counters, recount)))
    }
}

pub(super) fn task_due(row: &PgRow) -> Result<TaskDue, sqlx::Error> {
    Ok(TaskDue {
        key: stage_key(row)?,
        task: unsent_task(row)?,
        path: path_of(row, "processing_path")?,
        tries: u16::try_from(row.try_get::<i32, _>("tries")?).unwrap_or_default(),
    })
}

fn stage_key(row: &PgRow) -> Result<StageKey, sqlx::Error> {
    Ok(StageKey { job_id: job_id_of(row, "job_id")?, stage: stage_of(row, "stage")? })
}

fn counts(row: &PgRow) -> Result<Counts, sqlx::Error> {
    Ok(Counts {
        total: row.try_get("total")?,
        completed: row.try_get("completed")?,
        failed: row.try_get("failed")?,
        skipped: row.try_get("skipped")?,
    })
}
