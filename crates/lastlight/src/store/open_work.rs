//! What is not over: for people and their alarms. No decision of the workflow reads it.

use std::time::Duration;

use sqlx::Row;

use super::{
    Database, DatabaseError,
    instances::{MOST_COUNTED, seconds},
    jobs::{path_of, stage_of},
};
use crate::model::{ProcessingPath, Stage};

/// Jobs that are not over, of one path, type, status and stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWork {
    pub path: ProcessingPath,
    pub job_type: String,
    /// `queued`, `processing`, or `paused`: a person stopped it.
    pub status: String,
    /// The stage that they are in.
    pub stage: Stage,
    /// How many; of the 10,000 oldest queued and the 10,000 oldest processing jobs.
    pub jobs: i64,
    /// For how long nothing happened to that one of them which has not moved for longest: no
    /// outcome, no batch planned.
    pub longest_still: Duration,
    /// Tasks of their stages, as far as they are planned, without an outcome.
    pub open_tasks: i64,
    /// With a result.
    pub completed: i64,
    /// Failed for good.
    pub failed: i64,
    /// That will not run.
    pub skipped: i64,
}

impl Database {
    /// How many jobs of these paths are not over and not paused; counted up to 10,000.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn open_on_paths(&self, paths: &[ProcessingPath]) -> Result<i64, DatabaseError> {
        let names: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
        Ok(sqlx::query_scalar(include_str!("sql/open_on_paths.sql"))
            .bind(names)
            .bind(MOST_COUNTED)
            .fetch_one(self.pool().await?)
            .await?)
    }

    /// What is not over; a group that is empty is not in it. A statement that takes longer than
    /// `within` is ended.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn open_work(&self, within: Duration) -> Result<Vec<OpenWork>, DatabaseError> {
        let mut reading = self.begin_bounded(within).await?;
        let rows = sqlx::query(include_str!("sql/open_work.sql"))
            .bind(MOST_COUNTED)
            .fetch_all(&mut *reading)
            .await?;
        reading.commit().await?;
        let work = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(OpenWork {
                path: path_of(row, "processing_path")?,
                job_type: row.try_get("job_type")?,
                status: row.try_get("status")?,
                stage: stage_of(row, "stage")?,
                jobs: row.try_get("jobs")?,
                longest_still: seconds(row.try_get("still_seconds")?),
                open_tasks: row.try_get("open_tasks")?,
                completed: row.try_get("completed")?,
                failed: row.try_get("failed")?,
                skipped: row.try_get("skipped")?,
            })
        });
        Ok(work.collect::<Result<_, _>>()?)
    }
}
