//! Reading stages with their counters, and the rate that follows from these.

use time::OffsetDateTime;

use super::Stages;
use crate::{
    model::{JobId, Stage},
    store::connection::DatabaseError,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRecord {
    pub stage: Stage,
    /// Tasks written so far; all of them once `planned_at` is set.
    pub total: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that will not run.
    pub skipped: i64,
    /// Tasks whose messages are not sent yet.
    pub unsent: i64,
    /// When its row was written.
    pub created_at: OffsetDateTime,
    /// When its last task was written.
    pub planned_at: Option<OffsetDateTime>,
    /// When it was advanced or closed.
    pub advanced_at: Option<OffsetDateTime>,
    /// When this was read, by the database's clock.
    pub read_at: OffsetDateTime,
}

impl StageRecord {
    /// Tasks with an outcome.
    pub fn done(&self) -> i64 {
        self.completed + self.failed + self.skipped
    }

    pub fn open(&self) -> i64 {
        self.total - self.done()
    }

    /// Outcomes per second, from the stage's start to its end, or until it was read. `None`
    /// before the first completed or failed task.
    pub fn rate(&self) -> Option<f64> {
        let seconds = (self.advanced_at.unwrap_or(self.read_at) - self.created_at).as_seconds_f64();
        let ran = self.completed + self.failed;
        (ran > 0 && seconds > 0.0).then(|| ran as f64 / seconds)
    }

    /// Seconds until the stage's end at its rate so far. `None` before the first outcome, and while
    /// the number of its tasks is not known.
    pub fn seconds_left(&self) -> Option<f64> {
        self.planned_at?;
        if self.advanced_at.is_some() {
            return Some(0.0);
        }
        self.rate().map(|rate| self.open() as f64 / rate)
    }
}

impl Stages<'_> {
    /// The job's stages so far, in order.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn of_job(self, job_id: &JobId) -> Result<Vec<StageRecord>, DatabaseError> {
        Ok(sqlx::query_file_as!(StageRecord, "src/store/sql/get_stages.sql", job_id.as_str())
            .fetch_all(self.0.pool().await?)
            .await?)
    }
}
