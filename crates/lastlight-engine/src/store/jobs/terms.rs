//! The terms of jobs that were stored by a version without terms, written afterwards.

use serde_json::value::RawValue;

use super::Jobs;
use crate::{
    model::{JobId, Term},
    store::connection::DatabaseError,
};

/// A job whose terms are not written.
#[derive(Debug, Clone)]
pub struct JobWithoutTerms {
    pub job_id: JobId,
    pub job_type: String,
    pub parameters: Box<RawValue>,
}

impl Jobs<'_> {
    /// The newest `limit` jobs whose terms are not written.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn without_terms(self, limit: i64) -> Result<Vec<JobWithoutTerms>, DatabaseError> {
        let jobs =
            sqlx::query_file_as!(JobWithoutTerms, "src/store/sql/jobs_without_terms.sql", limit);
        Ok(jobs.fetch_all(self.0.pool().await?).await?)
    }

    /// Writes the terms of those of the jobs that have none yet; returns how many these are. The work
    /// grows with the product of the numbers of jobs and terms: call it with a hundred jobs.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn add_terms(self, jobs: &[(JobId, Vec<Term>)]) -> Result<u64, DatabaseError> {
        let ids: Vec<&str> = jobs.iter().map(|(job_id, _)| job_id.as_str()).collect();
        let (mut of, mut names, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (job_id, terms) in jobs {
            for term in terms {
                of.push(job_id.as_str());
                names.push(&*term.name);
                values.push(&*term.value);
            }
        }
        let count = sqlx::query_file_scalar!(
            "src/store/sql/add_terms.sql",
            &ids as _,
            &of as _,
            &names as _,
            &values as _,
        )
        .fetch_one(self.0.pool().await?)
        .await?;
        Ok(count.unsigned_abs())
    }
}
