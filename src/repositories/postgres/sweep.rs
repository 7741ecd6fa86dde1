//! What `reconcile` looks for: work that is in the tables and that no message will come for any more.

use super::{
    Database, DatabaseError, StageKey,
    batches::{OwedTask, owed_task},
    jobs::{job_id_of, path_of, stage_of},
};
use crate::model::{ProcessingPath, TaskStatus};

/// A task whose attempt died and that needs a new message.
#[derive(Debug, Clone)]
pub struct DeadAttempt {
    /// Its job and stage.
    pub key: StageKey,
    /// All that its message says.
    pub task: OwedTask,
    /// Its job's pipeline.
    pub path: ProcessingPath,
}

impl Database {
    /// Makes sent batches owed again in stages where nothing happened for `quiet_seconds`, at most `limit` of them;
    /// says how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn owe_lost_batches(&self, quiet_seconds: f64, limit: i64) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/lost_batches.sql"))
            .bind(quiet_seconds)
            .bind(limit)
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// Takes up to `limit` tasks whose attempt died, for a new message each; they are looked at again after
    /// `again_seconds`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn take_dead_attempts(
        &self,
        again_seconds: f64,
        limit: i64,
    ) -> Result<Vec<DeadAttempt>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/dead_attempts.sql"))
            .bind(again_seconds)
            .bind(limit)
            .bind(TaskStatus::sources(TaskStatus::Retrying))
            .fetch_all(self.pool().await?)
            .await?;
        let dead = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(DeadAttempt {
                key: StageKey {
                    job_id: job_id_of(row, "job_id")?,
                    stage: stage_of(row, "stage")?,
                },
                task: owed_task(row)?,
                path: path_of(row, "processing_path")?,
            })
        });
        Ok(dead.collect::<Result<_, _>>()?)
    }

    /// Makes a job message owed for each stage that is not planned and whose planner died, or whose job message was
    /// sent `lost_seconds` ago and brought nobody.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn owe_dead_planners(&self, lost_seconds: f64) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/dead_planners.sql"))
            .bind(lost_seconds)
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// Stages that ended and that nobody advanced.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_advance(&self, limit: i64) -> Result<Vec<StageKey>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_to_advance.sql"))
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let keys = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(StageKey {
                job_id: job_id_of(row, "job_id")?,
                stage: stage_of(row, "stage")?,
            })
        });
        Ok(keys.collect::<Result<_, _>>()?)
    }
}
