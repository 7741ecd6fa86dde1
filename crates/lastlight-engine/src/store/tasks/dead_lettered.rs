//! Tasks whose messages were dead-lettered: they are failed, or get a new message. Every statement
//! checks again the rows that it changes, so that it may run twice, and concurrently with claims and
//! completions.

use time::OffsetDateTime;

use super::Tasks;
use crate::{
    model::{JobStatus, ProcessingPath, TaskId, TaskStatus},
    store::{
        connection::DatabaseError,
        rows::{
            BatchKey, Redeliveries, StageKey, StoredTrace, UnsentTask, redelivered, unsent_task,
            without_nul,
        },
    },
};

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

impl Tasks<'_> {
    /// The tasks of one stage that a message names; `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn dead_lettered(
        self,
        key: &StageKey,
        tasks: &[TaskId],
    ) -> Result<Option<DeadLetteredTasks>, DatabaseError> {
        let ids: Vec<&str> = tasks.iter().map(TaskId::as_str).collect();
        let rows = sqlx::query_file!(
            "src/store/sql/dead_lettered_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            &ids as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let (job_status, path, ended) = (first.job_status, first.path, first.ended);
        // A job that has none of the tasks has a row, too.
        let tasks = rows.into_iter().filter_map(|row| {
            let status = row.task_status?;
            let (leased, deferred) = (row.leased.unwrap_or(false), row.deferred.unwrap_or(false));
            let redelivered = redelivered(row.poisoned, row.poisoned_at);
            let unsent = unsent_task!(row?);
            Some(redelivered.map(|redelivered| DeadLetteredTask {
                status,
                leased,
                deferred,
                redelivered,
                unsent,
            }))
        });
        Ok(Some(DeadLetteredTasks {
            job_status,
            path,
            stage_ended: ended.unwrap_or(false),
            tasks: tasks.collect::<Result<_, _>>()?,
        }))
    }

    /// Fails those of `tasks` that no attempt has held since they were read.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn fail(
        self,
        key: &StageKey,
        tasks: &[&DeadLetteredTask],
        reason: &str,
    ) -> Result<FailedTasks, DatabaseError> {
        let tasks = in_key_order(tasks);
        let ids: Vec<&str> = tasks.iter().map(|task| task.unsent.task_id.as_str()).collect();
        let attempts: Vec<i32> =
            tasks.iter().map(|task| task.unsent.attempt.cast_signed()).collect();
        let failed = sqlx::query_file!(
            "src/store/sql/fail_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            &ids as _,
            &attempts,
            without_nul(reason) as _,
            &TaskStatus::sources(TaskStatus::Failed) as _,
            &JobStatus::sources(JobStatus::Failed) as _,
        )
        .map(|row| FailedTasks { failed: row.failed.unsigned_abs(), stage_ended: row.ended });
        Ok(failed.fetch_optional(self.0.pool().await?).await?.unwrap_or_default())
    }

    /// Counts that a new message, written at `written`, was sent for `tasks`: one message for
    /// `batch`, if that is given, otherwise one message per task.
    ///
    /// # Errors
    /// The statement failed; the same message may be sent again.
    pub async fn redelivered(
        self,
        key: &StageKey,
        tasks: &[&DeadLetteredTask],
        written: OffsetDateTime,
        batch: Option<&BatchKey>,
    ) -> Result<(), DatabaseError> {
        let tasks = in_key_order(tasks);
        let ids: Vec<&str> = tasks.iter().map(|task| task.unsent.task_id.as_str()).collect();
        let counts: Vec<i16> = tasks.iter().map(|task| i16::from(task.redelivered.count)).collect();
        sqlx::query_file!(
            "src/store/sql/tasks_redelivered.sql",
            key.job_id.as_str(),
            key.stage.number(),
            &ids as _,
            &counts,
            written,
            batch.map(|batch| batch.batch_no),
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }
}

/// Sorts tasks by key, so that two callers that change the same tasks lock them in the same order.
fn in_key_order<'a>(tasks: &[&'a DeadLetteredTask]) -> Vec<&'a DeadLetteredTask> {
    let mut tasks = tasks.to_vec();
    tasks.sort_by(|one, other| one.unsent.task_id.cmp(&other.unsent.task_id));
    tasks
}
