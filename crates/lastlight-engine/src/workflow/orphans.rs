//! Tasks of jobs that were deleted by hand: the sweep finds and removes them, and before a stage is
//! planned, those of a deleted job with the same id are removed.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Controller, ControllerError, ReconcileReport};
use crate::store::StageKey;

/// Maximum number of jobs that a sweep checks: one index probe per job.
const JOBS_AT_ONCE: i64 = 500;

/// How far this process has checked the jobs, in the order of their ids. Ids are hashes, so
/// processes that begin at random ids share the work.
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
    /// Checks the next jobs, from the first one again after the last, and removes the tasks of
    /// deleted jobs.
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
            let search = database.tasks().orphaned_jobs(&after, left).await?;
            for job_id in &search.orphaned {
                loop {
                    if began.elapsed() >= within {
                        return Ok(());
                    }
                    let (removed, has_more) = database.tasks().remove_orphans(job_id).await?;
                    report.orphans_removed += removed;
                    if !has_more {
                        break;
                    }
                }
                tracing::warn!(job_id, "removed the tasks of a job that was deleted by hand");
            }
            left -= search.looked_at;
            after = match search.last {
                Some(last) if left == 0 => last,
                // There are no more jobs after this one.
                _ => String::new(),
            };
            self.0.orphans.set(after.clone());
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Removes the tasks of a deleted job with the same id, before the stage is planned.
    pub(super) async fn clear(&self, key: &StageKey, owner: Uuid) -> Result<(), ControllerError> {
        let mut removed = 0;
        loop {
            let (now, has_more) = self.0.database.tasks().clear_stage(key, owner).await?;
            removed += now;
            if !has_more {
                break;
            }
        }
        tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), tasks = removed,
            "removed tasks of an earlier job with this id, which was deleted by hand");
        Ok(())
    }
}
