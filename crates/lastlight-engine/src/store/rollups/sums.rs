//! Reading the rollups: sums and histograms. By path and hour, for the comparison of the paths; of
//! all time, by path, job type and stage, for a scraper.

use std::time::Duration;

use time::OffsetDateTime;

use super::Rollups;
use crate::{
    model::{Metric, ProcessingPath, Stage},
    store::connection::DatabaseError,
};

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

/// A struct from a row's columns of the same names.
macro_rules! columns {
    ($row:ident, $type:ident { $($column:ident),+ }) => { $type { $($column: $row.$column),+ } };
}

macro_rules! task_sums {
    ($row:ident) => {
        columns!(
            $row,
            TaskSums { completed, failed, skipped, attempts, retries, messages, busy_seconds }
        )
    };
}

impl Rollups<'_> {
    /// The rollups of the hours from `since` on, of one job type or of all.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn since(
        self,
        since: OffsetDateTime,
        job_type: Option<&str>,
    ) -> Result<PathRollups, DatabaseError> {
        let pool = self.0.pool().await?;
        Ok(PathRollups {
            tasks: sqlx::query_file!("src/store/sql/task_rollups.sql", since, job_type)
                .map(|row| (row.path, task_sums!(row)))
                .fetch_all(pool)
                .await?,
            jobs: sqlx::query_file!("src/store/sql/job_rollups.sql", since, job_type)
                .map(|row| {
                    (row.path, columns!(row, JobSums { completed, failed, cancelled, timed_out }))
                })
                .fetch_all(pool)
                .await?,
            latencies: sqlx::query_file!("src/store/sql/latency_rollups.sql", since, job_type)
                .map(|row| {
                    (row.path, columns!(row, BucketRow { metric, bucket, samples, total_ms }))
                })
                .fetch_all(pool)
                .await?,
        })
    }

    /// The sums of all measurements so far, for a scraper's counters and histograms. A statement
    /// that takes longer than `within` is cancelled.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn totals(self, within: Duration) -> Result<RollupTotals, DatabaseError> {
        let mut reading = self.0.begin_bounded(within).await?;
        let key = |path, job_type, stage: Option<Stage>| RollupKey {
            path,
            job_type,
            stage: stage.map_or(0, Stage::get),
        };
        let tasks = sqlx::query_file!("src/store/sql/total_tasks.sql")
            .map(|row| (key(row.path, row.job_type, Some(row.stage)), task_sums!(row)))
            .fetch_all(&mut *reading)
            .await?;
        let jobs = sqlx::query_file!("src/store/sql/total_jobs.sql")
            .map(|row| {
                (
                    key(row.path, row.job_type, None),
                    columns!(row, JobSums { completed, failed, cancelled, timed_out }),
                )
            })
            .fetch_all(&mut *reading)
            .await?;
        let rows =
            sqlx::query_file!("src/store/sql/total_latencies.sql").fetch_all(&mut *reading).await?;
        reading.commit().await?;
        let mut latencies: Vec<(RollupKey, Metric, Vec<OctaveRow>)> = Vec::new();
        for row in rows {
            let octave = columns!(row, OctaveRow { octave, samples, total_ms });
            let key = key(row.path, row.job_type, row.stage);
            match latencies.last_mut() {
                Some((of, measured, octaves)) if (&*of, *measured) == (&key, row.metric) => {
                    octaves.push(octave)
                }
                _ => latencies.push((key, row.metric, vec![octave])),
            }
        }
        Ok(RollupTotals { tasks, jobs, latencies })
    }
}
