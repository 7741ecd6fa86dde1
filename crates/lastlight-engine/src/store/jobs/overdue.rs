//! The search of `reconcile` for jobs past their deadline. What follows for them, the caller decides.

use time::OffsetDateTime;

use super::Jobs;
use crate::store::{connection::DatabaseError, rows::StageKey};

/// A job past its deadline.
#[derive(Debug, Clone, Copy)]
pub struct OverdueJob {
    /// The job and the stage that it is in.
    pub key: StageKey,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    /// When it should have finished.
    pub deadline: OffsetDateTime,
}

impl Jobs<'_> {
    /// Unfinished jobs past their deadline.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn overdue(self, limit: i64) -> Result<Vec<OverdueJob>, DatabaseError> {
        let jobs =
            sqlx::query_file!("src/store/sql/overdue_jobs.sql", limit).map(|row| OverdueJob {
                key: StageKey { job_id: row.job_id, stage: row.stage },
                created_at: row.created_at,
                deadline: row.deadline,
            });
        Ok(jobs.fetch_all(self.0.pool().await?).await?)
    }
}
