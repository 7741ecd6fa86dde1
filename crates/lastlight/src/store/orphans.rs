//! Orphaned tasks: deleting a job by hand also deletes its stages, batches and job messages, but
//! not its tasks, which have no foreign key. The caller decides when to search for them.

use sqlx::Row;
use uuid::Uuid;

use super::{Database, DatabaseError, StageKey};

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

impl Database {
    /// Examines up to `limit` ids of jobs that have tasks, after the id `after`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn orphaned_jobs(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<OrphanSearch, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/orphaned_jobs.sql"))
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let mut search = OrphanSearch { orphaned: Vec::new(), last: None, looked_at: 0 };
        for row in &rows {
            let job_id: String = row.try_get("job_id")?;
            if row.try_get("is_orphaned")? {
                search.orphaned.push(job_id.clone());
            }
            search.last = Some(job_id);
            search.looked_at += 1;
        }
        Ok(search)
    }

    /// Removes up to 1000 tasks of a job that does not exist; returns how many, and whether there
    /// may be more.
    ///
    /// # Errors
    /// The statement failed, or the app's role may not delete tasks.
    pub async fn remove_orphans(&self, job_id: &str) -> Result<(u64, bool), DatabaseError> {
        let removed = sqlx::query(include_str!("sql/remove_orphans.sql"))
            .bind(job_id)
            .bind(AT_ONCE)
            .execute(self.pool().await?)
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
        &self,
        key: &StageKey,
        owner: Uuid,
    ) -> Result<(u64, bool), DatabaseError> {
        let removed = sqlx::query(include_str!("sql/clear_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(owner)
            .bind(AT_ONCE)
            .execute(self.pool().await?)
            .await?
            .rows_affected();
        Ok((removed, removed == AT_ONCE.unsigned_abs()))
    }
}
