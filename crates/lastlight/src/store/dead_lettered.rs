//! Tasks and stages whose messages were dead-lettered: they are failed, or get a new message. Every
//! statement checks again the rows that it changes, so that it may run twice, and concurrently with
//! claims and completions.

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    BatchKey, Database, DatabaseError, StageKey,
    batches::{UnsentTask, unsent_task},
    jobs::{corrupt, path_of, without_nul},
};
use crate::model::{JobStatus, ProcessingPath, TaskId, TaskStatus};

/// Number of new messages that were sent in place of undeliverable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeliveries {
    pub count: u8,
    /// When the newest of them was written; an older message was already replaced.
    pub last: Option<OffsetDateTime>,
}

/// The tasks that a dead-lettered message names, in their current state.
#[derive(Debug, Clone)]
pub struct DeadLetteredTasks {
    /// Status of their job.
    pub job_status: JobStatus,
    pub path: ProcessingPath,
    /// Their stage has ended and was not advanced.
    pub stage_ended: bool,
    /// The tasks that exist, in the order of the plan.
    pub tasks: Vec<DeadLetteredTask>,
}

/// A task that a dead-lettered message names.
#[derive(Debug, Clone)]
pub struct DeadLetteredTask {
    pub status: TaskStatus,
    /// Whether an attempt holds it, or a message for it is on its way.
    pub leased: bool,
    /// Whether it is deferred, so that it gets a new message without a redelivery.
    pub deferred: bool,
    /// New messages sent in place of undeliverable ones.
    pub redelivered: Redeliveries,
    /// Content of a new message.
    pub unsent: UnsentTask,
}

/// Result of failing tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailedTasks {
    /// Number of tasks that this call failed.
    pub failed: u64,
    /// Whether the stage has ended with them, so that the caller must advance it.
    pub stage_ended: bool,
}

/// A stage that a dead-lettered job message was to start.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetteredStage {
    /// Whether it needs no job message any more.
    pub planned: bool,
    pub leased: bool,
    /// New messages sent in place of undeliverable ones.
    pub redelivered: Redeliveries,
}

impl Database {
    /// The tasks of one stage that a message names; `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn dead_lettered_tasks(
        &self,
        key: &StageKey,
        tasks: &[TaskId],
    ) -> Result<Option<DeadLetteredTasks>, DatabaseError> {
        let ids: Vec<&str> = tasks.iter().map(TaskId::as_str).collect();
        let rows = sqlx::query(include_str!("sql/dead_lettered_tasks.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(ids)
            .fetch_all(self.pool().await?)
            .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let job_status: &str = first.try_get("job_status")?;
        Ok(Some(DeadLetteredTasks {
            job_status: JobStatus::from_name(job_status)
                .ok_or_else(|| corrupt("job_status", job_status))?,
            path: path_of(first, "processing_path")?,
            stage_ended: first.try_get::<Option<bool>, _>("ended")?.unwrap_or(false),
            tasks: rows
                .iter()
                .filter_map(|row| dead_lettered_task(row).transpose())
                .collect::<Result<_, _>>()?,
        }))
    }

    /// Fails those of `tasks` that no attempt has held since they were read.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn fail_tasks(
        &self,
        key: &StageKey,
        tasks: &[&DeadLetteredTask],
        reason: &str,
    ) -> Result<FailedTasks, DatabaseError> {
        let tasks = in_key_order(tasks);
        let ids: Vec<&str> = tasks.iter().map(|task| task.unsent.task_id.as_str()).collect();
        let attempts: Vec<i32> =
            tasks.iter().map(|task| task.unsent.attempt.cast_signed()).collect();
        let row = sqlx::query(include_str!("sql/fail_tasks.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(ids)
            .bind(attempts)
            .bind(without_nul(reason).as_ref())
            .bind(TaskStatus::sources(TaskStatus::Failed))
            .bind(JobStatus::sources(JobStatus::Failed))
            .fetch_optional(self.pool().await?)
            .await?;
        let failed = row.map(|row| {
            Ok::<_, sqlx::Error>(FailedTasks {
                failed: row.try_get::<i64, _>("failed")?.unsigned_abs(),
                stage_ended: row.try_get("ended")?,
            })
        });
        Ok(failed.transpose()?.unwrap_or_default())
    }

    /// Counts that a new message, written at `written`, was sent for `tasks`: one message for
    /// `batch`, if that is given, otherwise one message per task.
    ///
    /// # Errors
    /// The statement failed; the same message may be sent again.
    pub async fn tasks_redelivered(
        &self,
        key: &StageKey,
        tasks: &[&DeadLetteredTask],
        written: OffsetDateTime,
        batch: Option<&BatchKey>,
    ) -> Result<(), DatabaseError> {
        let tasks = in_key_order(tasks);
        let ids: Vec<&str> = tasks.iter().map(|task| task.unsent.task_id.as_str()).collect();
        let counts: Vec<i16> = tasks.iter().map(|task| i16::from(task.redelivered.count)).collect();
        sqlx::query(include_str!("sql/tasks_redelivered.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(ids)
            .bind(counts)
            .bind(written)
            .bind(batch.map(|batch| batch.batch_no))
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// The stage that a job message names; `None` if it does not exist yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn dead_lettered_stage(
        &self,
        key: &StageKey,
    ) -> Result<Option<DeadLetteredStage>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/dead_lettered_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .fetch_optional(self.pool().await?)
            .await?;
        let stage = row.map(|row| {
            Ok::<_, sqlx::Error>(DeadLetteredStage {
                planned: row.try_get("planned")?,
                leased: row.try_get::<Option<bool>, _>("leased")?.unwrap_or(false),
                redelivered: redelivered(&row)?,
            })
        });
        Ok(stage.transpose()?)
    }

    /// Makes the stage's job message unsent again and counts that. Returns the number of the send
    /// that the caller is to make, or `None` if the message is unsent already, another caller was
    /// faster, or no message is needed any more. `grace_seconds`: how long only the caller may send
    /// it.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn stage_redelivered(
        &self,
        key: &StageKey,
        redelivered: Redeliveries,
        at: OffsetDateTime,
        grace_seconds: f64,
    ) -> Result<Option<u32>, DatabaseError> {
        let sends: Option<i32> = sqlx::query_scalar(include_str!("sql/stage_redelivered.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(i32::from(redelivered.count))
            .bind(at)
            .bind(grace_seconds)
            .bind(JobStatus::sources(JobStatus::Failed))
            .fetch_optional(self.pool().await?)
            .await?;
        Ok(sends.map(i32::unsigned_abs))
    }

    /// Fails a job whose stage is not planned and has no planner; `false` if the job is finished,
    /// paused or in another stage, or if the stage is planned or being planned. Its open tasks are
    /// skipped afterwards.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn fail_unplanned_job(
        &self,
        key: &StageKey,
        reason: &str,
    ) -> Result<bool, DatabaseError> {
        Ok(sqlx::query_scalar(include_str!("sql/fail_unplanned_job.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(without_nul(reason).as_ref())
            .bind(JobStatus::sources(JobStatus::Failed))
            .fetch_one(self.pool().await?)
            .await?)
    }
}

/// Sorts tasks by key, so that two callers that change the same tasks lock them in the same order.
fn in_key_order<'a>(tasks: &[&'a DeadLetteredTask]) -> Vec<&'a DeadLetteredTask> {
    let mut tasks = tasks.to_vec();
    tasks.sort_by(|one, other| one.unsent.task_id.cmp(&other.unsent.task_id));
    tasks
}

/// `None` if the row is that of a job that has none of the tasks.
fn dead_lettered_task(row: &PgRow) -> Result<Option<DeadLetteredTask>, sqlx::Error> {
    let Some(status) = row.try_get::<Option<&str>, _>("task_status")? else {
        return Ok(None);
    };
    Ok(Some(DeadLetteredTask {
        status: TaskStatus::from_name(status).ok_or_else(|| corrupt("task_status", status))?,
        leased: row.try_get::<Option<bool>, _>("leased")?.unwrap_or(false),
        deferred: row.try_get::<Option<bool>, _>("deferred")?.unwrap_or(false),
        redelivered: redelivered(row)?,
        unsent: unsent_task(row)?,
    }))
}

fn redelivered(row: &PgRow) -> Result<Redeliveries, sqlx::Error> {
    let count = row.try_get::<Option<i16>, _>("poisoned")?.unwrap_or_default();
    Ok(Redeliveries {
        count: u8::try_from(count).map_err(|_| corrupt("poisoned", count))?,
        last: row.try_get("poisoned_at")?,
    })
}
