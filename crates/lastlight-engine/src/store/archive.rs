//! What the archive keeps of a job, which attempt writes it, and that a run is in it. Knows no storage and no
//! format.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    failpoint::failpoint,
    model::{JobId, Stage, StageKind, StageOutcome, TaskStatus},
    store::{
        connection::{Database, DatabaseError},
        rows::{JsonText, Seconds},
    },
};

/// The part of the archive in a database.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a>(&'a Database);

/// What an attempt to archive a job found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveClaim {
    /// The run is the attempt's to write.
    Claimed {
        /// The run of the job.
        run: i32,
    },
    /// The run is in the archive.
    Archived,
    /// Another attempt writes it, or it is not time for one.
    Elsewhere,
    /// The job is not marked for deletion, or is gone.
    NotMarked,
}

/// The jobs that wait for the archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveBacklog {
    /// Their number, counted up to 10,000.
    pub jobs: i64,
    /// Since when the first of them waits.
    pub oldest: Option<Duration>,
}

/// A stage with everything that the archive keeps.
#[derive(Debug)]
pub struct StageToArchive {
    pub stage: Stage,
    pub name: Option<String>,
    pub kind: Option<StageKind>,
    pub total: i64,
    pub completed: i64,
    pub failed: i64,
    pub skipped: i64,
    pub batches: i32,
    pub outcome: Option<StageOutcome>,
    pub best_effort: Option<bool>,
    pub is_finalize: Option<bool>,
    pub needed_by: Option<Vec<i16>>,
    pub followed_by: Option<Vec<i16>>,
    pub not_chosen: Option<Vec<i16>>,
    pub decision: Option<crate::model::GateDecision>,
    pub timeout_seconds: Option<i32>,
    pub on_timeout: Option<crate::model::GateDecision>,
    pub child_job_id: Option<String>,
    pub output: Option<JsonText>,
    pub result: Option<JsonText>,
    pub created_at: OffsetDateTime,
    pub planned_at: Option<OffsetDateTime>,
    pub advanced_at: Option<OffsetDateTime>,
}

/// A task with everything that the archive keeps.
#[derive(Debug)]
pub struct TaskToArchive {
    pub stage: Stage,
    pub task_id: String,
    pub task_type: String,
    pub task_index: String,
    pub ordinal: i32,
    pub status: TaskStatus,
    pub attempt: i16,
    pub retry_count: i16,
    pub batch_id: String,
    pub parent_task_id: Option<String>,
    pub parameters: JsonText,
    pub result_data: Option<JsonText>,
    pub error_details: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub finished_at: Option<OffsetDateTime>,
    pub worker_id: Option<String>,
    pub progress: Option<f32>,
    pub message: Option<String>,
    pub log_tail: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Clone, Copy)]
pub struct TaskPage<'a> {
    /// The page begins after this task.
    pub after: (i16, &'a str),
    /// Maximum number of tasks.
    pub tasks: i64,
    /// Bytes after which it ends. Its last task may exceed them.
    pub bytes: i64,
}

impl Database {
    /// The part of the archive in a database.
    pub fn archive(&self) -> Archive<'_> {
        Archive(self)
    }
}

impl Archive<'_> {
    /// Has an attempt write the present run of a job that is marked for deletion. Unless it is extended with
    /// [`Self::hold`], another attempt may begin after `lease`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn claim(
        self,
        job_id: &JobId,
        attempt: Uuid,
        lease: Duration,
    ) -> Result<ArchiveClaim, DatabaseError> {
        let job = sqlx::query_file!(
            "src/store/sql/claim_archive.sql",
            job_id.as_str(),
            attempt,
            lease.as_secs_f64()
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("archive.claimed", Err(DatabaseError::lost()));
        Ok(match job {
            None => ArchiveClaim::NotMarked,
            Some(job) if job.is_archived => ArchiveClaim::Archived,
            Some(job) if job.is_claimed => ArchiveClaim::Claimed { run: job.run },
            Some(_) => ArchiveClaim::Elsewhere,
        })
    }

    /// Extends an attempt's claim; returns whether the job is still its to write.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn hold(
        self,
        job_id: &JobId,
        attempt: Uuid,
        lease: Duration,
    ) -> Result<bool, DatabaseError> {
        let held = sqlx::query_file!(
            "src/store/sql/hold_archive.sql",
            job_id.as_str(),
            attempt,
            lease.as_secs_f64()
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(held.is_some())
    }

    /// Ends an attempt without a result; the next one may begin after `pause`.
    ///
    /// # Errors
    /// The statement failed; the claim then ends with its lease.
    pub async fn release(
        self,
        job_id: &JobId,
        attempt: Uuid,
        pause: Duration,
    ) -> Result<(), DatabaseError> {
        sqlx::query_file!(
            "src/store/sql/release_archive.sql",
            job_id.as_str(),
            attempt,
            pause.as_secs_f64()
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Records that the run is in the archive, with an event that has `detail`; returns whether it did. If not, another
    /// attempt has taken the place of this one.
    ///
    /// # Errors
    /// The statement failed; whether it was recorded is unknown.
    pub async fn record(
        self,
        job_id: &JobId,
        attempt: Uuid,
        run: i32,
        detail: &str,
    ) -> Result<bool, DatabaseError> {
        failpoint!("archive.before_record", Err(DatabaseError::lost()));
        let recorded = sqlx::query_file!(
            "src/store/sql/record_archive.sql",
            job_id.as_str(),
            attempt,
            run,
            detail as _
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        failpoint!("archive.after_record", Err(DatabaseError::lost()));
        Ok(recorded.is_some())
    }

    /// The stages of a job, in order.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages(self, job_id: &JobId) -> Result<Vec<StageToArchive>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            StageToArchive,
            "src/store/sql/archive_stages.sql",
            job_id.as_str()
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// A page of the tasks of a job, in key order; none after the last.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn tasks(
        self,
        job_id: &JobId,
        page: TaskPage<'_>,
    ) -> Result<Vec<TaskToArchive>, DatabaseError> {
        let (stage, task_id) = page.after;
        Ok(sqlx::query_file_as!(
            TaskToArchive,
            "src/store/sql/archive_tasks.sql",
            job_id.as_str(),
            stage,
            task_id,
            page.tasks,
            page.bytes
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// The jobs that are marked for deletion and not in the archive.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn backlog(self) -> Result<ArchiveBacklog, DatabaseError> {
        let found = sqlx::query_file!("src/store/sql/archive_backlog.sql")
            .fetch_one(self.0.pool().await?)
            .await?;
        Ok(ArchiveBacklog { jobs: found.jobs, oldest: found.oldest.map(Seconds::into) })
    }
}
