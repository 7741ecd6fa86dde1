//! The live processes with their running tasks, the progress in the queues, the unsent messages,
//! and the last sweep. For users, with one effect on the workflow: the sweep does not presume lost
//! a message that may still wait in a queue.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Diagnostics, MOST_COUNTED};
use crate::{
    model::{JobId, Stage},
    store::{
        connection::{DatabaseError, MIGRATOR, PoolUse},
        rows::{RunningTask, Seconds, StageKey},
    },
};

/// A process that reported within this time is alive: it reports at least every 30 seconds.
const ALIVE_SECONDS: f64 = 75.0;

/// Seconds for which a process's report of its running tasks is valid: it reports every two seconds
/// while any run.
const FRESH_SECONDS: f64 = 10.0;

/// Seconds without a report after which a process is removed.
const FORGOTTEN_SECONDS: f64 = 600.0;

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

impl Diagnostics<'_> {
    /// Writes the report of a process: its id, its uptime, the number of tasks of each stage that
    /// run in it, some of the tasks that began in it since its last report, and whether it has an archive.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn report_instance(
        self,
        id: Uuid,
        up: Duration,
        running: &[(StageKey, i32)],
        begun: &[RunningTask],
        archives: bool,
    ) -> Result<(), DatabaseError> {
        let begun_jobs: Vec<&str> = begun.iter().map(|task| task.job_id.as_str()).collect();
        let begun_stages: Vec<i16> = begun.iter().map(|task| task.stage.number()).collect();
        let begun_tasks: Vec<&str> = begun.iter().map(|task| task.task_id.as_str()).collect();
        let jobs: Vec<&str> = running.iter().map(|(key, _)| key.job_id.as_str()).collect();
        let stages: Vec<i16> = running.iter().map(|(key, _)| key.stage.number()).collect();
        let tasks: Vec<i32> = running.iter().map(|(_, tasks)| *tasks).collect();
        let pool = self.0.pool_use();
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        sqlx::query_file!(
            "src/store/sql/report_instance.sql",
            id,
            env!("CARGO_PKG_VERSION"),
            up.as_secs_f64(),
            &jobs as _,
            &stages,
            &tasks,
            whole(pool.open),
            whole(pool.in_use),
            whole(pool.limit),
            &begun_jobs as _,
            &begun_stages,
            &begun_tasks as _,
            archives,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Removes processes that have not reported for ten minutes; returns how many.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget_instances(self) -> Result<u64, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/forget_instances.sql", FORGOTTEN_SECONDS)
            .execute(self.0.pool().await?)
            .await?
            .rows_affected())
    }

    /// The processes that are alive, oldest first.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn instances(self) -> Result<Vec<Instance>, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/instances.sql", ALIVE_SECONDS)
            .map(|row| Instance {
                id: row.instance_id,
                version: row.version,
                started_at: row.started_at,
                seen_at: row.seen_at,
                up: row.up.into(),
                running: row.running,
                pool: PoolUse {
                    open: row.pool_open.unsigned_abs(),
                    in_use: row.pool_in_use.unsigned_abs(),
                    limit: row.pool_limit.unsigned_abs(),
                },
            })
            .fetch_all(self.0.pool().await?)
            .await?)
    }

    /// Number of tasks of a job that run now, by stage, as the processes reported in the last
    /// seconds; a stage that is missing has none. `None`: no process reports.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn running_in_stages(
        self,
        job_id: &JobId,
    ) -> Result<Option<BTreeMap<Stage, i64>>, DatabaseError> {
        let rows = sqlx::query_file!(
            "src/store/sql/running_in_stages.sql",
            job_id.as_str(),
            FRESH_SECONDS,
            ALIVE_SECONDS,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        // The row without a stage stands for processes in which no task of the job runs.
        let running = rows.iter().filter_map(|row| row.stage.zip(row.tasks));
        Ok((!rows.is_empty()).then(|| running.collect()))
    }

    /// Records a sweep that has just ended, with its duration.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn record_sweep(
        self,
        by: Uuid,
        took: Duration,
        found: &Value,
    ) -> Result<(), DatabaseError> {
        sqlx::query_file!("src/store/sql/record_sweep.sql", by, took.as_secs_f64(), found)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }

    /// The sweep that ended last; `None` if there was none yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn last_sweep(self) -> Result<Option<LastSweep>, DatabaseError> {
        Ok(sqlx::query_file_as!(LastSweep, "src/store/sql/last_sweep.sql")
            .fetch_optional(self.0.pool().await?)
            .await?)
    }

    /// The unsent messages of running jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn backlog(self) -> Result<Backlog, DatabaseError> {
        Ok(sqlx::query_file!("src/store/sql/backlog.sql", MOST_COUNTED)
            .map(|row| Backlog {
                batches: row.batches,
                job_messages: row.job_messages,
                oldest: row.oldest.map(Duration::from),
            })
            .fetch_one(self.0.pool().await?)
            .await?)
    }

    /// The newest migration that has run, and the newest that this version knows.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn schema_versions(self) -> Result<SchemaVersions, DatabaseError> {
        let rows = sqlx::query_file!("src/store/sql/applied_migrations.sql")
            .fetch_all(self.0.pool().await?)
            .await?;
        let applied = rows.iter().map(|row| row.version).max();
        let known = MIGRATOR.iter().map(|migration| migration.version).max();
        Ok(SchemaVersions {
            known: known.unwrap_or_default(),
            applied: applied.unwrap_or_default(),
        })
    }
}
