//! Searches of `reconcile` for stages that nobody plans, advances or closes any more.

use super::Stages;
use crate::{
    model::{JobId, JobStatus, Stage},
    store::{connection::DatabaseError, rows::StageKey},
};

/// A stage of a finished job that is to be closed.
#[derive(Debug, Clone, Copy)]
pub struct StageToClose {
    pub job_id: JobId,
    pub stage: Stage,
    /// Whether it waited for another job.
    pub has_child: bool,
}

impl Stages<'_> {
    /// Makes the job message unsent again for each stage that is not planned and whose planner
    /// died, or whose job message was sent `lost_seconds` ago without a planner starting.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark_dead_planners_unsent(self, lost_seconds: f64) -> Result<u64, DatabaseError> {
        let dead = sqlx::query_file_scalar!("src/store/sql/dead_planners.sql", lost_seconds);
        Ok(dead.fetch_one(self.0.pool().await?).await?.unsigned_abs())
    }

    /// Stages that ended and were not advanced.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn to_advance(self, limit: i64) -> Result<Vec<StageKey>, DatabaseError> {
        Ok(sqlx::query_file_as!(StageKey, "src/store/sql/stages_to_advance.sql", limit)
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Open stages of finished jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn to_close(self, limit: i64) -> Result<Vec<StageToClose>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            StageToClose,
            "src/store/sql/stages_to_close.sql",
            limit,
            &JobStatus::open() as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Opens closed stages of finished jobs in which a retry that died left open tasks, so that
    /// these are skipped; returns how many. `quiet_seconds`: how long a retry may still be running
    /// without a change in the stage.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn open_partially_reopened(
        self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<u64, DatabaseError> {
        Ok(sqlx::query_file!(
            "src/store/sql/open_partially_reopened.sql",
            quiet_seconds,
            limit,
            &JobStatus::open() as _,
        )
        .execute(self.0.pool().await?)
        .await?
        .rows_affected())
    }

    /// Stages that are planned, have open tasks by their counters, and in which nothing was
    /// recorded for `quiet_seconds`. Each is returned at most once in that time, to one of all
    /// callers.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn silent(
        self,
        quiet_seconds: f64,
        limit: i64,
    ) -> Result<Vec<StageKey>, DatabaseError> {
        Ok(sqlx::query_file_as!(StageKey, "src/store/sql/silent_stages.sql", quiet_seconds, limit)
            .fetch_all(self.0.pool().await?)
            .await?)
    }
}
