//! Batches of tasks as outbox entries: owed until their messages are sent.

use sqlx::Row;

use super::{Database, DatabaseError, NewTask, StageKey, jobs};
use crate::model::{JobId, ProcessingPath, Stage, TaskId};

/// A batch that was just written.
#[derive(Debug, Clone)]
pub struct BatchOfTasks {
    /// From 0 within the stage.
    pub batch_no: i32,
    /// At most 100.
    pub tasks: Vec<NewTask>,
}

/// Which batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchKey {
    /// The job.
    pub job_id: JobId,
    /// Its stage.
    pub stage: Stage,
    /// From 0 within the stage.
    pub batch_no: i32,
}

impl BatchKey {
    /// A batch of a stage.
    pub fn new(stage: &StageKey, batch_no: i32) -> Self {
        Self {
            job_id: stage.job_id,
            stage: stage.stage,
            batch_no,
        }
    }
}

/// A batch whose messages are due.
#[derive(Debug, Clone, Copy)]
pub struct OwedBatch {
    /// Which.
    pub key: BatchKey,
    /// The job's pipeline.
    pub path: ProcessingPath,
}

/// A task that needs a message, with all that its message says.
#[derive(Debug, Clone)]
pub struct OwedTask {
    /// Its id.
    pub task_id: TaskId,
    /// Its job's type.
    pub job_type: String,
    /// Its own type.
    pub task_type: String,
    /// Its semantic index.
    pub task_index: String,
    /// The task whose result it reads.
    pub parent_task_id: Option<TaskId>,
    /// JSON.
    pub parameters: String,
    /// Attempts so far.
    pub attempt: u32,
    /// Messages so far beyond the first, whatever the reason.
    pub resends: u32,
}

impl Database {
    /// Marks batches as sent: their tasks count as queued.
    ///
    /// # Errors
    /// The statement failed; they stay owed and are sent again.
    pub async fn batch_update_status(&self, sent: &[BatchKey]) -> Result<(), DatabaseError> {
        let jobs: Vec<&str> = sent.iter().map(|key| key.job_id.as_str()).collect();
        let stages: Vec<i16> = sent.iter().map(|key| i16::from(key.stage.get())).collect();
        let numbers: Vec<i32> = sent.iter().map(|key| key.batch_no).collect();
        sqlx::query(include_str!("sql/batch_update_status.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(numbers)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Notes why a batch is still owed.
    ///
    /// # Errors
    /// The statement failed; only the note is lost.
    pub async fn batch_failed(&self, key: &BatchKey, reason: &str) -> Result<(), DatabaseError> {
        sqlx::query(include_str!("sql/batch_failed.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(key.batch_no)
            .bind(jobs::without_nul(reason).as_ref())
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Takes up to `limit` batches that are owed and due, and puts each off by `put_off_seconds`, so that two
    /// callers never take the same one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_pending_retry_batches(
        &self,
        put_off_seconds: f64,
        limit: i64,
    ) -> Result<Vec<OwedBatch>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/get_pending_retry_batches.sql"))
            .bind(put_off_seconds)
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let batches = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(OwedBatch {
                key: BatchKey {
                    job_id: jobs::job_id_of(row, "job_id")?,
                    stage: jobs::stage_of(row, "stage")?,
                    batch_no: row.try_get("batch_no")?,
                },
                path: jobs::path_of(row, "processing_path")?,
            })
        });
        Ok(batches.collect::<Result<_, _>>()?)
    }

    /// The tasks of a batch that still need a message, in the order of the plan.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_tasks_by_batch(&self, key: &BatchKey) -> Result<Vec<OwedTask>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/get_tasks_by_batch.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(key.batch_no)
            .fetch_all(self.pool().await?)
            .await?;
        let tasks = rows.iter().map(|row| {
            let mut task = owed_task(row)?;
            task.resends += row.try_get::<i32, _>("sends")?.unsigned_abs();
            Ok::<_, sqlx::Error>(task)
        });
        Ok(tasks.collect::<Result<_, _>>()?)
    }
}

/// Reads the columns that make a task's message.
pub(super) fn owed_task(row: &sqlx::postgres::PgRow) -> Result<OwedTask, sqlx::Error> {
    Ok(OwedTask {
        task_id: task_id_of(row, "task_id")?,
        job_type: row.try_get("job_type")?,
        task_type: row.try_get("task_type")?,
        task_index: row.try_get("task_index")?,
        parent_task_id: row
            .try_get::<Option<&str>, _>("parent_task_id")?
            .map(|id| TaskId::try_from(id).map_err(|_| jobs::corrupt("parent_task_id", id)))
            .transpose()?,
        parameters: jobs::json_of(row, "parameters")?.get().to_owned(),
        attempt: u32::from(row.try_get::<i16, _>("attempt")?.unsigned_abs()),
        resends: u32::from(row.try_get::<i16, _>("retry_count")?.unsigned_abs()),
    })
}

pub(super) fn task_id_of(row: &sqlx::postgres::PgRow, column: &'static str) -> Result<TaskId, sqlx::Error> {
    let id: &str = row.try_get(column)?;
    TaskId::try_from(id).map_err(|_| jobs::corrupt(column, id))
}
