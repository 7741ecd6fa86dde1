//! Measurement: the tasks of ended stages and finished jobs are added to the hourly rollups, each
//! once. Computed from the tables afterwards, so that it costs nothing in claims, completions and
//! sends.

use super::Rollups;
use crate::{
    model::ProcessingPath,
    store::{connection::DatabaseError, rows::StageKey},
};

/// Result of [`Rollups::measure_stage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// This call added the stage to the rollups.
    Now,
    /// Another instance measures the stage, or it changed meanwhile: nothing was written.
    NotNow,
}

/// Number of ended stages and finished jobs that are not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmeasured {
    pub stages: i64,
    pub jobs: i64,
}

impl Rollups<'_> {
    /// Up to `limit` ended stages of at most `largest` tasks that were not measured since their
    /// end.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_measure(
        self,
        limit: i64,
        largest: i64,
    ) -> Result<Vec<StageKey>, DatabaseError> {
        Ok(sqlx::query_file_as!(StageKey, "src/store/sql/stages_to_measure.sql", limit, largest)
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Adds an ended stage to the rollups, unless that was done. Reads every task of the stage, and
    /// locks no row that others use until the sums are computed.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn measure_stage(self, key: &StageKey) -> Result<Measured, DatabaseError> {
        let (job_id, stage) = (key.job_id.as_str(), key.stage.number());
        let mut transaction = self.0.begin().await?;
        let is_mine = sqlx::query_file_scalar!("src/store/sql/hold_measure.sql", job_id, stage)
            .fetch_one(&mut *transaction)
            .await?;
        if !is_mine {
            return Ok(Measured::NotNow);
        }
        let sums = sqlx::query_file!("src/store/sql/measure_stage.sql", job_id, stage)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(sums) = sums else {
            return Ok(Measured::NotNow);
        };
        // Both histograms, as columns with one row per bucket.
        let metrics = [vec!["queue_wait"; sums.waits.len()], vec!["run"; sums.runs.len()]].concat();
        let is_written = sqlx::query_file_scalar!(
            "src/store/sql/record_measure.sql",
            job_id,
            stage,
            sums.expected_total,
            sums.expected_completed,
            sums.expected_failed,
            sums.advanced_at,
            sums.measured_at,
            sums.processing_path.as_str(),
            sums.job_type,
            sums.completed,
            sums.failed,
            sums.skipped,
            sums.attempts,
            sums.retries,
            sums.messages,
            sums.busy_seconds,
            &metrics as _,
            &[sums.waits, sums.runs].concat(),
            &[sums.wait_samples, sums.run_samples].concat(),
            &[sums.wait_ms, sums.run_ms].concat(),
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(if is_written { Measured::Now } else { Measured::NotNow })
    }

    /// Number of ended stages and finished jobs that are not in the rollups yet, counted up to
    /// `most` each.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn unmeasured(self, most: i64) -> Result<Unmeasured, DatabaseError> {
        Ok(sqlx::query_file_as!(Unmeasured, "src/store/sql/unmeasured.sql", most)
            .fetch_one(self.0.pool().await?)
            .await?)
    }

    /// Adds up to `limit` finished jobs to the rollups; returns how many.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn measure_jobs(self, limit: i64) -> Result<u64, DatabaseError> {
        let count = sqlx::query_file_scalar!("src/store/sql/measure_jobs.sql", limit)
            .fetch_one(self.0.pool().await?)
            .await?;
        Ok(count.unsigned_abs())
    }
}
