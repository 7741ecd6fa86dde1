//! Unfinished jobs and their tasks, for users and alerts. No decision of the workflow depends on
//! it.

use std::time::Duration;

use super::{Diagnostics, MOST_COUNTED};
use crate::{
    model::{ProcessingPath, Stage},
    store::{connection::DatabaseError, rows::Seconds},
};

/// Unfinished jobs of one path, type, status and stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWork {
    pub path: ProcessingPath,
    pub job_type: String,
    /// `queued`, `processing`, or `paused` if a user paused the job.
    pub status: String,
    /// The stage that they are in.
    pub stage: Stage,
    /// Number of jobs, among the 10,000 oldest queued and the 10,000 oldest processing jobs.
    pub jobs: i64,
    /// The longest time for which one of these jobs has been without progress: no outcome, no batch
    /// planned.
    pub longest_paused: Duration,
    /// Tasks without an outcome in their stages, as far as these are planned.
    pub open_tasks: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
}

impl Diagnostics<'_> {
    /// Number of jobs of these paths that are neither finished nor paused; counted up to 10,000.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn open_on_paths(self, paths: &[ProcessingPath]) -> Result<i64, DatabaseError> {
        let names: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
        Ok(sqlx::query_file_scalar!("src/store/sql/open_on_paths.sql", &names as _, MOST_COUNTED)
            .fetch_one(self.0.pool().await?)
            .await?)
    }

    /// All unfinished jobs, in groups without empty ones. A statement that takes longer than
    /// `within` is cancelled.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn open_work(self, within: Duration) -> Result<Vec<OpenWork>, DatabaseError> {
        let mut reading = self.0.begin_bounded(within).await?;
        let work = sqlx::query_file_as!(OpenWork, "src/store/sql/open_work.sql", MOST_COUNTED)
            .fetch_all(&mut *reading)
            .await?;
        reading.commit().await?;
        Ok(work)
    }
}
