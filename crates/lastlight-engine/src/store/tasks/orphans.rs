//! Orphaned tasks: deleting a job by hand also deletes its stages, batches and job messages, but
//! not its tasks, which have no foreign key. The caller decides when to search for them.

use uuid::Uuid;

use super::Tasks;
use crate::store::{connection::DatabaseError, rows::StageKey};

/// Maximum number of tasks that one statement removes.
const AT_ONCE: i64 = 1000;

/// Result of a search for orphaned tasks among the ids of jobs that have tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanSearch {
    /// Ids of jobs that do not exist.
    pub orphaned: Vec<String>,
    /// The last id that was examined, in the order of ids, if there was one.
    pub last: Option<String>,
    /// Number of ids that were examined.
    pub looked_at: i64,
}

impl Tasks<'_> {
    /// Examines up to `limit` ids of jobs that have tasks, after the id `after`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn orphaned_jobs(
        self,
        after: &str,
        limit: i64,
    ) -> Result<OrphanSearch, DatabaseError> {
        let rows = sqlx::query_file!("src/store/sql/orphaned_jobs.sql", after, limit)
            .fetch_all(self.0.pool().await?)
            .await?;
        let mut search = OrphanSearch { orphaned: Vec::new(), last: None, looked_at: 0 };
        for row in rows {
            if row.is_orphaned {
                search.orphaned.push(row.job_id.clone());
            }
            search.last = Some(row.job_id);
            search.looked_at += 1;
        }
        Ok(search)
    }

    /// Removes up to 1000 tasks of a job that does not exist; returns how many, and whether there
    /// may be more.
    ///
    /// # Errors
    /// The statement failed, or the app's role may not delete tasks.
    pub async fn remove_orphans(self, job_id: &str) -> Result<(u64, bool), DatabaseError> {
        let removed = sqlx::query_file!("src/store/sql/remove_orphans.sql", job_id, AT_ONCE)
            .execute(self.0.pool().await?)
            .await?
            .rows_affected();
        Ok((removed, removed == AT_ONCE.unsigned_abs()))
    }

    /// Removes up to 1000 tasks that a deleted job with the same id left in a stage, before
    /// anything of the stage is planned; returns how many, and whether there may be more. Removes
    /// none unless `owner` holds the stage's lease.
    ///
    /// # Errors
    /// As [`remove_orphans`](Self::remove_orphans).
    pub async fn clear_stage(
        self,
        key: &StageKey,
        owner: Uuid,
    ) -> Result<(u64, bool), DatabaseError> {
        let removed = sqlx::query_file!(
            "src/store/sql/clear_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            owner,
            AT_ONCE,
        )
        .execute(self.0.pool().await?)
        .await?
        .rows_affected();
        Ok((removed, removed == AT_ONCE.unsigned_abs()))
    }
}
