//! Single tasks that users retry or skip, step by step through a stage. Which ones, the caller decides.

use serde_json::json;

use super::Tasks;
use crate::{
    failpoint::failpoint,
    model::{JobStatus, TaskId, TaskStatus, UserRequest},
    store::{
        connection::DatabaseError,
        rows::{StageKey, without_nul},
    },
};

/// Which tasks of a stage are meant.
#[derive(Debug, Clone, Copy)]
pub struct TaskChoice<'a> {
    /// Only this one.
    pub task_id: Option<&'a TaskId>,
    /// Their states.
    pub statuses: &'a [TaskStatus],
    /// Only tasks whose error contains this.
    pub error: Option<&'a str>,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStep {
    /// Number of tasks that are meant.
    pub meant: u64,
    /// Number of tasks that were changed: all that are meant, or none. None: the stage or the job is not in
    /// a state in which that is allowed, or somebody else changes the job at the moment.
    pub changed: u64,
    /// The stage has ended with them.
    pub ended: bool,
    /// The first id of the next step; `None` after the last step.
    pub next: Option<String>,
}

impl TaskChoice<'_> {
    fn statuses(&self) -> Vec<&'static str> {
        self.statuses.iter().map(|status| status.as_str()).collect()
    }

    fn limit(&self, limit: i64) -> i64 {
        if self.task_id.is_some() { 1 } else { limit }
    }

    /// What the event says of it.
    fn described(&self) -> String {
        json!({ "task_id": self.task_id.map(TaskId::as_str), "error": self.error.map(without_nul) })
            .to_string()
    }
}

/// The first id of the next step. An id has no control characters, so nothing is between.
fn after(looked: i64, limit: i64, last: Option<String>) -> Option<String> {
    last.filter(|_| looked >= limit && limit > 1).map(|last| format!("{last}\u{1}"))
}

impl Tasks<'_> {
    /// Makes the tasks that are meant among the next `limit` tasks of an open stage, from the id `from` on, ready to run
    /// again.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn retry_some(
        self,
        key: &StageKey,
        choice: TaskChoice<'_>,
        from: &str,
        limit: i64,
        request: &UserRequest,
    ) -> Result<TaskStep, DatabaseError> {
        let limit = choice.limit(limit);
        let mut transaction = self.0.begin_for(request).await?;
        let step = sqlx::query_file!(
            "src/store/sql/retry_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            choice.task_id.map_or(from, TaskId::as_str),
            limit,
            &choice.statuses() as _,
            choice.error.map(without_nul) as _,
            &JobStatus::open() as _,
            choice.task_id.map(TaskId::as_str),
            choice.described() as _,
        )
        .fetch_one(&mut *transaction)
        .await?;
        failpoint!("retry_tasks.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("retry_tasks.after_commit", Err(DatabaseError::lost()));
        Ok(TaskStep {
            meant: step.meant.unsigned_abs(),
            changed: step.changed.unsigned_abs(),
            ended: false,
            next: after(step.looked, limit, step.last),
        })
    }

    /// Skips the tasks that are meant among the next `limit` tasks of a stage, from the id `from` on, for good.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn skip_some(
        self,
        key: &StageKey,
        choice: TaskChoice<'_>,
        from: &str,
        limit: i64,
        request: &UserRequest,
    ) -> Result<TaskStep, DatabaseError> {
        let limit = choice.limit(limit);
        let mut transaction = self.0.begin_for(request).await?;
        let step = sqlx::query_file!(
            "src/store/sql/skip_tasks.sql",
            key.job_id.as_str(),
            key.stage.number(),
            choice.task_id.map_or(from, TaskId::as_str),
            limit,
            &choice.statuses() as _,
            choice.error.map(without_nul) as _,
            &JobStatus::open() as _,
            choice.task_id.map(TaskId::as_str),
            choice.described() as _,
            &JobStatus::reopenable() as _,
        )
        .fetch_one(&mut *transaction)
        .await?;
        failpoint!("skip_tasks.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("skip_tasks.after_commit", Err(DatabaseError::lost()));
        Ok(TaskStep {
            meant: step.meant.unsigned_abs(),
            changed: step.changed.unsigned_abs(),
            ended: step.ended,
            next: after(step.looked, limit, step.last),
        })
    }

    /// Counts the tasks that are meant among the next `limit` tasks of a stage, from the id `from` on; `retries`: also those that a user
    /// skipped.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn count_some(
        self,
        key: &StageKey,
        choice: TaskChoice<'_>,
        from: &str,
        limit: i64,
        retries: bool,
    ) -> Result<TaskStep, DatabaseError> {
        let step = sqlx::query_file!(
            "src/store/sql/count_tasks_meant.sql",
            key.job_id.as_str(),
            key.stage.number(),
            from,
            limit,
            &choice.statuses() as _,
            choice.error.map(without_nul) as _,
            retries,
        )
        .fetch_one(self.0.pool().await?)
        .await?;
        Ok(TaskStep {
            meant: step.meant.unsigned_abs(),
            changed: 0,
            ended: false,
            next: after(step.looked, limit, step.last),
        })
    }
}
