//! The search of `reconcile` for tasks whose attempt died. Sends no message.

use super::Tasks;
use crate::{
    model::{JobId, ProcessingPath, Stage, TaskId, TaskStatus},
    store::{
        connection::DatabaseError,
        rows::{StageKey, StoredTrace, UnsentTask, unsent_task},
    },
};

/// A task that needs a message of its own: its attempt died, or it was deferred.
#[derive(Debug, Clone)]
pub struct TaskDue {
    /// Job and stage of the task.
    pub key: StageKey,
    /// Content of its message.
    pub task: UnsentTask,
    pub path: ProcessingPath,
    /// Number of attempts, counted since a user last retried the task.
    pub tries: u16,
    /// The handler, if the task is for workers: it needs no message, and is ready.
    pub handler_id: Option<i32>,
}

impl Tasks<'_> {
    /// Takes up to `limit` tasks whose attempt died, for a new message each; they are examined
    /// again after `again_seconds`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take_dead_attempts(
        self,
        again_seconds: f64,
        limit: i64,
    ) -> Result<Vec<TaskDue>, DatabaseError> {
        let due = sqlx::query_file!(
            "src/store/sql/dead_attempts.sql",
            again_seconds,
            limit,
            &TaskStatus::sources(TaskStatus::Retrying) as _,
        )
        .map(|row| TaskDue {
            key: StageKey { job_id: row.job_id, stage: row.stage },
            tries: u16::try_from(row.tries).unwrap_or_default(),
            path: row.path,
            handler_id: row.handler_id,
            task: unsent_task!(row),
        });
        Ok(due.fetch_all(self.0.pool().await?).await?)
    }
}
