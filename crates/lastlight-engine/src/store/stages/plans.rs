//! Planning a stage: the lease, which lets one planner at a time write, and the chunks that the
//! planner writes.

use std::ops::Range;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Stages;
use crate::{
    failpoint::failpoint,
    model::{BatchId, JobStatus, TaskId, TasksPerMessage, messages::LARGEST_PARAMETERS_SENT},
    store::{
        connection::DatabaseError,
        rows::{BatchOfTasks, NewTask, StageKey},
    },
};

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
    /// The handler, if its tasks are for workers: these need no messages.
    pub handler_id: Option<i32>,
}

/// Result of writing a chunk.
#[derive(Debug, Clone)]
pub enum ChunkWritten {
    /// The chunk is stored, with these batches, whose messages are unsent unless they are for workers.
    Stored(Vec<BatchOfTasks>),
    /// Another planner holds the lease now, or the job is finished; nothing was stored.
    LeaseLost,
    /// Two definitions have the same task id; nothing was stored.
    Collision {
        /// The semantic index of the later definition.
        wanted: String,
        /// The semantic index of the task that has the id: the same one if the plan yields it twice.
        present: String,
    },
}

/// Size of parameters in bytes at which a statement is complete, with the task that reaches it.
pub const HEAVIEST_STATEMENT: usize = 4 * 1024 * 1024;

/// A stage whose planning lease the caller has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedStage {
    /// Position at which the plan continues.
    pub cursor: u64,
    /// Semantic index of the task before this position, if there is one and it could be read.
    pub newest_index: Option<String>,
    /// Whether tasks exist although nothing is planned yet: those of a deleted job with the same
    /// id.
    pub is_littered: bool,
}

impl Stages<'_> {
    /// Takes the lease to plan a stage for `lease_seconds`; `None` if the stage is planned, another
    /// planner holds the lease, or the job is finished or paused.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn lease(
        self,
        key: &StageKey,
        owner: Uuid,
        lease_seconds: f64,
    ) -> Result<Option<LeasedStage>, DatabaseError> {
        failpoint!("lease.before_commit", Err(DatabaseError::lost()));
        let leased = sqlx::query_file!(
            "src/store/sql/lease_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
            lease_seconds,
            JobStatus::sources(JobStatus::Processing) as _,
            JobStatus::open() as _,
        )
        .map(|row| LeasedStage {
            cursor: row.plan_cursor.unsigned_abs(),
            newest_index: row.newest_index,
            is_littered: row.is_littered,
        })
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("lease.after_commit", Err(DatabaseError::lost()));
        Ok(leased)
    }

    /// Writes the next chunk of a plan, which begins at `cursor`, and its batches, in one
    /// transaction that commits only while `plan.owner` holds the lease. Existing rows stay
    /// unchanged. Until the lease would expire, only the planner may send the batches; then any
    /// process.
    ///
    /// # Errors
    /// A statement failed; nothing was stored.
    pub async fn write_chunk(
        self,
        plan: &StagePlan<'_>,
        cursor: u64,
        tasks: Vec<NewTask>,
    ) -> Result<ChunkWritten, DatabaseError> {
        let key = &plan.key;
        let mut transaction = self.0.begin().await?;
        let places = Places::of(plan, cursor, tasks.len());
        let mut inserted = 0;
        for part in parts(&tasks) {
            inserted += batch_create_tasks(&mut transaction, plan, &places, &tasks, part).await?;
        }
        if inserted < tasks.len() as u64
            && let Some((wanted, present)) =
                collision(&mut transaction, key, &places, &tasks).await?
        {
            return Ok(ChunkWritten::Collision { wanted, present });
        }
        create_batches(&mut transaction, plan, &places, &tasks).await?;
        let extended = sqlx::query_file!(
            "src/store/sql/extend_plan.sql",
            key.job_id.as_str(),
            key.stage.number(),
            plan.owner,
            tasks.len() as i64,
            inserted.cast_signed(),
            places.batches_after(),
            plan.lease_seconds,
            JobStatus::open() as _,
            plan.handler_id,
        )
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
        self,
        key: &StageKey,
        owner: Uuid,
        lease_seconds: f64,
    ) -> Result<bool, DatabaseError> {
        let kept = sqlx::query_file!(
            "src/store/sql/keep_plan.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
            lease_seconds,
            JobStatus::open() as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Marks the plan as complete: `Some(true)` if every task has its outcome already, so that the
    /// planner must advance the stage; `None` if the lease was lost.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn finish_plan(
        self,
        key: &StageKey,
        owner: Uuid,
    ) -> Result<Option<bool>, DatabaseError> {
        failpoint!("finish_plan.before_commit", Err(DatabaseError::lost()));
        let ended = sqlx::query_file_scalar!(
            "src/store/sql/finish_plan.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
        )
        .fetch_optional(self.0.pool().await?)
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
        self,
        key: &StageKey,
        owner: Uuid,
        grace_seconds: f64,
    ) -> Result<Option<u32>, DatabaseError> {
        failpoint!("stop_plan.before_commit", Err(DatabaseError::lost()));
        let sends = sqlx::query_file_scalar!(
            "src/store/sql/stop_plan.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
            grace_seconds,
            JobStatus::open() as _,
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("stop_plan.after_commit", Err(DatabaseError::lost()));
        Ok(sends.map(i32::unsigned_abs))
    }

    /// Releases the lease before the plan is complete.
    ///
    /// # Errors
    /// The statement failed; the lease then expires.
    pub async fn release(self, key: &StageKey, owner: Uuid) -> Result<(), DatabaseError> {
        sqlx::query_file!(
            "src/store/sql/release_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
        )
        .execute(self.0.pool().await?)
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
    let parent_stages: Vec<Option<i16>> =
        tasks.iter().map(|task| task.parent_stage.map(|stage| stage.number())).collect();
    let parameters: Vec<&str> = tasks.iter().map(|task| task.parameters.as_str()).collect();
    Ok(sqlx::query_file!(
        "src/store/sql/batch_create_tasks.sql",
        plan.key.job_id.as_str(),
        plan.key.stage.number(),
        plan.job_type,
        plan.task_type,
        &ids as _,
        &places.ordinals[part.clone()],
        &indexes as _,
        &places.batch_ids[part],
        &parents as _,
        &parameters as _,
        &parent_stages as _,
        plan.handler_id,
    )
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
    sqlx::query_file!(
        "src/store/sql/create_batches.sql",
        plan.key.job_id.as_str(),
        plan.key.stage.number(),
        plan.lease_seconds,
        &places.batch_numbers,
        &ids as _,
        plan.tasks_per_message.get().cast_signed(),
        plan.handler_id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn collision(
    connection: &mut PgConnection,
    key: &StageKey,
    places: &Places,
    tasks: &[NewTask],
) -> Result<Option<(String, String)>, DatabaseError> {
    let ids: Vec<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let indexes: Vec<&str> = tasks.iter().map(|task| task.task_index.as_str()).collect();
    Ok(sqlx::query_file!(
        "src/store/sql/colliding_tasks.sql",
        key.job_id.as_str(),
        key.stage.number(),
        &ids as _,
        &places.ordinals,
        &indexes as _,
    )
    .map(|row| (row.wanted, row.present))
    .fetch_optional(connection)
    .await?)
}
