//! Searches for jobs by labels, parameters and the beginning of a word, for users.

use lastlight_api::jobs::JobView;

use super::{Queries, views::job_view};
use crate::{
    store::{JobPosition, JobSearch, Page},
    workflow::{ControllerError, find},
};

impl Queries {
    /// At most `limit` jobs after `after` that a search finds, newest first. There may be more, although
    /// the page has fewer: then it has a next position.
    ///
    /// # Errors
    /// The database failed.
    pub async fn search_jobs(
        &self,
        search: JobSearch<'_>,
        after: Option<JobPosition>,
        limit: u16,
    ) -> Result<Page<JobView, JobPosition>, ControllerError> {
        let jobs = self.0.database.jobs();
        let found = find::positions(&self.0.database, search, after, limit).await?;
        let rows = jobs.at(&found.rows).await?;
        // Jobs that are too large for one page are left for the next one.
        let is_cut = rows.last().map(|row| row.job.job_id)
            != found.rows.last().map(|position| position.job_id);
        let next = match rows.last() {
            Some(last) if is_cut => {
                Some(JobPosition { created_at: last.job.created_at, job_id: last.job.job_id })
            }
            _ => found.next,
        };
        let rows = rows.into_iter().map(|row| job_view(row.job, row.totals)).collect();
        Ok(Page { rows, looked_at: found.looked_at, next })
    }
}
