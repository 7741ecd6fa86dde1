//! Lists of jobs for users: newest first, page by page.
//!
//! A page examines a bounded number of rows, however few of them match its filter, and returns the
//! position where it stopped.

use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError, JobRecord, StageRecord,
    jobs::{job_id_of, job_record},
};
use crate::model::{JobId, JobStatus, ProcessingPath};

/// Maximum size of a page's content in bytes; a page has at least one row, however large.
pub const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// A job's position in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPosition {
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    pub job_id: JobId,
}

/// Which jobs to list. A field that is `None` does not restrict the list.
#[derive(Debug, Clone, Copy)]
pub struct JobFilter<'a> {
    /// Only jobs that were submitted in the last N hours.
    pub hours: u16,
    /// Only jobs of this status.
    pub status: Option<JobStatus>,
    /// Only paused jobs. They are all `queued`, so there are none with another status.
    pub is_paused: bool,
    /// Only jobs of this type.
    pub job_type: Option<&'a str>,
    /// Only jobs of this path.
    pub path: Option<ProcessingPath>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<Row, Position> {
    pub rows: Vec<Row>,
    /// Number of rows that were examined.
    pub looked_at: u64,
    /// Position after which the list continues, if there may be more.
    pub next: Option<Position>,
}

/// Number of tasks of a job by outcome, over its stages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub total: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
}

impl Totals {
    /// Tasks without an outcome.
    pub fn open(&self) -> i64 {
        self.total - self.completed - self.failed - self.skipped
    }

    /// The sum over `stages`.
    pub fn of<'a>(stages: impl Iterator<Item = &'a StageRecord>) -> Self {
        stages.fold(Self::default(), |sum, stage| Self {
            total: sum.total + stage.total,
            completed: sum.completed + stage.completed,
            failed: sum.failed + stage.failed,
            skipped: sum.skipped + stage.skipped,
        })
    }
}

/// A job in a list, without its result and those of its stages.
#[derive(Debug, Clone)]
pub struct ListedJob {
    pub job: JobRecord,
    /// Its tasks by outcome.
    pub totals: Totals,
}

impl Database {
    /// At most `limit` jobs after `after`, among the next `look` in the list.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list_jobs(
        &self,
        filter: JobFilter<'_>,
        after: Option<JobPosition>,
        limit: u16,
        look: u32,
    ) -> Result<Page<ListedJob, JobPosition>, DatabaseError> {
        let statement = match filter.status {
            None => sqlx::query(include_str!("sql/query_jobs.sql")),
            Some(_) => sqlx::query(include_str!("sql/query_jobs_by_status.sql")),
        };
        // One more than the limit, to find out whether there are more.
        let mut statement = statement
            .bind(after.map(|position| position.created_at))
            .bind(after.map(|position| position.job_id.as_str().to_owned()))
            .bind(i32::from(filter.hours))
            .bind(filter.job_type)
            .bind(filter.path.map(ProcessingPath::as_str))
            .bind(i64::from(limit) + 1)
            .bind(i64::from(look))
            .bind(LARGEST_PAGE as i64);
        if let Some(status) = filter.status {
            statement = statement.bind(status.as_str()).bind(filter.is_paused);
        }
        let rows = statement.fetch_all(self.pool().await?).await?;
        let position = |row: &PgRow| {
            Ok::<_, sqlx::Error>(JobPosition {
                created_at: row.try_get("key_created_at")?,
                job_id: job_id_of(row, "key_job_id")?,
            })
        };
        Ok(page_of(&rows, "is_job", limit, look, listed_job, position)?)
    }
}

fn listed_job(row: &PgRow) -> Result<ListedJob, sqlx::Error> {
    Ok(ListedJob {
        job: job_record(row)?,
        totals: Totals {
            total: row.try_get("total")?,
            completed: row.try_get("completed")?,
            failed: row.try_get("failed")?,
            skipped: row.try_get("skipped")?,
        },
    })
}

/// Reads a page whose statement asked for one row more than `limit` and, if it found fewer, ends
/// with a row for the position where the search stopped. That row is missing if rows were left out
/// because they are too large for one page.
pub(super) fn page_of<T, P>(
    rows: &[PgRow],
    is_content: &'static str,
    limit: u16,
    look: u32,
    read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    position: impl Fn(&PgRow) -> Result<P, sqlx::Error>,
) -> Result<Page<T, P>, sqlx::Error> {
    let place = |row: &PgRow| {
        row.try_get::<i64, _>("place").map(|place| u64::try_from(place).unwrap_or_default())
    };
    let (rows, stop) = match rows.split_last() {
        Some((last, before)) if !last.try_get::<bool, _>(is_content)? => (before, Some(last)),
        _ => (rows, None),
    };
    let kept = &rows[..rows.len().min(usize::from(limit))];
    let (looked_at, next) = match (stop, kept.last()) {
        (Some(stop), _) => {
            let looked_at = place(stop)?;
            (looked_at, (looked_at >= u64::from(look)).then(|| position(stop)))
        }
        (None, Some(last)) => (place(last)?, Some(position(last))),
        (None, None) => (0, None),
    };
    Ok(Page {
        rows: kept.iter().map(read).collect::<Result<_, _>>()?,
        looked_at,
        next: next.transpose()?,
    })
}
