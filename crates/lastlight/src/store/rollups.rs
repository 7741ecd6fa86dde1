//! Reading the rollups: sums and histograms. By path and hour, for the comparison of the paths; of
//! all time, by path, job type and stage, for a scraper.

use std::time::Duration;

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError,
    jobs::{corrupt, path_of},
};
use crate::model::{Metric, ProcessingPath};

/// Sums over tasks that have their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TaskSums {
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that did not run.
    pub skipped: i64,
    pub attempts: i64,
    /// Attempts after which the task was to be repeated.
    pub retries: i64,
    /// Messages that were sent, including the job messages of stages.
    pub messages: i64,
    /// Seconds from a stage's first batch to its last outcome, summed over all stages.
    pub busy_seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobSums {
    pub completed: i64,
    /// Failed jobs, including those that failed at their deadline.
    pub failed: i64,
    pub cancelled: i64,
    /// Jobs that failed at their deadline.
    pub timed_out: i64,
}

/// One bucket of a histogram: see [`crate::model::histogram`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketRow {
    pub metric: Metric,
    pub bucket: i16,
    pub samples: i64,
    /// Sum of the samples in ms.
    pub total_ms: f64,
}

/// The rollups of each path; a path in which nothing ended is missing.
#[derive(Debug, Clone, Default)]
pub struct PathRollups {
    pub tasks: Vec<(ProcessingPath, TaskSums)>,
    pub jobs: Vec<(ProcessingPath, JobSums)>,
    /// Histograms, buckets in ascending order.
    pub latencies: Vec<(ProcessingPath, BucketRow)>,
}

/// The path, job type and stage of a total.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    pub path: ProcessingPath,
    pub job_type: String,
    /// The stage; 0 for the job.
    pub stage: u8,
}

/// The samples between two powers of two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OctaveRow {
    /// The exponent n: the samples took at most 2^n ms and more than 2^(n-1) ms; octave 1 has all
    /// samples of at most 2 ms.
    pub octave: i16,
    pub samples: i64,
    /// Sum of the samples in ms.
    pub total_ms: f64,
}

/// The sums of all measurements so far. They only grow.
#[derive(Debug, Clone, Default)]
pub struct RollupTotals {
    pub tasks: Vec<(RollupKey, TaskSums)>,
    /// Jobs; the stage is 0.
    pub jobs: Vec<(RollupKey, JobSums)>,
    /// Histograms, octaves in ascending order.
    pub latencies: Vec<(RollupKey, Metric, Vec<OctaveRow>)>,
}

impl Database {
    /// The rollups of the hours from `since` on, of one job type or of all.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn rollups_since(
        &self,
        since: OffsetDateTime,
        job_type: Option<&str>,
    ) -> Result<PathRollups, DatabaseError> {
        let mut found = PathRollups::default();
        let pool = self.pool().await?;
        let rows = sqlx::query(include_str!("sql/task_rollups.sql"))
            .bind(since)
            .bind(job_type)
            .fetch_all(pool)
            .await?;
        for row in &rows {
            found.tasks.push((path_of(row, "processing_path")?, task_sums(row)?));
        }
        let rows = sqlx::query(include_str!("sql/job_rollups.sql"))
            .bind(since)
            .bind(job_type)
            .fetch_all(pool)
            .await?;
        for row in &rows {
            found.jobs.push((path_of(row, "processing_path")?, job_sums(row)?));
        }
        let rows = sqlx::query(include_str!("sql/latency_rollups.sql"))
            .bind(since)
            .bind(job_type)
            .fetch_all(pool)
            .await?;
        for row in &rows {
            found.latencies.push((path_of(row, "processing_path")?, bucket(row)?));
        }
        Ok(found)
    }

    /// The sums of all measurements so far, for a scraper's counters and histograms. A statement
    /// that takes longer than `within` is cancelled.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn rollup_totals(&self, within: Duration) -> Result<RollupTotals, DatabaseError> {
        let mut found = RollupTotals::default();
        let mut reading = self.begin_bounded(within).await?;
        for row in
            &sqlx::query(include_str!("sql/total_tasks.sql")).fetch_all(&mut *reading).await?
        {
            found.tasks.push((key(row)?, task_sums(row)?));
        }
        for row in &sqlx::query(include_str!("sql/total_jobs.sql")).fetch_all(&mut *reading).await?
        {
            let key = RollupKey {
                path: path_of(row, "processing_path")?,
                job_type: row.try_get("job_type")?,
                stage: 0,
            };
            found.jobs.push((key, job_sums(row)?));
        }
        for row in
            &sqlx::query(include_str!("sql/total_latencies.sql")).fetch_all(&mut *reading).await?
        {
            let (key, metric, octave) = (key(row)?, metric(row)?, octave(row)?);
            match found.latencies.last_mut() {
                Some((of, measured, octaves)) if (&*of, *measured) == (&key, metric) => {
                    octaves.push(octave)
                }
                _ => found.latencies.push((key, metric, vec![octave])),
            }
        }
        reading.commit().await?;
        Ok(found)
    }
}

fn key(row: &PgRow) -> Result<RollupKey, sqlx::Error> {
    let stage: i16 = row.try_get("stage")?;
    Ok(RollupKey {
        path: path_of(row, "processing_path")?,
        job_type: row.try_get("job_type")?,
        stage: u8::try_from(stage).map_err(|_| corrupt("stage", stage))?,
    })
}

fn task_sums(row: &PgRow) -> Result<TaskSums, sqlx::Error> {
    Ok(TaskSums {
        completed: row.try_get("completed")?,
        failed: row.try_get("failed")?,
        skipped: row.try_get("skipped")?,
        attempts: row.try_get("attempts")?,
        retries: row.try_get("retries")?,
        messages: row.try_get("messages")?,
        busy_seconds: row.try_get("busy_seconds")?,
    })
}

fn job_sums(row: &PgRow) -> Result<JobSums, sqlx::Error> {
    Ok(JobSums {
        completed: row.try_get("completed")?,
        failed: row.try_get("failed")?,
        cancelled: row.try_get("cancelled")?,
        timed_out: row.try_get("timed_out")?,
    })
}

fn metric(row: &PgRow) -> Result<Metric, sqlx::Error> {
    let metric: &str = row.try_get("metric")?;
    Metric::from_name(metric).ok_or_else(|| corrupt("metric", metric))
}

fn octave(row: &PgRow) -> Result<OctaveRow, sqlx::Error> {
    Ok(OctaveRow {
        octave: row.try_get("octave")?,
        samples: row.try_get("samples")?,
        total_ms: row.try_get("total_ms")?,
    })
}

fn bucket(row: &PgRow) -> Result<BucketRow, sqlx::Error> {
    Ok(BucketRow {
        metric: metric(row)?,
        bucket: row.try_get("bucket")?,
        samples: row.try_get("samples")?,
        total_ms: row.try_get("total_ms")?,
    })
}
