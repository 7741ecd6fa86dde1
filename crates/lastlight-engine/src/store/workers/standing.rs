//! Whether attempts that workers name still hold their tasks.

use super::Workers;
use crate::{
    model::{JobStatus, TaskStatus},
    store::{
        connection::DatabaseError,
        rows::RunningTask,
        tasks::{BatchClaim, columns_in_key_order, place_of},
    },
};

/// The standing of an attempt whose task is for workers.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptStanding {
    /// Whether its job is finished.
    pub job_status: Option<JobStatus>,
    pub task_status: TaskStatus,
    pub job_type: String,
    pub task_type: String,
    /// Number of the task's newest attempt, counted since a user last retried it.
    pub tries: u16,
    /// Whether no later attempt has claimed the task, and this one did.
    pub is_newest: bool,
    /// Whether the task waits for its next attempt, because an attempt asked for it.
    pub is_postponed: bool,
    /// Whether its lease is to be extended.
    pub is_short: bool,
    /// The queue of the task.
    pub queue: String,
    /// Since the task last changed: if the attempt holds it, since it was claimed.
    pub seconds: f64,
    /// The worker whose claim of a batch has the task, which has no state of its own yet.
    pub claimed_by: Option<String>,
}

impl AttemptStanding {
    /// Whether the attempt holds its task.
    pub fn holds(&self) -> bool {
        let runs = self.task_status == TaskStatus::Processing || self.claimed_by.is_some();
        self.is_newest && runs && !self.is_over()
    }

    /// The claim of a batch that has the task, if the attempt holds it without a state of its own.
    pub fn claim(&self) -> Option<BatchClaim> {
        let worker_id = self.claimed_by.clone()?;
        Some(BatchClaim { worker_id, seconds: self.seconds })
    }

    /// Whether the task's job is finished.
    pub fn is_over(&self) -> bool {
        self.job_status.is_none_or(JobStatus::is_terminal)
    }
}

impl Workers<'_> {
    /// The standing of each attempt; `None`: there is no such task, or it is not for workers. A lease
    /// that ends in less than `short_seconds` is to be extended.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn standing(
        self,
        attempts: &[RunningTask],
        short_seconds: f64,
    ) -> Result<Vec<Option<AttemptStanding>>, DatabaseError> {
        let (order, [jobs, tasks], [stages, numbers]) = columns_in_key_order(attempts);
        let rows = sqlx::query_file!(
            "src/store/sql/attempt_standing.sql",
            &jobs as _,
            &stages,
            &tasks as _,
            &numbers,
            short_seconds,
            &TaskStatus::sources(TaskStatus::Processing) as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let mut standing = vec![None; attempts.len()];
        for row in rows {
            standing[place_of(&order, row.place)?] = Some(AttemptStanding {
                job_status: row.job_status,
                task_status: row.task_status,
                job_type: row.job_type,
                task_type: row.task_type,
                tries: u16::try_from(row.tries).unwrap_or(u16::MAX),
                is_newest: row.is_newest,
                is_postponed: row.is_postponed,
                is_short: row.is_short,
                queue: row.queue,
                seconds: row.seconds,
                claimed_by: row.claimed_by,
            });
        }
        Ok(standing)
    }
}
