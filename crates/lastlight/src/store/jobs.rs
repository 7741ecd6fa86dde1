//! Jobs and their stages: storing a submission, and reading them.

use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow, types::Json};
use time::OffsetDateTime;

use super::{Database, DatabaseError, StageKey};
use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, JobVersion, ProcessingPath, Stage, TraceParent},
};

/// A submission that passed all checks.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Hash of the job type and the parameters.
    pub job_id: &'a JobId,
    /// Its name in the catalog.
    pub job_type: &'a str,
    /// Number of stages that it will have.
    pub total_stages: Stage,
    /// The parameters with their defaults, as JSON.
    pub parameters: &'a str,
    /// Chosen at submission, never changed.
    pub path: ProcessingPath,
    /// Seconds until the job fails unless it is finished.
    pub deadline_seconds: f64,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

/// A job as stored.
#[derive(Debug, Clone)]
pub struct JobRecord {
    pub job_id: JobId,
    /// Its name in the catalog.
    pub job_type: String,
    pub status: JobStatus,
    /// The stage that runs or is next.
    pub stage: Stage,
    /// Number of its stages.
    pub total_stages: Stage,
    /// The parameters with their defaults.
    pub parameters: Box<RawValue>,
    /// One summary per ended stage, keyed by the number of the stage.
    pub stage_results: Box<RawValue>,
    /// The final result, once there is one.
    pub result_data: Option<Box<RawValue>>,
    /// Why it failed, if it did.
    pub error_details: Option<String>,
    pub path: ProcessingPath,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    /// When its row changed last.
    pub updated_at: OffsetDateTime,
    /// When it finished.
    pub finished_at: Option<OffsetDateTime>,
    /// When it fails unless it is finished.
    pub deadline: Option<OffsetDateTime>,
    /// Whether it is to pause at the end of its stage.
    pub is_pause_requested: bool,
    /// Since when it is paused, if it is.
    pub paused_at: Option<OffsetDateTime>,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

impl JobRecord {
    /// The stage that runs or is next.
    pub fn key(&self) -> StageKey {
        StageKey { job_id: self.job_id, stage: self.stage }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRecord {
    pub stage: Stage,
    /// Tasks written so far; all of them once `planned_at` is set.
    pub total: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
    /// Tasks whose messages are not sent yet.
    pub unsent: i64,
    /// When its row was written.
    pub created_at: OffsetDateTime,
    /// When its last task was written.
    pub planned_at: Option<OffsetDateTime>,
    /// When it was advanced or closed.
    pub advanced_at: Option<OffsetDateTime>,
    /// When this was read, by the database's clock.
    pub read_at: OffsetDateTime,
}

impl StageRecord {
    /// Tasks with an outcome.
    pub fn done(&self) -> i64 {
        self.completed + self.failed + self.skipped
    }

    pub fn open(&self) -> i64 {
        self.total - self.done()
    }

    /// Outcomes per second, from the stage's start to its end, or until it was read. `None`
    /// before the first completed or failed task.
    pub fn rate(&self) -> Option<f64> {
        let seconds = (self.advanced_at.unwrap_or(self.read_at) - self.created_at).as_seconds_f64();
        let ran = self.completed + self.failed;
        (ran > 0 && seconds > 0.0).then(|| ran as f64 / seconds)
    }

    /// Seconds until the stage's end at its rate so far. `None` before the first outcome, and while
    /// the number of its tasks is not known.
    pub fn seconds_left(&self) -> Option<f64> {
        self.planned_at?;
        if self.advanced_at.is_some() {
            return Some(0.0);
        }
        self.rate().map(|rate| self.open() as f64 / rate)
    }
}

/// Whether a job is finished, and the version of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPulse {
    /// Whether the job is finished.
    pub is_finished: bool,
    /// Changes whenever something happens to the job.
    pub version: JobVersion,
}

impl Database {
    /// Stores a job, its first stage and its unsent job message; `false` if the job exists already,
    /// in which case nothing was written. `grace_seconds`: how long only the caller may send the
    /// message.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn insert_job(
        &self,
        job: NewJob<'_>,
        grace_seconds: f64,
    ) -> Result<bool, DatabaseError> {
        failpoint!("submit.before_commit", Err(DatabaseError::lost()));
        let is_new = sqlx::query_scalar(include_str!("sql/insert_job.sql"))
            .bind(job.job_id.as_str())
            .bind(job.job_type)
            .bind(i16::from(job.total_stages.get()))
            .bind(job.parameters)
            .bind(job.path.as_str())
            .bind(grace_seconds)
            .bind(job.deadline_seconds)
            .bind(job.trace.as_ref().map(TraceParent::as_str))
            .fetch_one(self.pool().await?)
            .await?;
        failpoint!("submit.after_commit", Err(DatabaseError::lost()));
        Ok(is_new)
    }

    /// The job with this id, if it exists.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_job(&self, job_id: &JobId) -> Result<Option<JobRecord>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/get_job.sql"))
            .bind(job_id.as_str())
            .fetch_optional(self.pool().await?)
            .await?;
        Ok(row.as_ref().map(job_record).transpose()?)
    }

    /// The version of a job's state, from a few rows. `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn job_pulse(&self, job_id: &JobId) -> Result<Option<JobPulse>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/job_pulse.sql"))
            .bind(job_id.as_str())
            .fetch_optional(self.pool().await?)
            .await?;
        let pulse = |row: &PgRow| {
            Ok::<_, sqlx::Error>(JobPulse {
                is_finished: row.try_get("over")?,
                version: JobVersion::of_hash(row.try_get("version")?),
            })
        };
        Ok(row.as_ref().map(pulse).transpose()?)
    }

    /// The job's stages so far, in order.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get_stages(&self, job_id: &JobId) -> Result<Vec<StageRecord>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/get_stages.sql"))
            .bind(job_id.as_str())
            .fetch_all(self.pool().await?)
            .await?;
        Ok(rows.iter().map(stage_record).collect::<Result<_, _>>()?)
    }
}

/// Replaces NUL, the only character that PostgreSQL's `text` cannot contain.
pub(super) fn without_nul(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// The error for a value in a row that lastlight cannot have written.
pub(super) fn corrupt(column: &'static str, value: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: format!(
            "{value:?} is not a value that lastlight writes",
            value = value.to_string()
        )
        .into(),
    }
}

pub(super) fn stage_of(row: &PgRow, column: &'static str) -> Result<Stage, sqlx::Error> {
    let number: i16 = row.try_get(column)?;
    u8::try_from(number)
        .ok()
        .and_then(|number| Stage::try_from(number).ok())
        .ok_or_else(|| corrupt(column, number))
}

pub(super) fn job_id_of(row: &PgRow, column: &'static str) -> Result<JobId, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| corrupt(column, text))
}

pub(super) fn path_of(row: &PgRow, column: &'static str) -> Result<ProcessingPath, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    ProcessingPath::from_name(text).ok_or_else(|| corrupt(column, text))
}

/// The job's trace; `None` if it is invalid.
pub(super) fn trace_of(row: &PgRow) -> Result<Option<TraceParent>, sqlx::Error> {
    let text: Option<&str> = row.try_get("traceparent")?;
    Ok(text.and_then(TraceParent::read))
}

pub(super) fn json_of(row: &PgRow, column: &'static str) -> Result<Box<RawValue>, sqlx::Error> {
    Ok(row.try_get::<Json<Box<RawValue>>, _>(column)?.0)
}

pub(super) fn optional_json_of(
    row: &PgRow,
    column: &'static str,
) -> Result<Option<Box<RawValue>>, sqlx::Error> {
    Ok(row.try_get::<Option<Json<Box<RawValue>>>, _>(column)?.map(|json| json.0))
}

pub(super) fn job_record(row: &PgRow) -> Result<JobRecord, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    Ok(JobRecord {
        job_id: job_id_of(row, "job_id")?,
        job_type: row.try_get("job_type")?,
        status: JobStatus::from_name(status).ok_or_else(|| corrupt("status", status))?,
        stage: stage_of(row, "stage")?,
        total_stages: stage_of(row, "total_stages")?,
        parameters: json_of(row, "parameters")?,
        stage_results: json_of(row, "stage_results")?,
        result_data: optional_json_of(row, "result_data")?,
        error_details: row.try_get("error_details")?,
        path: path_of(row, "processing_path")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        finished_at: row.try_get("finished_at")?,
        deadline: row.try_get("deadline")?,
        is_pause_requested: row.try_get("pause_requested")?,
        paused_at: row.try_get("paused_at")?,
        trace: trace_of(row)?,
    })
}

fn stage_record(row: &PgRow) -> Result<StageRecord, sqlx::Error> {
    Ok(StageRecord {
        stage: stage_of(row, "stage")?,
        total: row.try_get("total")?,
        completed: row.try_get("completed")?,
        failed: row.try_get("failed")?,
        skipped: row.try_get("skipped")?,
        unsent: row.try_get("owed")?,
        created_at: row.try_get("created_at")?,
        planned_at: row.try_get("planned_at")?,
        advanced_at: row.try_get("advanced_at")?,
        read_at: row.try_get("read_at")?,
    })
}
