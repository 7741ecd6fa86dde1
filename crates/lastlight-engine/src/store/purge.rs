//! Deleting jobs that are over: first a job is marked, then its tasks, its batches and it itself are
//! deleted in steps. Which jobs are kept for how long, the caller decides.

use time::OffsetDateTime;

use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, UserRequest},
    store::{
        connection::{Database, DatabaseError},
        rows::ArchiveFirst,
    },
};

/// Longer than any job can be old, in seconds: a job that is kept for so long is never deleted.
const FOREVER: f64 = 1e11;

/// Deleting jobs of a database.
#[derive(Debug, Clone, Copy)]
pub struct Purge<'a>(&'a Database);

/// For how long jobs are kept after their end, in seconds; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Completed and cancelled jobs.
    pub completed: Option<f64>,
    pub failed: Option<f64>,
}

/// The jobs that a request to delete names.
#[derive(Debug, Clone, Copy)]
pub struct OverJobs<'a> {
    /// Over since more than this.
    pub older_than_seconds: f64,
    pub statuses: &'a [JobStatus],
    /// Only of this type.
    pub job_type: Option<&'a str>,
}

/// A search for jobs that have been kept for long enough.
struct Search<'a> {
    /// The job types with rules of their own.
    own: &'a [(&'a str, Kept)],
    default: Kept,
    statuses: &'a [JobStatus],
    job_type: Option<&'a str>,
    marks: bool,
}

/// A job that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverJob {
    pub job_id: JobId,
    pub job_type: String,
    pub status: JobStatus,
    pub finished_at: OffsetDateTime,
}

/// What became of a request to delete a job, or to run it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It is marked for deletion, now or before.
    Yes,
    /// It is marked to run again, now or before.
    RunsAgain,
    /// It runs.
    Runs,
    /// It is over, but a stage of it is still being closed, or another job waits for its result.
    NotYet,
    /// There is no such job.
    Unknown,
}

/// What one step deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeStep {
    /// Number of tasks.
    pub tasks: u64,
    pub has_more: bool,
    /// Another process deletes the job, it is gone, or it is not in the archive.
    pub is_elsewhere: bool,
}

impl Database {
    /// Deleting jobs of a database.
    pub fn purge(&self) -> Purge<'_> {
        Purge(self)
    }
}

impl Purge<'_> {
    /// Marks up to `limit` jobs that have been kept for long enough; `own`: the job types with rules of
    /// their own. Returns their ids.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark_expired(
        self,
        own: &[(&str, Kept)],
        default: Kept,
        limit: i64,
    ) -> Result<Vec<JobId>, DatabaseError> {
        let any = [JobStatus::Completed, JobStatus::Cancelled, JobStatus::Failed];
        let found = Search { own, default, statuses: &any, job_type: None, marks: true };
        let marked = self.search(found, limit).await?.into_iter().map(|job| job.job_id).collect();
        failpoint!("purge.marked", Err(DatabaseError::lost()));
        Ok(marked)
    }

    /// Up to `limit` of the jobs that a request names; they are marked for deletion if `marks`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn over(
        self,
        jobs: OverJobs<'_>,
        marks: bool,
        limit: i64,
    ) -> Result<Vec<OverJob>, DatabaseError> {
        let OverJobs { older_than_seconds, statuses, job_type } = jobs;
        let default =
            Kept { completed: Some(older_than_seconds), failed: Some(older_than_seconds) };
        self.search(Search { own: &[], default, statuses, job_type, marks }, limit).await
    }

    async fn search(self, search: Search<'_>, limit: i64) -> Result<Vec<OverJob>, DatabaseError> {
        let (mut types, mut failed, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
        for (job_type, kept) in search.own {
            for (is_failed, kept) in [(false, kept.completed), (true, kept.failed)] {
                types.push(*job_type);
                failed.push(is_failed);
                seconds.push(kept.unwrap_or(FOREVER));
            }
        }
        let statuses: Vec<&str> = search.statuses.iter().map(|status| status.as_str()).collect();
        Ok(sqlx::query_file_as!(
            OverJob,
            "src/store/sql/over_jobs.sql",
            &types as _,
            &failed,
            &seconds,
            search.default.completed.unwrap_or(FOREVER),
            search.default.failed.unwrap_or(FOREVER),
            &statuses as _,
            search.job_type,
            search.marks,
            limit,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Marks a job for deletion that is over, or to run again after its tasks are deleted.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn mark(
        self,
        job_id: &JobId,
        runs_again: bool,
        request: &UserRequest,
    ) -> Result<Marked, DatabaseError> {
        let mut transaction = self.0.begin_for(request).await?;
        let row = sqlx::query_file!("src/store/sql/mark_job.sql", job_id.as_str(), runs_again)
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(match row {
            None => Marked::Unknown,
            Some(row) if row.runs_again == Some(true) => Marked::RunsAgain,
            Some(row) if row.runs_again == Some(false) => Marked::Yes,
            Some(row) if row.is_over => Marked::NotYet,
            Some(_) => Marked::Runs,
        })
    }

    /// Up to `limit` marked jobs, those first that were marked first; of those that are not in the archive, if they are
    /// asked for, the ones that an attempt to archive them may begin for now.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn marked(
        self,
        only_archived: bool,
        limit: i64,
    ) -> Result<Vec<JobId>, DatabaseError> {
        let marked =
            sqlx::query_file_scalar!("src/store/sql/jobs_to_purge.sql", limit, only_archived);
        Ok(marked.fetch_all(self.0.pool().await?).await?)
    }

    /// Deletes up to `limit` tasks of a marked job; none of a run that is not in the archive, if there is one.
    ///
    /// # Errors
    /// The statement failed, or the app's role may not delete tasks.
    pub async fn tasks(
        self,
        job_id: &JobId,
        limit: i64,
        archive: ArchiveFirst,
    ) -> Result<PurgeStep, DatabaseError> {
        let ArchiveFirst(archive) = archive;
        let step =
            sqlx::query_file!("src/store/sql/purge_tasks.sql", job_id.as_str(), limit, archive)
                .fetch_one(self.0.pool().await?)
                .await?;
        failpoint!("purge.tasks", Err(DatabaseError::lost()));
        Ok(PurgeStep {
            tasks: step.tasks.unsigned_abs(),
            has_more: step.has_more,
            is_elsewhere: !step.is_held,
        })
    }

    /// Deletes up to `limit` batches of a marked job, and its claims by workers.
    ///
    /// # Errors
    /// As for [`Self::tasks`].
    pub async fn batches(self, job_id: &JobId, limit: i64) -> Result<PurgeStep, DatabaseError> {
        let step = sqlx::query_file!("src/store/sql/purge_batches.sql", job_id.as_str(), limit)
            .fetch_one(self.0.pool().await?)
            .await?;
        failpoint!("purge.batches", Err(DatabaseError::lost()));
        Ok(PurgeStep { tasks: 0, has_more: step.has_more, is_elsewhere: !step.is_held })
    }

    /// Deletes a marked job without tasks and batches; returns whether it did. A job that is to run again
    /// stays.
    ///
    /// # Errors
    /// As for [`Self::tasks`].
    pub async fn job(self, job_id: &JobId, archive: ArchiveFirst) -> Result<bool, DatabaseError> {
        let ArchiveFirst(archive) = archive;
        let deleted =
            sqlx::query_file_scalar!("src/store/sql/purge_job.sql", job_id.as_str(), archive)
                .fetch_optional(self.0.pool().await?)
                .await?;
        failpoint!("purge.job", Err(DatabaseError::lost()));
        Ok(deleted.is_some())
    }

    /// Whether a job was deleted in the last 14 days, or runs again: messages may be of a run before.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn ran_before(self, job_id: &JobId) -> Result<bool, DatabaseError> {
        let ran = sqlx::query_file_scalar!("src/store/sql/ran_before.sql", job_id.as_str());
        Ok(ran.fetch_one(self.0.pool().await?).await?)
    }

    /// Forgets jobs that were deleted more than 14 days ago.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget(self) -> Result<(), DatabaseError> {
        sqlx::query_file!("src/store/sql/forget_deleted.sql").execute(self.0.pool().await?).await?;
        Ok(())
    }
}
