//! The outbox of job messages: a message is unsent from the transaction that made it due until it
//! is sent.

use serde_json::value::RawValue;
use sqlx::Row;

use super::{Database, DatabaseError, StageKey, jobs};
use crate::{
    failpoint::failpoint,
    model::{ProcessingPath, TraceParent},
};

/// A job message that is due.
#[derive(Debug, Clone)]
pub struct UnsentJobMessage {
    /// The stage that it starts.
    pub key: StageKey,
    /// Number of sends that began, this one included; each has its own message id.
    pub sends: u32,
    pub job_type: String,
    pub parameters: Box<RawValue>,
    pub path: ProcessingPath,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

impl Database {
    /// Takes up to `limit` job messages that are due, and postpones each by `put_off_seconds`, so
    /// that two callers never take the same one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn due_job_messages(
        &self,
        put_off_seconds: f64,
        limit: i64,
    ) -> Result<Vec<UnsentJobMessage>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/due_job_messages.sql"))
            .bind(put_off_seconds)
            .bind(limit)
            .fetch_all(self.pool().await?)
            .await?;
        let messages = rows.iter().map(|row| {
            Ok::<_, sqlx::Error>(UnsentJobMessage {
                key: StageKey {
                    job_id: jobs::job_id_of(row, "job_id")?,
                    stage: jobs::stage_of(row, "stage")?,
                },
                sends: row.try_get::<i32, _>("sends")?.unsigned_abs(),
                job_type: row.try_get("job_type")?,
                parameters: jobs::json_of(row, "parameters")?,
                path: jobs::path_of(row, "processing_path")?,
                trace: jobs::trace_of(row)?,
            })
        });
        Ok(messages.collect::<Result<_, _>>()?)
    }

    /// Removes a message that was sent from the outbox.
    ///
    /// # Errors
    /// The statement failed; the message is sent again, which changes nothing.
    pub async fn job_message_sent(&self, key: &StageKey) -> Result<(), DatabaseError> {
        failpoint!("job_sent.before_commit", Err(DatabaseError::lost()));
        sqlx::query(include_str!("sql/job_message_sent.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .execute(self.pool().await?)
            .await?;
        failpoint!("job_sent.after_commit", Err(DatabaseError::lost()));
        Ok(())
    }

    /// Records why the message is still unsent.
    ///
    /// # Errors
    /// The statement failed; only the reason is lost.
    pub async fn job_message_failed(
        &self,
        key: &StageKey,
        reason: &str,
    ) -> Result<(), DatabaseError> {
        sqlx::query(include_str!("sql/job_message_failed.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(jobs::without_nul(reason).as_ref())
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }
}
