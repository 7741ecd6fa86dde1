//! Tasks of jobs that are gone: whoever deletes a job by hand takes its stages, batches and job
//! messages along, but not its tasks, which have no foreign key. When to look for them is not known
//! here.

use sqlx::Row;
use uuid::Uuid;

use super::{Database, DatabaseError, StageKey};

/// Removed in one statement, at most.
const AT_ONCE: i64 = 1000;

/// A look at the jobs that have tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanSearch {
    /// Those that are gone.
    pub orphaned: Vec<String>,
    /// The last one that was looked at, in the order of ids, if there was one.
    pub last: Option<String>,
    /// How many were looked at.
    pub looked_at: i64,
}

impl Database {
    /// Looks at up to `limit` jobs that have tasks, from the one after `after` on.
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

    /// Removes a step's worth of tasks of a job that is gone; how many, and whether there may be
    /// more.
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

    /// Removes a step's worth of tasks that a stage has of a deleted job with the same id, before
    /// anything of it is planned; how many, and whether there may be more. None unless `owner`
    /// holds the stage's lease.
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
