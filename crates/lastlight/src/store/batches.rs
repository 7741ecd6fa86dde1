//! Batches of tasks as outbox entries: unsent until their messages are sent.

use sqlx::Row;

use super::{Database, DatabaseError, NewTask, StageKey, jobs};
use crate::{
    failpoint::failpoint,
    model::{BatchId, JobId, ProcessingPath, Stage, TaskId, TasksPerMessage, TraceParent},
};

/// A batch that was just written.
#[derive(Debug, Clone)]
pub struct BatchOfTasks {
    /// From 0 within the stage.
    pub batch_no: i32,
    /// A hundred tasks, or as many as one message names.
    pub tasks: Vec<NewTask>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchKey {
    pub job_id: JobId,
    pub stage: Stage,
    /// From 0 within the stage.
    pub batch_no: i32,
}

impl BatchKey {
    /// A batch of a stage.
    pub fn new(stage: &StageKey, batch_no: i32) -> Self {
        Self { job_id: stage.job_id, stage: stage.stage, batch_no }
    }
}

impl From<BatchId> for BatchKey {
    fn from(id: BatchId) -> Self {
        Self {
            job_id: id.job_id,
            stage: id.stage,
            // No batch of ours has a number above i32::MAX: a lookup of -1 finds nothing.
            batch_no: i32::try_from(id.number).unwrap_or(-1),
        }
    }
}

impl BatchKey {
    /// Its id, as contained in its tasks and messages.
    pub fn batch_id(&self) -> BatchId {
        BatchId::new(&self.job_id, self.stage, self.batch_no.unsigned_abs())
    }
}

/// A batch whose messages are due.
#[derive(Debug, Clone, Copy)]
pub struct UnsentBatch {
    pub key: BatchKey,
    pub path: ProcessingPath,
    /// Number of tasks per message: one message per task, or one for all.
    pub tasks_per_message: TasksPerMessage,
    pub sends: u32,
}

/// A task that needs a message, with the content of that message.
#[derive(Debug, Clone)]
pub struct UnsentTask {
    pub task_id: TaskId,
    pub job_type: String,
    pub task_type: String,
    pub task_index: String,
    /// The task whose result it reads.
    pub parent_task_id: Option<TaskId>,
    /// JSON.
    pub parameters: String,
    pub attempt: u32,
    /// Number of messages after the first, whatever the reason.
    pub resends: u32,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

impl Database {
    /// Marks batches as sent, with `messages_each` messages: their tasks count as queued.
    ///
    /// # Errors
    /// The statement failed; the batches stay unsent and are sent again.
    pub async fn batch_update_status(
        &self,
        sent: &[BatchKey],
        messages_each: u32,
    ) -> Result<(), DatabaseError> {
        failpoint!("batch_sent.before_commit", Err(DatabaseError::lost()));
        let (jobs, stages, numbers) = columns(sent);
        sqlx::query(include_str!("sql/batch_update_status.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(numbers)
            .bind(messages_each.cast_signed())
            .execute(self.pool().await?)
            .await?;
        failpoint!("batch_sent.after_commit", Err(DatabaseError::lost()));
        Ok(())
    }

    /// Records why batches are still unsent.
    ///
    /// # Errors
    /// The statement failed; only the reason is lost.
    pub async fn batch_failed(
        &self,
        failed: &[BatchKey],
        reason: &str,
    ) -> Result<(), DatabaseError> {
        let (jobs, stages, numbers) = columns(failed);
        sqlx::query(include_str!("sql/batch_failed.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(numbers)
            .bind(jobs::without_nul(reason).as_ref())
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Takes up to `limit` unsent batches that are due, and postpones each by `put_off_seconds`, so
    /// that two callers never take the same one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_pending_retry_batches(
        &self,
        put_off_seconds: f64,
        limit: i64,
    ) -> Result<Vec<UnsentBatch>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/get_pending_retry_batches.sql"))
            .bind(put_off_seconds)
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let batches = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(UnsentBatch {
                key: BatchKey {
                    job_id: jobs::job_id_of(row, "job_id")?,
                    stage: jobs::stage_of(row, "stage")?,
                    batch_no: row.try_get("batch_no")?,
                },
                path: jobs::path_of(row, "processing_path")?,
                tasks_per_message: tasks_per_message_of(row)?,
                sends: row.try_get::<i32, _>("sends")?.unsigned_abs(),
            })
        });
        Ok(batches.collect::<Result<_, _>>()?)
    }

    /// The tasks of batches, in the order of the plan, in any state; `None` for a batch that does
    /// not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn task_ids_of_batches(
        &self,
        batches: &[BatchKey],
    ) -> Result<Vec<Option<Vec<TaskId>>>, DatabaseError> {
        let (jobs, stages, numbers) = columns(batches);
        let rows = sqlx::query(include_str!("sql/task_ids_of_batches.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(numbers)
            .fetch_all(self.pool().await?)
            .await?;
        let mut found = vec![None; batches.len()];
        for row in &rows {
            let place: i64 = row.try_get("place")?;
            let ids: Vec<String> = row.try_get("task_ids")?;
            let ids = ids
                .iter()
                .map(|id| TaskId::try_from(id.as_str()).map_err(|_| jobs::corrupt("task_ids", id)))
                .collect::<Result<_, _>>()?;
            if let Some(slot) =
                usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place))
            {
                *slot = Some(ids);
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
        &self,
        stage: &StageKey,
        task_id: &TaskId,
    ) -> Result<Option<(UnsentTask, ProcessingPath)>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/unsent_task.sql"))
            .bind(stage.job_id.as_str())
            .bind(i16::from(stage.stage.get()))
            .bind(task_id.as_str())
            .fetch_optional(self.pool().await?)
            .await?;
        let task = row.map(|row| {
            Ok::<_, sqlx::Error>((unsent_task(&row)?, jobs::path_of(&row, "processing_path")?))
        });
        Ok(task.transpose()?)
    }

    /// The tasks of a batch that still need a message, in the order of the plan.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_tasks_by_batch(
        &self,
        key: &BatchKey,
    ) -> Result<Vec<UnsentTask>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/get_tasks_by_batch.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(key.batch_no)
            .fetch_all(self.pool().await?)
            .await?;
        let tasks = rows.iter().map(|row| {
            let mut task = unsent_task(row)?;
            task.resends += row.try_get::<i32, _>("sends")?.unsigned_abs();
            Ok::<_, sqlx::Error>(task)
        });
        Ok(tasks.collect::<Result<_, _>>()?)
    }
}

fn columns(batches: &[BatchKey]) -> (Vec<&str>, Vec<i16>, Vec<i32>) {
    let jobs = batches.iter().map(|key| key.job_id.as_str()).collect();
    let stages = batches.iter().map(|key| i16::from(key.stage.get())).collect();
    let numbers = batches.iter().map(|key| key.batch_no).collect();
    (jobs, stages, numbers)
}

fn tasks_per_message_of(row: &sqlx::postgres::PgRow) -> Result<TasksPerMessage, sqlx::Error> {
    let number: i16 = row.try_get("tasks_per_message")?;
    TasksPerMessage::try_from(u64::from(number.unsigned_abs()))
        .map_err(|_| jobs::corrupt("tasks_per_message", number.to_string()))
}

/// Reads the columns with the content of a task's message.
pub(super) fn unsent_task(row: &sqlx::postgres::PgRow) -> Result<UnsentTask, sqlx::Error> {
    Ok(UnsentTask {
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
        trace: jobs::trace_of(row)?,
    })
}

pub(super) fn task_id_of(
    row: &sqlx::postgres::PgRow,
    column: &'static str,
) -> Result<TaskId, sqlx::Error> {
    let id: &str = row.try_get(column)?;
    TaskId::try_from(id).map_err(|_| jobs::corrupt(column, id))
}
