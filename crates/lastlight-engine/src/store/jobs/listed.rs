//! Lists of jobs for users: newest first, page by page.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{JobRecord, Jobs};
use crate::{
    model::{JobId, JobStatus, ProcessingPath, Stage, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{JobPosition, JsonText, LARGEST_PAGE, Page, StoredTrace, page_of},
        stages::StageRecord,
    },
};

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

impl Jobs<'_> {
    /// At most `limit` jobs after `after`, among the next `look` in the list.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list(
        self,
        filter: JobFilter<'_>,
        after: Option<JobPosition>,
        limit: u16,
        look: u32,
    ) -> Result<Page<ListedJob, JobPosition>, DatabaseError> {
        let pool = self.0.pool().await?;
        macro_rules! page {
            ($statement:literal $(, $more:expr)*) => {
                sqlx::query_file_as!(
                    JobRow,
                    $statement,
                    after.map(|position| position.created_at),
                    after.as_ref().map(|position| position.job_id.as_str()),
                    i32::from(filter.hours),
                    filter.job_type,
                    filter.path.map(ProcessingPath::as_str),
                    // One more than the limit, to find out whether there are more.
                    i64::from(limit) + 1,
                    i64::from(look),
                    LARGEST_PAGE as i64
                    $(, $more)*
                )
                .fetch_all(pool)
                .await?
            };
        }
        let rows = match filter.status {
            None => page!("src/store/sql/query_jobs.sql"),
            Some(status) => {
                page!("src/store/sql/query_jobs_by_status.sql", status.as_str(), filter.is_paused)
            }
        };
        let rows = rows.into_iter().map(|row| {
            let position = JobPosition { created_at: row.created_at, job_id: row.job_id };
            (row.place, position, row.job())
        });
        Ok(page_of(rows, limit, look))
    }
}

/// A row of a page: a job, or the position where the search stopped.
struct JobRow {
    place: i64,
    created_at: OffsetDateTime,
    job_id: JobId,
    job_type: Option<String>,
    status: Option<JobStatus>,
    stage: Option<Stage>,
    total_stages: Option<Stage>,
    parameters: Option<JsonText>,
    stage_results: Box<RawValue>,
    error_details: Option<String>,
    path: Option<ProcessingPath>,
    updated_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    deadline: Option<OffsetDateTime>,
    is_pause_requested: Option<bool>,
    paused_at: Option<OffsetDateTime>,
    definition_id: Option<String>,
    open_stages: Option<i16>,
    is_child: Option<bool>,
    trace: Option<TraceParent>,
    total: i64,
    completed: i64,
    failed: i64,
    skipped: i64,
}

impl JobRow {
    fn job(self) -> Option<ListedJob> {
        Some(ListedJob {
            job: JobRecord {
                job_id: self.job_id,
                job_type: self.job_type?,
                status: self.status?,
                stage: self.stage?,
                total_stages: self.total_stages?,
                parameters: self.parameters?.0,
                stage_results: self.stage_results,
                result_data: None,
                error_details: self.error_details,
                path: self.path?,
                created_at: self.created_at,
                updated_at: self.updated_at?,
                finished_at: self.finished_at,
                deadline: self.deadline,
                is_pause_requested: self.is_pause_requested?,
                paused_at: self.paused_at,
                definition_id: self.definition_id,
                open_stages: self.open_stages,
                is_child: self.is_child,
                is_purging: None,
                run: None,
                is_resubmitted: None,
                trace: self.trace,
            },
            totals: Totals {
                total: self.total,
                completed: self.completed,
                failed: self.failed,
                skipped: self.skipped,
            },
        })
    }
}
