//! Lists of jobs for users: newest first, page by page.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{JobRecord, Jobs};
use crate::{
    model::{JobId, JobStatus, Labels, ProcessingPath, Stage, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{JobPosition, JsonText, LARGEST_PAGE, Page, StoredLabels, StoredTrace, page_of},
        stages::StageRecord,
    },
};

/// Which jobs to list. A field that is `None` does not restrict the list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter<'a> {
    /// Only jobs that were submitted since then.
    pub since: Since,
    /// Only jobs that were submitted before this time.
    pub until: Option<OffsetDateTime>,
    /// Only jobs of this status.
    pub status: Option<JobStatus>,
    /// Only paused jobs. They are all `queued`, so there are none with another status.
    pub is_paused: bool,
    /// Only jobs of this type.
    pub job_type: Option<&'a str>,
    /// Only jobs of this path.
    pub path: Option<ProcessingPath>,
}

/// From when on to list jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Since {
    /// The last N hours by the database's clock.
    Hours(u16),
    Time(OffsetDateTime),
    /// The oldest job.
    #[default]
    Ever,
}

impl Since {
    pub(super) fn hours(self) -> i32 {
        match self {
            Self::Hours(hours) => hours.into(),
            Self::Time(_) | Self::Ever => 0,
        }
    }

    /// A time, which counts in place of the hours.
    pub(super) fn time(self) -> Option<OffsetDateTime> {
        match self {
            Self::Hours(_) => None,
            Self::Time(time) => Some(time),
            Self::Ever => Some(OffsetDateTime::UNIX_EPOCH),
        }
    }
}

impl JobFilter<'_> {
    /// The key after which a list continues: that of the last job of the page before, or the end of the
    /// time in question. The id of the latter is null, which is less than all ids.
    pub(super) fn start<'p>(
        &self,
        after: Option<&'p JobPosition>,
    ) -> (Option<OffsetDateTime>, Option<&'p str>) {
        match (self.until, after) {
            (Some(until), Some(after)) if after.created_at >= until => (Some(until), None),
            (_, Some(after)) => (Some(after.created_at), Some(after.job_id.as_str())),
            (until, None) => (until, None),
        }
    }
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
        let (created_at, job_id) = filter.start(after.as_ref());
        macro_rules! page {
            ($statement:literal $(, $more:expr)*) => {
                sqlx::query_file_as!(
                    JobRow,
                    $statement,
                    created_at,
                    job_id,
                    filter.since.hours(),
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
            None => page!("src/store/sql/query_jobs.sql", filter.since.time()),
            Some(status) => {
                page!(
                    "src/store/sql/query_jobs_by_status.sql",
                    status.as_str(),
                    filter.is_paused,
                    filter.since.time()
                )
            }
        };
        let rows = rows.into_iter().map(|row| {
            let position = JobPosition { created_at: row.created_at, job_id: row.job_id };
            (row.place, position, row.job())
        });
        Ok(page_of(rows, limit, look))
    }

    /// The jobs at these positions; those that were deleted meanwhile are left out. Of jobs that are
    /// too large for one page only the first ones.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn at(self, positions: &[JobPosition]) -> Result<Vec<ListedJob>, DatabaseError> {
        let ids: Vec<&str> = positions.iter().map(|position| position.job_id.as_str()).collect();
        let rows = sqlx::query_file_as!(
            ListedRow,
            "src/store/sql/jobs_in_list.sql",
            &ids as _,
            LARGEST_PAGE as i64,
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        Ok(rows.into_iter().map(ListedJob::from).collect())
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
    labels: Labels,
    trace: Option<TraceParent>,
    total: i64,
    completed: i64,
    failed: i64,
    skipped: i64,
}

/// A job in a list.
struct ListedRow {
    created_at: OffsetDateTime,
    job_id: JobId,
    job_type: String,
    status: JobStatus,
    stage: Stage,
    total_stages: Stage,
    parameters: JsonText,
    stage_results: Box<RawValue>,
    error_details: Option<String>,
    path: ProcessingPath,
    updated_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
    deadline: Option<OffsetDateTime>,
    is_pause_requested: bool,
    paused_at: Option<OffsetDateTime>,
    definition_id: Option<String>,
    open_stages: Option<i16>,
    is_child: Option<bool>,
    labels: Labels,
    trace: Option<TraceParent>,
    total: i64,
    completed: i64,
    failed: i64,
    skipped: i64,
}

impl JobRow {
    fn job(self) -> Option<ListedJob> {
        let row = ListedRow {
            created_at: self.created_at,
            job_id: self.job_id,
            job_type: self.job_type?,
            status: self.status?,
            stage: self.stage?,
            total_stages: self.total_stages?,
            parameters: self.parameters?,
            stage_results: self.stage_results,
            error_details: self.error_details,
            path: self.path?,
            updated_at: self.updated_at?,
            finished_at: self.finished_at,
            deadline: self.deadline,
            is_pause_requested: self.is_pause_requested?,
            paused_at: self.paused_at,
            definition_id: self.definition_id,
            open_stages: self.open_stages,
            is_child: self.is_child,
            labels: self.labels,
            trace: self.trace,
            total: self.total,
            completed: self.completed,
            failed: self.failed,
            skipped: self.skipped,
        };
        Some(row.into())
    }
}

impl From<ListedRow> for ListedJob {
    fn from(row: ListedRow) -> Self {
        Self {
            job: JobRecord {
                job_id: row.job_id,
                job_type: row.job_type,
                status: row.status,
                stage: row.stage,
                total_stages: row.total_stages,
                parameters: row.parameters.0,
                stage_results: row.stage_results,
                result_data: None,
                error_details: row.error_details,
                path: row.path,
                created_at: row.created_at,
                updated_at: row.updated_at,
                finished_at: row.finished_at,
                deadline: row.deadline,
                is_pause_requested: row.is_pause_requested,
                paused_at: row.paused_at,
                definition_id: row.definition_id,
                open_stages: row.open_stages,
                is_child: row.is_child,
                is_purging: None,
                run: None,
                is_resubmitted: None,
                labels: row.labels,
                trace: row.trace,
            },
            totals: Totals {
                total: row.total,
                completed: row.completed,
                failed: row.failed,
                skipped: row.skipped,
            },
        }
    }
}
