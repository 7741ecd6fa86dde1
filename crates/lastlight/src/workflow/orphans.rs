//! Tasks of jobs that were deleted by hand: the sweep finds and removes them, and a stage begins
//! without those of a deleted job with the same id.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Controller, ControllerError, ReconcileReport};
use crate::store::StageKey;

/// Jobs that a sweep looks at, at most: a probe of an index each.
const JOBS_AT_ONCE: i64 = 500;

/// How far this process has looked through the jobs, in the order of their ids. Ids are hashes, so
/// processes that begin anywhere share the work.
#[derive(Debug)]
pub(super) struct OrphanCursor(Mutex<String>);

impl OrphanCursor {
    pub(super) fn anywhere() -> Self {
        Self(Mutex::new(format!("{:016x}", fastrand::u64(..))))
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, job_id: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = job_id;
    }
}

impl Controller {
    /// Looks at some more jobs, from the first one again after the last, and removes what is there
    /// of those that are gone.
    pub(super) async fn remove_orphans(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let began = Instant::now();
        let database = &self.0.database;
        let mut after = self.0.orphans.get();
        let mut left = JOBS_AT_ONCE;
        for _ in 0..2 {
            let search = database.orphaned_jobs(&after, left).await?;
            for job_id in &search.orphaned {
                loop {
                    if began.elapsed() >= within {
                        return Ok(());
                    }
                    let (removed, has_more) = database.remove_orphans(job_id).await?;
                    report.orphans_removed += removed;
                    if !has_more {
                        break;
                    }
                }
                tracing::warn!(job_id, "a job was deleted by hand; its tasks are removed");
            }
            left -= search.looked_at;
            after = match search.last {
                Some(last) if left == 0 => last,
                // There are no more after this one.
                _ => String::new(),
            };
            self.0.orphans.set(after.clone());
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is there of a deleted job with the same id, before the stage is planned.
    pub(super) async fn clear(&self, key: &StageKey, owner: Uuid) -> Result<(), ControllerError> {
        let mut removed = 0;
        loop {
            let (now, has_more) = self.0.database.clear_stage(key, owner).await?;
            removed += now;
            if !has_more {
                break;
            }
        }
        tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), tasks = removed,
            "a job with this id was deleted by hand and left tasks, which are removed");
        Ok(())
    }
}
