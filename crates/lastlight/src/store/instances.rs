//! The live processes with their running tasks, the progress in the queues, the unsent messages,
//! and the last sweep. For users, with one effect on the workflow: the sweep does not presume lost
//! a message that may still wait in a queue.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sqlx::Row;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, DatabaseError, MIGRATOR, PoolUse, RunningTask, StageKey, jobs::stage_of};
use crate::model::{JobId, Stage};

/// A process that reported within this time is alive: it reports at least every 30 seconds.
const ALIVE_SECONDS: f64 = 75.0;

/// Seconds for which a process's report of its running tasks is valid: it reports every two seconds
/// while any run.
const FRESH_SECONDS: f64 = 10.0;

/// Seconds without a report after which a process is removed.
const FORGOTTEN_SECONDS: f64 = 600.0;

/// Unsent messages and open jobs are counted up to this number.
pub(super) const MOST_COUNTED: i64 = 10_000;

/// A process of the app.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Generated when the process started.
    pub id: Uuid,
    pub version: String,
    pub started_at: OffsetDateTime,
    /// When it reported last.
    pub seen_at: OffsetDateTime,
    /// Time since it started, by the database's clock.
    pub up: Duration,
    /// Number of tasks that ran in it when it reported last.
    pub running: i64,
    pub pool: PoolUse,
}

/// The sweep that ended last.
#[derive(Debug, Clone, PartialEq)]
pub struct LastSweep {
    /// The process that swept.
    pub by: Uuid,
    pub finished_at: OffsetDateTime,
    /// Time since it ended, by the database's clock.
    pub age: Duration,
    /// Duration of the sweep.
    pub took: Duration,
    /// Its findings, by name.
    pub found: Value,
}

/// Unsent messages of running jobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Number of unsent batches of task messages, counted up to 10,000.
    pub batches: i64,
    pub job_messages: i64,
    /// Time since the oldest of them was written, or was last sent without effect.
    pub oldest: Option<Duration>,
}

/// The newest migration that this version knows, and the newest that has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersions {
    pub known: i64,
    pub applied: i64,
}

impl Database {
    /// Writes the report of a process: its id, its uptime, the number of tasks of each stage that
    /// run in it, and some of the tasks that began in it since its last report.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn report_instance(
        &self,
        id: Uuid,
        up: Duration,
        running: &[(StageKey, i32)],
        begun: &[RunningTask],
    ) -> Result<(), DatabaseError> {
        let begun_jobs: Vec<&str> = begun.iter().map(|task| task.job_id.as_str()).collect();
        let begun_stages: Vec<i16> = begun.iter().map(|task| i16::from(task.stage.get())).collect();
        let begun_tasks: Vec<&str> = begun.iter().map(|task| task.task_id.as_str()).collect();
        let jobs: Vec<&str> = running.iter().map(|(key, _)| key.job_id.as_str()).collect();
        let stages: Vec<i16> = running.iter().map(|(key, _)| i16::from(key.stage.get())).collect();
        let tasks: Vec<i32> = running.iter().map(|(_, tasks)| *tasks).collect();
        let pool = self.pool_use();
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        sqlx::query(include_str!("sql/report_instance.sql"))
            .bind(id)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(up.as_secs_f64())
            .bind(jobs)
            .bind(stages)
            .bind(tasks)
            .bind(whole(pool.open))
            .bind(whole(pool.in_use))
            .bind(whole(pool.limit))
            .bind(begun_jobs)
            .bind(begun_stages)
            .bind(begun_tasks)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Removes processes that have not reported for ten minutes; returns how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget_instances(&self) -> Result<u64, DatabaseError> {
        Ok(sqlx::query(include_str!("sql/forget_instances.sql"))
            .bind(FORGOTTEN_SECONDS)
            .execute(self.pool().await?)
            .await?
            .rows_affected())
    }

    /// The processes that are alive, oldest first.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn instances(&self) -> Result<Vec<Instance>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/instances.sql"))
            .bind(ALIVE_SECONDS)
            .fetch_all(self.pool().await?)
            .await?;
        let instances = rows.iter().map(|row| {
            let number = |name: &str| row.try_get::<i32, _>(name).map(i32::unsigned_abs);
            Ok::<_, sqlx::Error>(Instance {
                id: row.try_get("instance_id")?,
                version: row.try_get("version")?,
                started_at: row.try_get("started_at")?,
                seen_at: row.try_get("seen_at")?,
                up: seconds(row.try_get("up_seconds")?),
                running: row.try_get("running")?,
                pool: PoolUse {
                    open: number("pool_open")?,
                    in_use: number("pool_in_use")?,
                    limit: number("pool_limit")?,
                },
            })
        });
        Ok(instances.collect::<Result<_, _>>()?)
    }

    /// Number of tasks of a job that run now, by stage, as the processes reported in the last
    /// seconds; a stage that is missing has none. `None`: no process reports.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn running_in_stages(
        &self,
        job_id: &JobId,
    ) -> Result<Option<BTreeMap<Stage, i64>>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/running_in_stages.sql"))
            .bind(job_id.as_str())
            .bind(FRESH_SECONDS)
            .bind(ALIVE_SECONDS)
            .fetch_all(self.pool().await?)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut running = BTreeMap::new();
        for row in &rows {
            // The row without a stage stands for processes in which no task of the job runs.
            if row.try_get::<Option<i16>, _>("stage")?.is_some() {
                running.insert(stage_of(row, "stage")?, row.try_get("tasks")?);
            }
        }
        Ok(Some(running))
    }

    /// Records a sweep that has just ended, with its duration.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn record_sweep(
        &self,
        by: Uuid,
        took: Duration,
        found: &Value,
    ) -> Result<(), DatabaseError> {
        sqlx::query(include_str!("sql/record_sweep.sql"))
            .bind(by)
            .bind(took.as_secs_f64())
            .bind(found)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// The sweep that ended last; `None` if there was none yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn last_sweep(&self) -> Result<Option<LastSweep>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/last_sweep.sql"))
            .fetch_optional(self.pool().await?)
            .await?;
        let sweep = row.map(|row| {
            Ok::<_, sqlx::Error>(LastSweep {
                by: row.try_get("swept_by")?,
                finished_at: row.try_get("finished_at")?,
                age: seconds(row.try_get("age_seconds")?),
                took: seconds(row.try_get("took_seconds")?),
                found: row.try_get("found")?,
            })
        });
        Ok(sweep.transpose()?)
    }

    /// The unsent messages of running jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn backlog(&self) -> Result<Backlog, DatabaseError> {
        let row = sqlx::query(include_str!("sql/backlog.sql"))
            .bind(MOST_COUNTED)
            .fetch_one(self.pool().await?)
            .await?;
        Ok(Backlog {
            batches: row.try_get("batches")?,
            job_messages: row.try_get("job_messages")?,
            oldest: row.try_get::<Option<f64>, _>("oldest_seconds")?.map(seconds),
        })
    }

    /// The newest migration that has run, and the newest that this version knows.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn schema_versions(&self) -> Result<SchemaVersions, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/applied_migrations.sql"))
            .fetch_all(self.pool().await?)
            .await?;
        let mut applied = 0;
        for row in &rows {
            applied = applied.max(row.try_get("version")?);
        }
        let known = MIGRATOR.iter().map(|migration| migration.version).max();
        Ok(SchemaVersions { known: known.unwrap_or_default(), applied })
    }
}

/// A duration between two times of a clock; if the clock was set back in between, it is zero.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
