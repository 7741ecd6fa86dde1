//! Searches for jobs by terms and by the beginning of a word: positions in the list of all jobs, read in
//! the order of one of several indexes. Which one is best, the caller decides by the estimates.

use time::OffsetDateTime;

use super::{JobFilter, Jobs};
use crate::{
    model::{JobId, Prefix, ProcessingPath, Term},
    store::{
        connection::DatabaseError,
        rows::{JobPosition, Page, page_of},
    },
};

/// What jobs to find, beside the filter of the list.
#[derive(Debug, Clone, Copy)]
pub struct JobSearch<'a> {
    pub filter: JobFilter<'a>,
    /// The terms that the jobs have.
    pub terms: &'a [Term],
    /// What their id, their type or a value of a label begins with.
    pub prefix: Option<&'a Prefix>,
}

/// What a search reads one after the other; the other conditions are checked for each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The jobs with one of the terms, by its place.
    Term(usize),
    /// The jobs of the filter's status.
    Status,
    /// All jobs that the prefix finds, which must be few.
    Prefix,
    /// All jobs.
    Time,
}

/// How many jobs a search would read, counted up to a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchEstimates {
    /// With each of the terms.
    pub terms: Vec<i64>,
    /// Of the status; `None` without one.
    pub status: Option<i64>,
    /// That the prefix finds, at any time; `None` without one.
    pub prefix: Option<i64>,
}

/// A row of a search: a job, or the position where the search stopped.
struct Found {
    place: i64,
    created_at: OffsetDateTime,
    job_id: JobId,
    is_job: bool,
}

impl Jobs<'_> {
    /// How many jobs a search would read from `after` on, by its driver, counted up to `bound`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn estimates(
        self,
        search: JobSearch<'_>,
        after: Option<JobPosition>,
        bound: u32,
    ) -> Result<SearchEstimates, DatabaseError> {
        let (created_at, job_id) = search.filter.start(after.as_ref());
        let (names, values) = parts(search.terms.iter());
        Ok(sqlx::query_file_as!(
            SearchEstimates,
            "src/store/sql/search_estimates.sql",
            created_at,
            job_id,
            search.filter.since.hours(),
            search.filter.since.time(),
            i64::from(bound),
            &names as _,
            &values as _,
            search.filter.status.map(|status| status.as_str()),
            search.prefix.map(Prefix::from),
            search.prefix.map(Prefix::to),
        )
        .fetch_one(self.0.pool().await?)
        .await?)
    }

    /// At most `limit` positions of jobs after `after`, among the next `look` that the driver reads.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn search(
        self,
        search: JobSearch<'_>,
        driver: Driver,
        after: Option<JobPosition>,
        limit: u16,
        look: u32,
    ) -> Result<Page<JobPosition, JobPosition>, DatabaseError> {
        let pool = self.0.pool().await?;
        let filter = search.filter;
        let (created_at, job_id) = filter.start(after.as_ref());
        let driving = match driver {
            Driver::Term(place) => search.terms.get(place),
            _ => None,
        };
        let others = search.terms.iter().filter(|term| Some(*term) != driving);
        let (names, values) = parts(others);
        macro_rules! page {
            ($statement:literal $(, $more:expr)*) => {
                sqlx::query_file_as!(
                    Found,
                    $statement,
                    created_at,
                    job_id,
                    filter.since.hours(),
                    filter.since.time(),
                    &names as _,
                    &values as _,
                    search.prefix.map(Prefix::from),
                    search.prefix.map(Prefix::to),
                    filter.status.map(|status| status.as_str()),
                    filter.is_paused,
                    filter.path.map(ProcessingPath::as_str),
                    // One more than the limit, to find out whether there are more.
                    i64::from(limit) + 1
                    $(, $more)*
                )
                .fetch_all(pool)
                .await?
            };
        }
        let look_at = i64::from(look);
        let rows = match (driver, driving) {
            (Driver::Prefix, _) => page!("src/store/sql/search_by_prefix.sql"),
            (Driver::Status, _) => page!("src/store/sql/search_by_status.sql", look_at),
            (_, Some(term)) => {
                page!("src/store/sql/search_by_term.sql", look_at, term.name, term.value)
            }
            (_, None) => page!("src/store/sql/search_by_time.sql", look_at),
        };
        let is_last = rows.len() <= usize::from(limit);
        let rows = rows.into_iter().map(|row| {
            let position = JobPosition { created_at: row.created_at, job_id: row.job_id };
            (row.place, position, row.is_job.then_some(position))
        });
        let mut page = page_of(rows, limit, look);
        if driver == Driver::Prefix && is_last {
            // All jobs were read.
            page.next = None;
        }
        Ok(page)
    }
}

/// Names and values of terms, as two lists.
pub(super) fn parts<'t>(terms: impl Iterator<Item = &'t Term>) -> (Vec<&'t str>, Vec<&'t str>) {
    terms.map(|term| (&*term.name, &*term.value)).unzip()
}
