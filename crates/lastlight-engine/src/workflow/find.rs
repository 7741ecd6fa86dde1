//! Finds jobs by the conditions of a filter: reads a bounded number of jobs whatever the data, in the order
//! of the index by which it reads the fewest, and says where it stopped. Knows nothing of requests and answers.

use crate::store::{
    Database, DatabaseError, Driver, JobPosition, JobSearch, Page, SearchEstimates,
};

/// Maximum number of jobs that a search reads; of a search with several conditions this number is
/// divided by theirs, since each is looked up for each job.
const LOOK: u32 = 20_000;

/// Jobs are counted up to this number to find out by which condition a search reads the fewest. A prefix
/// that finds fewer is read as a whole.
const COUNTED: u32 = 4_000;

/// The positions of at most `limit` jobs after `after` that a search finds, newest first. There may be more,
/// although the page has fewer: then it has a next position.
///
/// # Errors
/// The database failed.
pub(crate) async fn positions(
    database: &Database,
    search: JobSearch<'_>,
    after: Option<JobPosition>,
    limit: u16,
) -> Result<Page<JobPosition, JobPosition>, DatabaseError> {
    let jobs = database.jobs();
    let is_single =
        search.terms.len() == 1 && search.prefix.is_none() && search.filter.status.is_none();
    let driver = if is_single {
        Driver::Term(0)
    } else {
        best(&jobs.estimates(search, after, COUNTED).await?)
    };
    jobs.search(search, driver, after, limit, look(search)).await
}

/// How many jobs a search may read.
fn look(search: JobSearch<'_>) -> u32 {
    // Words are looked up among all terms of a job.
    let conditions = search.terms.len()
        + 2 * usize::from(search.prefix.is_some())
        + usize::from(search.filter.status.is_some() || search.filter.path.is_some());
    LOOK / u32::try_from(conditions.max(1)).unwrap_or(LOOK)
}

/// The driver by which a search reads the fewest jobs.
fn best(estimates: &SearchEstimates) -> Driver {
    let terms =
        estimates.terms.iter().enumerate().map(|(place, count)| (*count, Driver::Term(place)));
    let status = estimates.status.map(|count| (count, Driver::Status));
    let few = |count: &i64| *count < i64::from(COUNTED);
    let prefix = estimates.prefix.filter(few).map(|count| (count, Driver::Prefix));
    // Of several with the same number the first one: a term's index is the smallest.
    let by_count = terms.chain(prefix).chain(status).min_by_key(|(count, _)| *count);
    by_count.map_or(Driver::Time, |(_, driver)| driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_reads_by_its_rarest_condition() {
        let most = i64::from(COUNTED);
        for (terms, status, prefix, wanted) in [
            (vec![most, 17], Some(most), Some(most), Driver::Term(1)),
            (vec![most, most], Some(most), None, Driver::Term(0)),
            (vec![most, 500], Some(3), None, Driver::Status),
            (vec![200], None, Some(20), Driver::Prefix),
            (vec![most], None, Some(2 * most), Driver::Term(0)),
            (vec![], Some(most), Some(most), Driver::Status),
            (vec![], None, Some(most), Driver::Time),
            (vec![], None, Some(0), Driver::Prefix),
        ] {
            let estimates = SearchEstimates { terms, status, prefix };
            assert_eq!(best(&estimates), wanted, "{estimates:?}");
        }
    }
}
