//! Measurement: the tasks of ended stages and finished jobs are added to the hourly rollups, each
//! once. Computed from the tables afterwards, so that it costs nothing in claims, completions and
//! sends.

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError, StageKey,
    jobs::{job_id_of, stage_of},
};

/// Result of [`Database::measure_stage`].
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

impl Database {
    /// Up to `limit` ended stages of at most `largest` tasks that were not measured since their
    /// end.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_measure(
        &self,
        limit: i64,
        largest: i64,
    ) -> Result<Vec<StageKey>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_to_measure.sql"))
            .bind(limit)
            .bind(largest)
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

    /// Adds an ended stage to the rollups, unless that was done. Reads every task of the stage, and
    /// locks no row that others use until the sums are computed.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn measure_stage(&self, key: &StageKey) -> Result<Measured, DatabaseError> {
        let (job_id, stage) = (key.job_id.as_str(), i16::from(key.stage.get()));
        let mut transaction = self.begin().await?;
        let is_mine: bool = sqlx::query_scalar(include_str!("sql/hold_measure.sql"))
            .bind(job_id)
            .bind(stage)
            .fetch_one(&mut *transaction)
            .await?;
        if !is_mine {
            return Ok(Measured::NotNow);
        }
        let row = sqlx::query(include_str!("sql/measure_stage.sql"))
            .bind(job_id)
            .bind(stage)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else {
            return Ok(Measured::NotNow);
        };
        let measured_at: Option<OffsetDateTime> = row.try_get("measured_at")?;
        let histograms = Histograms::read(&row)?;
        let is_written: bool = sqlx::query_scalar(include_str!("sql/record_measure.sql"))
            .bind(job_id)
            .bind(stage)
            .bind(row.try_get::<i64, _>("expected_total")?)
            .bind(row.try_get::<i64, _>("expected_completed")?)
            .bind(row.try_get::<i64, _>("expected_failed")?)
            .bind(row.try_get::<OffsetDateTime, _>("advanced_at")?)
            .bind(measured_at)
            .bind(row.try_get::<String, _>("processing_path")?)
            .bind(row.try_get::<String, _>("job_type")?)
            .bind(row.try_get::<i64, _>("completed")?)
            .bind(row.try_get::<i64, _>("failed")?)
            .bind(row.try_get::<i64, _>("skipped")?)
            .bind(row.try_get::<i64, _>("attempts")?)
            .bind(row.try_get::<i64, _>("retries")?)
            .bind(row.try_get::<i64, _>("messages")?)
            .bind(row.try_get::<f64, _>("busy_seconds")?)
            .bind(histograms.metrics)
            .bind(histograms.buckets)
            .bind(histograms.samples)
            .bind(histograms.total_ms)
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
    pub async fn unmeasured(&self, most: i64) -> Result<Unmeasured, DatabaseError> {
        let row = sqlx::query(include_str!("sql/unmeasured.sql"))
            .bind(most)
            .fetch_one(self.pool().await?)
            .await?;
        Ok(Unmeasured { stages: row.try_get("stages")?, jobs: row.try_get("jobs")? })
    }

    /// Adds up to `limit` finished jobs to the rollups; returns how many.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn measure_jobs(&self, limit: i64) -> Result<u64, DatabaseError> {
        let count: i64 = sqlx::query_scalar(include_str!("sql/measure_jobs.sql"))
            .bind(limit)
            .fetch_one(self.pool().await?)
            .await?;
        Ok(count.unsigned_abs())
    }
}

/// Both histograms of a stage, as columns with one row per bucket.
#[derive(Default)]
struct Histograms {
    metrics: Vec<&'static str>,
    buckets: Vec<i16>,
    samples: Vec<i64>,
    total_ms: Vec<f64>,
}

impl Histograms {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let mut all = Self::default();
        for (metric, buckets, samples, total_ms) in [
            ("queue_wait", "waits", "wait_samples", "wait_ms"),
            ("run", "runs", "run_samples", "run_ms"),
        ] {
            let buckets: Vec<i16> = row.try_get(buckets)?;
            all.metrics.extend(buckets.iter().map(|_| metric));
            all.buckets.extend(buckets);
            all.samples.extend(row.try_get::<Vec<i64>, _>(samples)?);
            all.total_ms.extend(row.try_get::<Vec<f64>, _>(total_ms)?);
        }
        Ok(all)
    }
}
