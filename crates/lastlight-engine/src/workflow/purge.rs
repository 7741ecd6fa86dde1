//! Deleting jobs that are over: those whose retention has passed, and those that users name. In each
//! sweep for a share of the time, in short transactions, a job's tasks before the job. It may end
//! at any point; whoever comes next goes on. If the app has an archive, a job is written to it first (archive.rs).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lastlight_api::purge::{Deletion, Purged, PurgedJob};

use super::{
    Controller, ControllerError, ReconcileReport,
    archive::{ARCHIVED_AT_ONCE, Archived},
    control::LONGEST_REQUEST,
};
use crate::{
    job::Retention,
    model::{JobId, JobStatus, Timestamp, UserRequest},
    store::{Kept, Marked, OverJobs, PurgeStep},
};

/// Maximum number of jobs that are marked, and of jobs that are looked at, in one statement.
const JOBS_AT_ONCE: i64 = 1000;

/// Jobs in the sample of a request.
const SAMPLE: usize = 10;

/// Time between two sweeps, of which deleting takes a share.
const SWEEPS_EVERY: Duration = Duration::from_secs(60);

/// A statement that takes longer was too large.
const LONGEST_STATEMENT: Duration = Duration::from_millis(500);

/// The number of rows that a statement deletes: as many as take less than half a second.
#[derive(Debug)]
pub(super) struct Pace(i64);

impl Default for Pace {
    fn default() -> Self {
        Self(2000)
    }
}

impl Pace {
    const LEAST: i64 = 100;
    const MOST: i64 = 10_000;

    fn note(&mut self, took: Duration) {
        let rows = match took {
            took if took > LONGEST_STATEMENT => self.0 / 4,
            took if took > LONGEST_STATEMENT / 2 => self.0 / 2,
            took if took < LONGEST_STATEMENT / 5 => self.0 * 2,
            _ => self.0,
        };
        self.0 = rows.clamp(Self::LEAST, Self::MOST);
    }
}

/// How far the deletion of a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purging {
    /// It is gone, or its next run has begun.
    Done,
    /// The next sweeps do the rest.
    GoesOn,
    /// The next sweeps do it, once it is in the archive; and why it is not, if it cannot be archived now.
    Unarchived(Option<String>),
}

impl Purging {
    pub(super) fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

/// What a user wants to have deleted.
#[derive(Debug, Clone)]
pub struct PurgeRequest {
    /// Only jobs that have been over for this time.
    pub older_than: Duration,
    pub statuses: Vec<JobStatus>,
    pub job_type: Option<String>,
    /// Nothing is deleted.
    pub is_dry_run: bool,
}

impl Controller {
    /// Marks the jobs whose retention is over, and deletes marked jobs.
    pub(super) async fn purge(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let until = Instant::now() + within.min(SWEEPS_EVERY.mul_f64(self.0.timing.purge_share));
        let types = self.0.catalog.names();
        let own: Vec<(&str, Kept)> = types
            .iter()
            .filter_map(|name| Some((*name, self.0.catalog.get(name)?.retention())))
            .filter(|(_, retention)| *retention != Retention::default())
            .map(|(name, retention)| (name, self.kept(retention)))
            .collect();
        let default = self.kept(Retention::default());
        let purge = self.0.database.purge();
        purge.forget().await?;
        let marked = purge.mark_expired(&own, default, JOBS_AT_ONCE).await?;
        if !marked.is_empty() {
            tracing::info!(jobs = marked.len(), "jobs whose retention is over are being deleted");
        }
        let mut pace = Pace::default();
        while Instant::now() < until {
            // While nothing can be archived, only what is.
            let only_archived = self.0.archiving.waits().is_some();
            let marked = purge.marked(only_archived, JOBS_AT_ONCE).await?;
            let mut is_done = true;
            // The first one alone, so that a container that cannot be written is tried once.
            let (first, others) = marked.split_at(marked.len().min(1));
            let some_at_once = others.chunks(ARCHIVED_AT_ONCE);
            for jobs in [first].into_iter().chain(some_at_once) {
                if !only_archived && self.0.archiving.waits().is_some() {
                    // Since a moment ago: those that are archived come first.
                    is_done = false;
                    break;
                }
                let archived = jobs.iter().map(|job_id| self.archive_first(job_id, until));
                for (job_id, archived) in jobs.iter().zip(join_all(archived).await) {
                    let purging =
                        self.purge_job(job_id, archived?, &mut pace, until, report).await?;
                    is_done &= !purging.is_done();
                }
                if Instant::now() >= until {
                    return Ok(());
                }
            }
            // What is left is deleted by other processes.
            if is_done {
                break;
            }
        }
        Ok(())
    }

    /// Whether a job was deleted lately, or runs again, so that messages for what it does not have are to be
    /// ignored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ran_before(&self, job_id: &JobId) -> Result<bool, ControllerError> {
        Ok(self.0.database.purge().ran_before(job_id).await?)
    }

    fn kept(&self, own: Retention) -> Kept {
        let Retention { completed, failed } = self.0.timing.retention;
        let seconds = |own: Option<crate::job::Keep>, default: Option<crate::job::Keep>| {
            own.or(default).and_then(crate::job::Keep::seconds)
        };
        Kept { completed: seconds(own.completed, completed), failed: seconds(own.failed, failed) }
    }

    /// Deletes a marked job in steps, or all that it has if it is to run again, and begins its next run; `archived`: what became of
    /// its archive before.
    pub(super) async fn purge_job(
        &self,
        job_id: &JobId,
        archived: Archived,
        pace: &mut Pace,
        until: Instant,
        report: &mut ReconcileReport,
    ) -> Result<Purging, ControllerError> {
        match archived {
            Archived::NotYet => return Ok(Purging::Unarchived(None)),
            Archived::Now => report.jobs_archived += 1,
            // The statements decide: its archive may be complete while no other one can be written.
            Archived::Yes | Archived::No(_) => {}
        }
        let unarchived = match archived {
            Archived::No(problem) => Purging::Unarchived(Some(problem)),
            _ => Purging::GoesOn,
        };
        let archive = self.0.archiving.first();
        let purge = self.0.database.purge();
        let mut deletes_tasks = true;
        loop {
            let began = Instant::now();
            let limit = pace.0;
            let PurgeStep { tasks, has_more, is_elsewhere } = if deletes_tasks {
                purge.tasks(job_id, limit, archive).await?
            } else {
                purge.batches(job_id, (limit / 10).max(1)).await?
            };
            if is_elsewhere {
                return Ok(unarchived);
            }
            pace.note(began.elapsed());
            report.tasks_purged += tasks;
            if deletes_tasks {
                deletes_tasks = has_more;
            } else if !has_more {
                if purge.job(job_id, archive).await? {
                    report.jobs_purged += 1;
                    tracing::debug!(%job_id, "job deleted");
                    return Ok(Purging::Done);
                }
                let has_begun = self.begin_next_run(job_id).await?;
                return Ok(if has_begun { Purging::Done } else { Purging::GoesOn });
            }
            if Instant::now() >= until {
                return Ok(Purging::GoesOn);
            }
        }
    }

    /// Deletes a job that is over, or that is cancelled for it. A large one is deleted by the next
    /// sweeps.
    ///
    /// # Errors
    /// There is no such job, it runs, or the database failed.
    pub async fn delete(
        &self,
        job_id: &JobId,
        cancels: bool,
        request: &UserRequest,
    ) -> Result<Deletion, ControllerError> {
        let until = Instant::now() + LONGEST_REQUEST;
        let job = self.job(job_id).await?;
        let mut is_cancelled = false;
        if cancels && !job.status.is_terminal() {
            match self.cancel(job_id, request).await {
                Ok(_) => is_cancelled = true,
                // It ended meanwhile.
                Err(ControllerError::NotAllowed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match self.0.database.purge().mark(job_id, false, request).await? {
            // Marked for deletion, it does not run again.
            Marked::Yes | Marked::RunsAgain => {}
            Marked::Unknown => return Err(ControllerError::UnknownJob { job_id: *job_id }),
            Marked::Runs => {
                let status = self.job(job_id).await?.status;
                return Err(ControllerError::NotOver { job_id: *job_id, status });
            }
            Marked::NotYet => return Err(ControllerError::StillNeeded { job_id: *job_id }),
        }
        // A job is deleted only once its end is addressed to all that are to be told.
        self.address_events(LONGEST_REQUEST).await?;
        let mut report = ReconcileReport::default();
        let archived = self.archive_first(job_id, until).await?;
        let pace = &mut Pace::default();
        let purging = self.purge_job(job_id, archived, pace, until, &mut report).await?;
        let is_gone = purging.is_done();
        tracing::info!(%job_id, is_gone, tasks = report.tasks_purged, "job deleted on request");
        Ok(Deletion {
            job_id: *job_id,
            is_deleted: is_gone,
            is_cancelled,
            tasks_deleted: report.tasks_purged,
            message: match purging {
                Purging::Done => {
                    format!("The job and its {} tasks were deleted.", report.tasks_purged)
                }
                Purging::GoesOn => {
                    "The job is being deleted; the next sweeps do the rest.".to_owned()
                }
                Purging::Unarchived(None) => {
                    "The job is marked for deletion; it is being archived, and the next sweeps delete it after that.".to_owned()
                }
                Purging::Unarchived(Some(problem)) => format!(
                    "The job is marked for deletion; it is deleted once it is archived, which is not possible now: {problem}."
                ),
            },
        })
    }

    /// Marks up to 1,000 jobs for deletion that are over, or says which ones that would be.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_over(&self, request: &PurgeRequest) -> Result<Purged, ControllerError> {
        let over = OverJobs {
            older_than_seconds: request.older_than.as_secs_f64(),
            statuses: &request.statuses,
            job_type: request.job_type.as_deref(),
        };
        let marks = !request.is_dry_run;
        let found = self.0.database.purge().over(over, marks, JOBS_AT_ONCE).await?;
        if marks && !found.is_empty() {
            tracing::info!(jobs = found.len(), "jobs are deleted on request");
        }
        Ok(Purged {
            jobs: found.len() as u64,
            has_more: found.len() as i64 == JOBS_AT_ONCE,
            is_dry_run: request.is_dry_run,
            archives_first: self.0.archiving.first().0,
            sample: found
                .into_iter()
                .take(SAMPLE)
                .map(|job| PurgedJob {
                    job_id: job.job_id,
                    job_type: job.job_type,
                    status: job.status,
                    finished_at: Timestamp(job.finished_at),
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_grow_while_they_are_fast_and_shrink_when_they_are_slow() {
        let mut pace = Pace(2000);
        for _ in 0..5 {
            pace.note(Duration::from_millis(20));
        }
        assert_eq!(pace.0, Pace::MOST);
        pace.note(Duration::from_millis(200));
        assert_eq!(pace.0, Pace::MOST);
        pace.note(Duration::from_millis(300));
        assert_eq!(pace.0, 5000);
        pace.note(Duration::from_secs(3));
        assert_eq!(pace.0, 1250);
        for _ in 0..9 {
            pace.note(Duration::from_secs(3));
        }
        assert_eq!(pace.0, Pace::LEAST);
    }
}
