//! Claims of ready tasks by workers.

use super::Workers;
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, Stage, TaskId, TaskStatus, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{RunningTask, StoredTrace},
        tasks::{BatchClaim, Inputs, LARGEST_CLAIMED, columns_in_key_order, inputs, place_of},
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
    /// The claim of a batch that has the task, if it has no state of its own.
    pub claim: Option<BatchClaim>,
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

/// Claims of batches that were ended because their leases had expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedClaims {
    pub claims: i64,
    /// Tasks in them that are ready again.
    pub tasks: u64,
}

/// A row of a claim as a task.
macro_rules! worker_task {
    ($row:expr, $attempt:expr, $tries:expr, $claim:expr) => {
        WorkerTask {
            task: RunningTask {
                job_id: $row.job_id,
                stage: $row.stage,
                task_id: $row.task_id,
                attempt: $attempt,
            },
            claim: $claim,
            handler: $row.handler,
            waited_seconds: $row.waited_seconds,
            tries: $tries,
            job_type: $row.job_type,
            task_type: $row.task_type,
            inputs: inputs($row.parameters, $row.parameters_bytes, $row.predecessor)?,
            trace: $row.trace.into(),
        }
    };
}

impl Workers<'_> {
    /// Number of ready tasks of these handlers, each counted up to about `limit`.
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

    /// Claims tasks that are ready on their own, the oldest first, with a lease of `lease_seconds`.
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
            let (attempt, tries) = (row.attempt, u16::try_from(row.tries).unwrap_or(u16::MAX));
            Ok(worker_task!(row, attempt, tries, None))
        });
        tasks.collect::<Result<_, sqlx::Error>>().map_err(DatabaseError::from)
    }

    /// Claims tasks from up to `batches` ready batches, the oldest first, with a lease of
    /// `lease_seconds`: the first attempt of each. A claim of fewer than `fewest` tasks of a batch writes
    /// each of them.
    ///
    /// # Errors
    /// As for [`Self::claim`].
    pub async fn claim_batches(
        self,
        claim: WorkerClaim<'_>,
        batches: i64,
        fewest: i32,
        lease_seconds: f64,
    ) -> Result<Vec<WorkerTask>, DatabaseError> {
        failpoint!("claim_batches.before_commit", Err(DatabaseError::lost()));
        let rows = sqlx::query_file!(
            "src/store/sql/claim_batches.sql",
            claim.queue,
            claim.handlers as _,
            i64::from(claim.limit),
            lease_seconds,
            &TaskStatus::sources(TaskStatus::Processing) as _,
            &JobStatus::open() as _,
            claim.worker_id,
            LARGEST_CLAIMED,
            batches,
            fewest,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        failpoint!("claim_batches.after_commit", Err(DatabaseError::lost()));
        let tasks = rows.into_iter().map(|row| {
            let claim = row
                .is_claim
                .then(|| BatchClaim { worker_id: claim.worker_id.to_owned(), seconds: 0.0 });
            let attempt = row.attempt;
            Ok(worker_task!(row, attempt, 1, claim))
        });
        tasks.collect::<Result<_, sqlx::Error>>().map_err(DatabaseError::from)
    }

    /// Gives tasks in claims of batches a state of their own, with a lease of `lease_seconds`; returns
    /// for each whether its attempt now holds it.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn own(
        self,
        claimed: &[(RunningTask, BatchClaim)],
        lease_seconds: f64,
    ) -> Result<Vec<bool>, DatabaseError> {
        let tasks: Vec<RunningTask> = claimed.iter().map(|(task, _)| task.clone()).collect();
        let (order, [jobs, ids], [stages, attempts]) = columns_in_key_order(&tasks);
        let in_order = || order.iter().map(|place| &claimed[*place].1);
        let workers: Vec<&str> = in_order().map(|claim| &*claim.worker_id).collect();
        let seconds: Vec<f64> = in_order().map(|claim| claim.seconds).collect();
        let rows = sqlx::query_file_scalar!(
            "src/store/sql/own_claimed.sql",
            &jobs as _,
            &stages,
            &ids as _,
            &attempts,
            &workers as _,
            &seconds,
            lease_seconds,
            &TaskStatus::sources(TaskStatus::Processing) as _,
            &JobStatus::open() as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let mut held = vec![false; claimed.len()];
        for place in rows {
            held[place_of(&order, place)?] = true;
        }
        Ok(held)
    }

    /// Ends up to `limit` claims of batches whose leases have expired.
    ///
    /// # Errors
    /// The statement failed; nothing changed, or everything.
    pub async fn take_dead_claims(self, limit: i64) -> Result<EndedClaims, DatabaseError> {
        failpoint!("dead_claims.before_commit", Err(DatabaseError::lost()));
        let ended = sqlx::query_file!(
            "src/store/sql/dead_claims.sql",
            limit,
            &TaskStatus::sources(TaskStatus::Processing) as _,
            &JobStatus::open() as _,
        )
        .map(|row| EndedClaims { claims: row.claims, tasks: row.tasks.unsigned_abs() });
        let ended = ended.fetch_one(self.0.pool().await?).await?;
        failpoint!("dead_claims.after_commit", Err(DatabaseError::lost()));
        Ok(ended)
    }
}
