//! The events of a job. Triggers of the database write them with the changes themselves (migration 0019).

use sqlx::types::time::OffsetDateTime;

use super::Jobs;
use crate::{
    model::{JobId, Stage},
    store::{connection::DatabaseError, rows::JsonText},
};

/// An event as it is stored.
#[derive(Debug)]
pub struct StoredEvent {
    pub event_id: i64,
    pub run: i32,
    pub stage: Option<Stage>,
    /// The name of the stage in a graph.
    pub node: Option<String>,
    pub kind: String,
    pub happened_at: OffsetDateTime,
    pub requested_by: Option<String>,
    pub reason: Option<String>,
    pub detail: Option<JsonText>,
    /// How often the sweep made this repair in an hour; otherwise 1.
    pub times: i32,
    /// When it made the repair for the last time.
    pub last_at: Option<OffsetDateTime>,
    /// What it repaired in all: a number of batches, tasks or stages.
    pub amount: Option<i64>,
}

impl Jobs<'_> {
    /// Up to `limit` events of a job after the event `after`, in order.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn events(
        self,
        job_id: &JobId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            StoredEvent,
            "src/store/sql/job_events.sql",
            job_id.as_str(),
            after,
            limit
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }
}
