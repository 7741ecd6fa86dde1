//! Claims of ready tasks by workers.

use super::Workers;
use crate::{
    failpoint::failpoint,
    model::{JobStatus, TaskStatus, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{RunningTask, StoredTrace},
        tasks::{Inputs, LARGEST_CLAIMED, inputs},
    },
};

/// A worker's request for tasks.
#[derive(Debug, Clone, Copy)]
pub struct WorkerClaim<'a> {
    pub queue: &'a str,
    /// The handlers that the worker serves.
    pub handlers: &'a [&'a str],
    /// Maximum number of tasks.
    pub limit: u16,
    pub worker_id: &'a str,
}

/// A task that a worker has claimed.
#[derive(Debug)]
pub struct WorkerTask {
    /// The attempt.
    pub task: RunningTask,
    pub handler: String,
    /// How long the task had been ready.
    pub waited_seconds: f64,
    /// Number of this attempt, counted since a user last retried the task.
    pub tries: u16,
    pub job_type: String,
    pub task_type: String,
    pub inputs: Inputs,
    /// The trace of its job.
    pub trace: Option<TraceParent>,
}

impl Workers<'_> {
    /// Number of ready tasks of these handlers, each counted up to `limit`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn ready(
        self,
        queue: &str,
        handlers: &[&str],
        limit: usize,
    ) -> Result<usize, DatabaseError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let ready =
            sqlx::query_file_scalar!("src/store/sql/ready_tasks.sql", queue, handlers as _, limit);
        let ready = ready.fetch_one(self.0.pool().await?).await?;
        Ok(usize::try_from(ready).unwrap_or_default())
    }

    /// Claims ready tasks, the oldest first, with a lease of `lease_seconds`.
    ///
    /// # Errors
    /// The statement failed; whether the claims count is unknown. If they do, their leases expire.
    pub async fn claim(
        self,
        claim: WorkerClaim<'_>,
        lease_seconds: f64,
    ) -> Result<Vec<WorkerTask>, DatabaseError> {
        failpoint!("claim_ready.before_commit", Err(DatabaseError::lost()));
        let rows = sqlx::query_file!(
            "src/store/sql/claim_ready.sql",
            claim.queue,
            claim.handlers as _,
            i64::from(claim.limit),
            lease_seconds,
            &TaskStatus::sources(TaskStatus::Processing) as _,
            &JobStatus::open() as _,
            claim.worker_id,
            LARGEST_CLAIMED,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        failpoint!("claim_ready.after_commit", Err(DatabaseError::lost()));
        let tasks = rows.into_iter().map(|row| {
            Ok(WorkerTask {
                task: RunningTask {
                    job_id: row.job_id,
                    stage: row.stage,
                    task_id: row.task_id,
                    attempt: row.attempt,
                },
                handler: row.handler,
                waited_seconds: row.waited_seconds,
                tries: u16::try_from(row.tries).unwrap_or(u16::MAX),
                job_type: row.job_type,
                task_type: row.task_type,
                inputs: inputs(row.parameters, row.parameters_bytes, row.predecessor)?,
                trace: row.trace.into(),
            })
        });
        tasks.collect::<Result<_, sqlx::Error>>().map_err(DatabaseError::from)
    }
}
