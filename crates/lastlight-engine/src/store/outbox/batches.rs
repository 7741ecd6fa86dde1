//! Batches of tasks as outbox entries: unsent until their messages are sent.

use super::Outbox;
use crate::{
    failpoint::failpoint,
    model::{ProcessingPath, TaskId, TasksPerMessage},
    store::{
        connection::DatabaseError,
        rows::{BatchKey, StageKey, StoredTrace, UnsentTask, corrupt, unsent_task, without_nul},
    },
};

/// A batch whose messages are due.
#[derive(Debug, Clone, Copy)]
pub struct UnsentBatch {
    pub key: BatchKey,
    pub path: ProcessingPath,
    /// Number of tasks per message: one message per task, or one for all.
    pub tasks_per_message: TasksPerMessage,
    pub sends: u32,
}

impl Outbox<'_> {
    /// Marks batches as sent, with `messages_each` messages: their tasks count as queued.
    ///
    /// # Errors
    /// The statement failed; the batches stay unsent and are sent again.
    pub async fn batch_update_status(
        self,
        sent: &[BatchKey],
        messages_each: u32,
    ) -> Result<(), DatabaseError> {
        failpoint!("batch_sent.before_commit", Err(DatabaseError::lost()));
        let (jobs, stages, numbers) = columns(sent);
        sqlx::query_file!(
            "src/store/sql/batch_update_status.sql",
            &jobs as _,
            &stages,
            &numbers,
            messages_each.cast_signed(),
        )
        .execute(self.0.pool().await?)
        .await?;
        failpoint!("batch_sent.after_commit", Err(DatabaseError::lost()));
        Ok(())
    }

    /// Records why batches are still unsent.
    ///
    /// # Errors
    /// The statement failed; only the reason is lost.
    pub async fn batch_failed(
        self,
        failed: &[BatchKey],
        reason: &str,
    ) -> Result<(), DatabaseError> {
        let (jobs, stages, numbers) = columns(failed);
        sqlx::query_file!(
            "src/store/sql/batch_failed.sql",
            &jobs as _,
            &stages,
            &numbers,
            without_nul(reason) as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Takes up to `limit` unsent batches that are due, and postpones each by `put_off_seconds`, so
    /// that two callers never take the same one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_pending_retry_batches(
        self,
        put_off_seconds: f64,
        limit: i64,
    ) -> Result<Vec<UnsentBatch>, DatabaseError> {
        let batches = sqlx::query_file!(
            "src/store/sql/get_pending_retry_batches.sql",
            put_off_seconds,
            limit,
        )
        .try_map(|row| {
            let tasks = row.tasks_per_message;
            Ok(UnsentBatch {
                key: BatchKey { job_id: row.job_id, stage: row.stage, batch_no: row.batch_no },
                path: row.path,
                tasks_per_message: TasksPerMessage::try_from(u64::from(tasks.unsigned_abs()))
                    .map_err(|_| corrupt("tasks_per_message", tasks))?,
                sends: row.sends.unsigned_abs(),
            })
        });
        Ok(batches.fetch_all(self.0.pool().await?).await?)
    }

    /// The tasks of batches, in the order of the plan, in any state; `None` for a batch that does
    /// not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn task_ids_of_batches(
        self,
        batches: &[BatchKey],
    ) -> Result<Vec<Option<Vec<TaskId>>>, DatabaseError> {
        let (jobs, stages, numbers) = columns(batches);
        let rows = sqlx::query_file!(
            "src/store/sql/task_ids_of_batches.sql",
            &jobs as _,
            &stages,
            &numbers,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let mut found = vec![None; batches.len()];
        for row in rows {
            let place = usize::try_from(row.place - 1).ok();
            if let Some(slot) = place.and_then(|place| found.get_mut(place)) {
                *slot = Some(row.task_ids);
            }
        }
        Ok(found)
    }

    /// One task, with the content of its message and the path of its job; `None` if it does not
    /// exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn unsent_task(
        self,
        stage: &StageKey,
        task_id: &TaskId,
    ) -> Result<Option<(UnsentTask, ProcessingPath)>, DatabaseError> {
        let task = sqlx::query_file!(
            "src/store/sql/unsent_task.sql",
            stage.job_id.as_str(),
            stage.stage.number(),
            task_id.as_str(),
        )
        .map(|row| (unsent_task!(row), row.path));
        Ok(task.fetch_optional(self.0.pool().await?).await?)
    }

    /// The tasks of a batch that still need a message, in the order of the plan.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_tasks_by_batch(
        self,
        key: &BatchKey,
    ) -> Result<Vec<UnsentTask>, DatabaseError> {
        let tasks = sqlx::query_file!(
            "src/store/sql/get_tasks_by_batch.sql",
            key.job_id.as_str(),
            key.stage.number(),
            key.batch_no,
        )
        .map(|row| unsent_task!(row));
        Ok(tasks.fetch_all(self.0.pool().await?).await?)
    }

    /// Makes up to `limit` sent batches unsent again, in stages in which nothing was recorded for
    /// `quiet_seconds`; returns how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark_lost_batches_unsent(
        self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<u64, DatabaseError> {
        let lost = sqlx::query_file_scalar!("src/store/sql/lost_batches.sql", quiet_seconds, limit);
        Ok(lost.fetch_one(self.0.pool().await?).await?.unsigned_abs())
    }
}

fn columns(batches: &[BatchKey]) -> (Vec<&str>, Vec<i16>, Vec<i32>) {
    let jobs = batches.iter().map(|key| key.job_id.as_str()).collect();
    let stages = batches.iter().map(|key| key.stage.number()).collect();
    let numbers = batches.iter().map(|key| key.batch_no).collect();
    (jobs, stages, numbers)
}
