//! Repair of a stage's counters from a recount of its tasks. Which stages, the caller decides.

use super::{Counts, Stages};
use crate::store::{connection::DatabaseError, rows::StageKey};

impl Stages<'_> {
    /// Compares a stage's counters with its tasks, while nobody can record an outcome, and corrects
    /// them. If they differed, returns the counters before and after.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn repair_counters(
        self,
        key: &StageKey,
    ) -> Result<Option<(Counts, Counts)>, DatabaseError> {
        let (job_id, stage) = (key.job_id.as_str(), key.stage.number());
        let mut transaction = self.0.begin().await?;
        let counters = sqlx::query_file_as!(Counts, "src/store/sql/lock_stage.sql", job_id, stage)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(counters) = counters else { return Ok(None) };
        // A separate statement, so that it sees everything committed before the lock was taken.
        let recount =
            sqlx::query_file_as!(Counts, "src/store/sql/recount_stage.sql", job_id, stage)
                .fetch_one(&mut *transaction)
                .await?;
        if counters == recount {
            return Ok(None);
        }
        sqlx::query_file!(
            "src/store/sql/repair_counters.sql",
            job_id,
            stage,
            recount.total,
            recount.completed,
            recount.failed,
            recount.skipped,
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some((counters, recount)))
    }
}
