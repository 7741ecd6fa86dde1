//! The recorder: reads the jobs' rows from the database, and a log of every status change, which
//! its own triggers keep. It reads; the [`oracle`](crate::oracle) judges.

mod graph;

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use serde_json::Value;
use sqlx::{
    ConnectOptions, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

pub use graph::{GraphFacts, NodeChange, NodeFacts};

use crate::ledger::TaskKey;
use lastlight_engine::model::{JobStatus, TaskStatus};

/// One write of a task's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskWrite {
    /// The old status; `None`: the row was inserted.
    pub from: Option<TaskStatus>,
    /// The new status; `None`: the row was deleted.
    pub to: Option<TaskStatus>,
    /// Number of attempts begun by then, including this one.
    pub attempt: u32,
    /// It is the first attempt of a worker's claim of a batch, which the task did not count before.
    pub of_a_claim: bool,
    /// Microseconds since 1970, by the database's clock.
    pub at: i64,
}

/// One write of a job's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobWrite {
    /// The old status; `None`: the row was inserted.
    pub from: Option<JobStatus>,
    /// The new status; `None`: the row was deleted.
    pub to: Option<JobStatus>,
    /// Microseconds since 1970.
    pub at: i64,
}

/// The current state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskFacts {
    pub status: TaskStatus,
    pub attempt: u32,
}

/// The current state of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageFacts {
    /// Its counters: total, completed, failed, skipped.
    pub counters: [i64; 4],
    /// The stage is completely planned.
    pub is_planned: bool,
    pub is_finished: bool,
    /// Counts of the audit: deliveries that found nothing to do, and ends of attempts that came too
    /// late.
    pub ignored: [i64; 2],
    /// Each time that the stage was advanced (`true`) or reopened (`false`).
    pub advances: Vec<bool>,
}

/// The current state of a job, with all that happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFacts {
    pub status: JobStatus,
    /// The current stage, or the stage in which the job ended.
    pub stage: u8,
    /// Seconds from its submission to its end, or until now.
    pub seconds: f64,
    /// The reason, if it failed.
    pub error: Option<String>,
    /// The summaries by stage.
    pub stage_results: Value,
    pub stages: BTreeMap<u8, StageFacts>,
    /// The rows of its tasks.
    pub tasks: BTreeMap<TaskKey, TaskFacts>,
    /// The status changes of each task in order, including tasks whose rows were deleted.
    pub writes: BTreeMap<TaskKey, Vec<TaskWrite>>,
    /// The status changes of the job in order.
    pub job_writes: Vec<JobWrite>,
    /// Task indexes that the job type `chaos` does not use.
    pub strangers: Vec<String>,
}

/// The number of finished tasks and of open jobs in a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tasks with an outcome.
    pub done: u64,
    /// Jobs that are not finished, or that have open stages.
    pub open_jobs: u64,
}

/// Reads one database, beside the handlers.
#[derive(Debug, Clone)]
pub struct Recorder {
    pool: PgPool,
}

impl Recorder {
    /// A recorder of the database at `url`. It connects when it is first used, and again after a
    /// restart.
    ///
    /// # Errors
    /// The URL cannot be parsed.
    pub fn new(url: &str) -> Result<Self, sqlx::Error> {
        let options =
            PgConnectOptions::from_str(url)?.application_name("chaos").disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// The connection pool, for queries of the scenarios.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Installs the triggers. The migrations must have run, and nothing else.
    ///
    /// # Errors
    /// The triggers could not be created.
    pub async fn install(&self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(include_str!("recorder/recorder.sql")).execute(&self.pool).await?;
        Ok(())
    }

    /// The progress of all jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn progress(&self) -> Result<Progress, sqlx::Error> {
        let row = sqlx::query(
            "SELECT (SELECT COALESCE(sum(completed + failed + skipped), 0)::bigint FROM app.stages) AS done,
                    (SELECT count(*) FROM app.jobs j
                     WHERE j.finished_at IS NULL
                        OR EXISTS (SELECT FROM app.stages s WHERE s.job_id = j.job_id AND s.advanced_at IS NULL))
                    AS open",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Progress {
            done: row.try_get::<i64, _>("done")?.unsigned_abs(),
            open_jobs: row.try_get::<i64, _>("open")?.unsigned_abs(),
        })
    }

    /// Everything about one job; `None` if there is no such job.
    ///
    /// # Errors
    /// A statement failed, or a status is unknown.
    pub async fn job(&self, job_id: &str) -> Result<Option<JobFacts>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT status::text, stage, stage_results, error_details,
                    EXTRACT(EPOCH FROM COALESCE(finished_at, now()) - created_at)::float8 AS seconds
             FROM app.jobs WHERE job_id = $1",
        )
        .bind(job_id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut facts = JobFacts {
            status: job_status(&row, "status")?.ok_or(sqlx::Error::RowNotFound)?,
            stage: number(row.try_get("stage")?),
            seconds: row.try_get("seconds")?,
            error: row.try_get("error_details")?,
            stage_results: row.try_get("stage_results")?,
            stages: self.stages(job_id).await?,
            tasks: BTreeMap::new(),
            writes: BTreeMap::new(),
            job_writes: self.job_writes(job_id).await?,
            strangers: Vec::new(),
        };
        self.tasks(job_id, &mut facts).await?;
        Ok(Some(facts))
    }

    async fn stages(&self, job_id: &str) -> Result<BTreeMap<u8, StageFacts>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT stage, total, completed, failed, skipped, planned_at IS NOT NULL AS planned,
                    advanced_at IS NOT NULL AS over, duplicates, stale,
                    ARRAY(SELECT a.advanced FROM chaos.advances a
                          WHERE a.job_id = s.job_id AND a.stage = s.stage ORDER BY a.number) AS advances
             FROM app.stages s WHERE job_id = $1",
        )
        .bind(job_id)
        .fetch_all(&self.pool)
        .await?;
        let stages = rows.iter().map(|row| {
            let facts = StageFacts {
                counters: [
                    row.try_get("total")?,
                    row.try_get("completed")?,
                    row.try_get("failed")?,
                    row.try_get("skipped")?,
                ],
                is_planned: row.try_get("planned")?,
                is_finished: row.try_get("over")?,
                ignored: [row.try_get("duplicates")?, row.try_get("stale")?],
                advances: row.try_get("advances")?,
            };
            Ok((number(row.try_get("stage")?), facts))
        });
        stages.collect()
    }

    async fn tasks(&self, job_id: &str, facts: &mut JobFacts) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT stage, task_index, status::text, attempt FROM app.tasks WHERE parent_job_id = $1",
        )
        .bind(job_id)
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let Some(key) = key(row)? else {
                facts.strangers.push(row.try_get("task_index")?);
                continue;
            };
            let task = TaskFacts {
                status: task_status(row, "status")?.ok_or(sqlx::Error::RowNotFound)?,
                attempt: row.try_get::<i16, _>("attempt")?.unsigned_abs().into(),
            };
            facts.tasks.insert(key, task);
        }
        let rows = sqlx::query(
            "SELECT stage, task_index, old_status, new_status, attempt, of_a_claim,
                    (EXTRACT(EPOCH FROM at) * 1000000)::bigint AS at
             FROM chaos.task_writes WHERE job_id = $1 ORDER BY number",
        )
        .bind(job_id)
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let Some(key) = key(row)? else { continue };
            facts.writes.entry(key).or_default().push(TaskWrite {
                from: task_status(row, "old_status")?,
                to: task_status(row, "new_status")?,
                attempt: row.try_get::<i16, _>("attempt")?.unsigned_abs().into(),
                of_a_claim: row.try_get("of_a_claim")?,
                at: row.try_get("at")?,
            });
        }
        Ok(())
    }

    async fn job_writes(&self, job_id: &str) -> Result<Vec<JobWrite>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT old_status, new_status, (EXTRACT(EPOCH FROM at) * 1000000)::bigint AS at
             FROM chaos.job_writes WHERE job_id = $1 ORDER BY number",
        )
        .bind(job_id)
        .fetch_all(&self.pool)
        .await?;
        let writes = rows.iter().map(|row| {
            Ok(JobWrite {
                from: job_status(row, "old_status")?,
                to: job_status(row, "new_status")?,
                at: row.try_get("at")?,
            })
        });
        writes.collect()
    }
}

/// Stage numbers are small and positive.
fn number(stage: i16) -> u8 {
    u8::try_from(stage).unwrap_or(u8::MAX)
}

fn key(row: &PgRow) -> Result<Option<TaskKey>, sqlx::Error> {
    let index: &str = row.try_get("task_index")?;
    let task = index.strip_prefix("t-").and_then(|number| number.parse().ok());
    let stage = number(row.try_get("stage")?);
    Ok(task.map(|task| (stage, task)))
}

fn task_status(row: &PgRow, column: &str) -> Result<Option<TaskStatus>, sqlx::Error> {
    known(row.try_get(column)?, TaskStatus::from_name)
}

fn job_status(row: &PgRow, column: &str) -> Result<Option<JobStatus>, sqlx::Error> {
    known(row.try_get(column)?, JobStatus::from_name)
}

fn known<T>(
    name: Option<&str>,
    from_name: fn(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    name.map(|name| {
        from_name(name)
            .ok_or_else(|| sqlx::Error::Decode(format!("{name:?} is not a known status").into()))
    })
    .transpose()
}
