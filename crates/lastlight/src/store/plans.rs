//! Planning a stage: the lease, which lets one planner at a time write, and the chunks that the
//! planner writes.

use std::ops::Range;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Database, DatabaseError, batches::BatchOfTasks};
use crate::{
    failpoint::failpoint,
    model::{
        BatchId, JobId, JobStatus, Stage, TaskId, TasksPerMessage,
        messages::LARGEST_PARAMETERS_SENT,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StageKey {
    pub job_id: JobId,
    pub stage: Stage,
}

/// A stage while it is planned: values that all its rows share, and the planner that may write
/// them.
#[derive(Debug, Clone, Copy)]
pub struct StagePlan<'a> {
    pub key: StageKey,
    /// The type of its job.
    pub job_type: &'a str,
    /// The type of its tasks.
    pub task_type: &'a str,
    /// Tasks per message, which determines the size of its batches.
    pub tasks_per_message: TasksPerMessage,
    /// The planner that holds the lease.
    pub owner: Uuid,
    /// Seconds by which each chunk extends the lease.
    pub lease_seconds: f64,
}

/// One task to write.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id, derived from job, stage and index.
    pub task_id: TaskId,
    pub task_index: String,
    /// The task of the previous stage whose result it reads.
    pub parent_task_id: Option<TaskId>,
    /// JSON.
    pub parameters: String,
}

/// Result of writing a chunk.
#[derive(Debug, Clone)]
pub enum ChunkWritten {
    /// The chunk is stored, with these batches, whose messages are unsent.
    Stored(Vec<BatchOfTasks>),
    /// Another planner holds the lease now, or the job is finished; nothing was stored.
    LeaseLost,
    /// Two semantic indexes have the same task id; nothing was stored.
    Collision {
        /// The semantic index of the later definition.
        wanted: String,
        /// The semantic index of the task that has the id.
        present: String,
    },
}

/// Size of parameters in bytes at which a statement is complete, with the task that reaches it.
pub const HEAVIEST_STATEMENT: usize = 4 * 1024 * 1024;

/// A stage whose planning lease the caller has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedStage {
    /// Position at which the plan continues.
    pub cursor: u64,
    /// Whether tasks exist although nothing is planned yet: those of a deleted job with the same
    /// id.
    pub is_littered: bool,
}

impl Database {
    /// Takes the lease to plan a stage for `lease_seconds`; `None` if the stage is planned, another
    /// planner holds the lease, or the job is finished or paused.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn lease_stage(
        &self,
        key: &StageKey,
        owner: Uuid,
        lease_seconds: f64,
    ) -> Result<Option<LeasedStage>, DatabaseError> {
        failpoint!("lease.before_commit", Err(DatabaseError::lost()));
        let row: Option<(i64, bool)> = sqlx::query_as(include_str!("sql/lease_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .bind(lease_seconds)
            .bind(JobStatus::sources(JobStatus::Processing))
            .bind(JobStatus::open())
            .fetch_optional(self.pool().await?)
            .await?;
        failpoint!("lease.after_commit", Err(DatabaseError::lost()));
        Ok(row.map(|(cursor, is_littered)| LeasedStage {
            cursor: cursor.unsigned_abs(),
            is_littered,
        }))
    }

    /// Writes the next chunk of a plan, which begins at `cursor`, and its batches, in one
    /// transaction that commits only while `plan.owner` holds the lease. Existing rows stay
    /// unchanged. Until the lease would expire, only the planner may send the batches; then any
    /// process.
    ///
    /// # Errors
    /// A statement failed; nothing was stored.
    pub async fn write_chunk(
        &self,
        plan: &StagePlan<'_>,
        cursor: u64,
        tasks: Vec<NewTask>,
    ) -> Result<ChunkWritten, DatabaseError> {
        let key = &plan.key;
        let mut transaction = self.begin().await?;
        let places = Places::of(plan, cursor, tasks.len());
        let mut inserted = 0;
        for part in parts(&tasks) {
            inserted += batch_create_tasks(&mut transaction, plan, &places, &tasks, part).await?;
        }
        if inserted < tasks.len() as u64
            && let Some((wanted, present)) = collision(&mut transaction, key, &tasks).await?
        {
            return Ok(ChunkWritten::Collision { wanted, present });
        }
        create_batches(&mut transaction, plan, &places, &tasks).await?;
        let extended = sqlx::query(include_str!("sql/extend_plan.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(plan.owner)
            .bind(tasks.len() as i64)
            .bind(inserted.cast_signed())
            .bind(places.batches_after())
            .bind(plan.lease_seconds)
            .bind(JobStatus::open())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if extended == 0 {
            return Ok(ChunkWritten::LeaseLost);
        }
        failpoint!("chunk.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("chunk.after_commit", Err(DatabaseError::lost()));
        Ok(ChunkWritten::Stored(places.split(tasks)))
    }

    /// Extends the lease without writing a chunk; `false` if it was lost.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn keep_plan(
        &self,
        key: &StageKey,
        owner: Uuid,
        lease_seconds: f64,
    ) -> Result<bool, DatabaseError> {
        let kept = sqlx::query(include_str!("sql/keep_plan.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .bind(lease_seconds)
            .bind(JobStatus::open())
            .execute(self.pool().await?)
            .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Marks the plan as complete: `Some(true)` if every task has its outcome already, so that the
    /// planner must advance the stage; `None` if the lease was lost.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn finish_plan(
        &self,
        key: &StageKey,
        owner: Uuid,
    ) -> Result<Option<bool>, DatabaseError> {
        failpoint!("finish_plan.before_commit", Err(DatabaseError::lost()));
        let ended = sqlx::query_scalar(include_str!("sql/finish_plan.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .fetch_optional(self.pool().await?)
            .await?;
        failpoint!("finish_plan.after_commit", Err(DatabaseError::lost()));
        Ok(ended)
    }

    /// Stops planning before the plan is complete: the lease is released, and a job message for the
    /// stage is unsent, which only the caller may send for `grace_seconds`. Returns the number of
    /// its send, or `None` if the lease was lost, or the job is finished or paused.
    ///
    /// # Errors
    /// The statement failed; the lease then expires.
    pub async fn stop_plan(
        &self,
        key: &StageKey,
        owner: Uuid,
        grace_seconds: f64,
    ) -> Result<Option<u32>, DatabaseError> {
        failpoint!("stop_plan.before_commit", Err(DatabaseError::lost()));
        let sends: Option<i32> = sqlx::query_scalar(include_str!("sql/stop_plan.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .bind(grace_seconds)
            .bind(JobStatus::open())
            .fetch_optional(self.pool().await?)
            .await?;
        failpoint!("stop_plan.after_commit", Err(DatabaseError::lost()));
        Ok(sends.map(i32::unsigned_abs))
    }

    /// Releases the lease before the plan is complete.
    ///
    /// # Errors
    /// The statement failed; the lease then expires.
    pub async fn release_stage(&self, key: &StageKey, owner: Uuid) -> Result<(), DatabaseError> {
        sqlx::query(include_str!("sql/release_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }
}

/// The ordinals and batches of a chunk.
struct Places {
    ordinals: Vec<i32>,
    batch_numbers: Vec<i32>,
    batch_ids: Vec<String>,
}

impl Places {
    fn of(plan: &StagePlan<'_>, cursor: u64, length: usize) -> Self {
        let mut places = Self {
            ordinals: Vec::with_capacity(length),
            batch_numbers: Vec::with_capacity(length),
            batch_ids: Vec::with_capacity(length),
        };
        let mut batch_id = String::new();
        for ordinal in (cursor..).take(length) {
            // A stage holds at most a million tasks, so neither number leaves i32.
            let number = (ordinal / u64::from(plan.tasks_per_message.tasks_per_batch())) as u32;
            if places.batch_numbers.last() != Some(&number.cast_signed()) {
                batch_id = BatchId::new(&plan.key.job_id, plan.key.stage, number).to_string();
            }
            places.ordinals.push(ordinal as i32);
            places.batch_numbers.push(number.cast_signed());
            places.batch_ids.push(batch_id.clone());
        }
        places
    }

    fn batches_after(&self) -> i32 {
        self.batch_numbers.last().map_or(0, |number| number + 1)
    }

    fn split(&self, tasks: Vec<NewTask>) -> Vec<BatchOfTasks> {
        let mut batches: Vec<BatchOfTasks> = Vec::new();
        for (number, mut task) in self.batch_numbers.iter().zip(tasks) {
            if task.parameters.len() > LARGEST_PARAMETERS_SENT {
                // They are stored, and messages do not contain them.
                "{}".clone_into(&mut task.parameters);
                task.parameters.shrink_to_fit();
            }
            match batches.last_mut() {
                Some(batch) if batch.batch_no == *number => batch.tasks.push(task),
                _ => batches.push(BatchOfTasks { batch_no: *number, tasks: vec![task] }),
            }
        }
        batches
    }
}

/// Divides the tasks into parts, one per statement, because a statement is written to the
/// connection in one piece.
fn parts(tasks: &[NewTask]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (place, task) in tasks.iter().enumerate() {
        bytes += task.parameters.len();
        if bytes >= HEAVIEST_STATEMENT {
            parts.push(from..place + 1);
            (from, bytes) = (place + 1, 0);
        }
    }
    if from < tasks.len() {
        parts.push(from..tasks.len());
    }
    parts
}

async fn batch_create_tasks(
    connection: &mut PgConnection,
    plan: &StagePlan<'_>,
    places: &Places,
    tasks: &[NewTask],
    part: Range<usize>,
) -> Result<u64, DatabaseError> {
    let tasks = &tasks[part.clone()];
    let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let indexes: Vec<&str> = tasks.iter().map(|task| task.task_index.as_str()).collect();
    let parents: Vec<Option<&str>> =
        tasks.iter().map(|task| task.parent_task_id.as_ref().map(TaskId::as_str)).collect();
    let parameters: Vec<&str> = tasks.iter().map(|task| task.parameters.as_str()).collect();
    Ok(sqlx::query(include_str!("sql/batch_create_tasks.sql"))
        .bind(plan.key.job_id.as_str())
        .bind(i16::from(plan.key.stage.get()))
        .bind(plan.job_type)
        .bind(plan.task_type)
        .bind(ids)
        .bind(&places.ordinals[part.clone()])
        .bind(indexes)
        .bind(&places.batch_ids[part])
        .bind(parents)
        .bind(parameters)
        .execute(connection)
        .await?
        .rows_affected())
}

async fn create_batches(
    connection: &mut PgConnection,
    plan: &StagePlan<'_>,
    places: &Places,
    tasks: &[NewTask],
) -> Result<(), DatabaseError> {
    let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    sqlx::query(include_str!("sql/create_batches.sql"))
        .bind(plan.key.job_id.as_str())
        .bind(i16::from(plan.key.stage.get()))
        .bind(plan.lease_seconds)
        .bind(&places.batch_numbers)
        .bind(ids)
        .bind(plan.tasks_per_message.get().cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

async fn collision(
    connection: &mut PgConnection,
    key: &StageKey,
    tasks: &[NewTask],
) -> Result<Option<(String, String)>, DatabaseError> {
    let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let indexes: Vec<&str> = tasks.iter().map(|task| task.task_index.as_str()).collect();
    let row = sqlx::query(include_str!("sql/colliding_tasks.sql"))
        .bind(key.job_id.as_str())
        .bind(i16::from(key.stage.get()))
        .bind(ids)
        .bind(indexes)
        .fetch_optional(connection)
        .await?;
    Ok(row
        .map(|row| Ok::<_, sqlx::Error>((row.try_get("wanted")?, row.try_get("present")?)))
        .transpose()?)
}
