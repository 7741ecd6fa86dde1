//! Job messages: a message is unsent from the transaction that made it due until it is sent.

use serde_json::value::RawValue;

use super::Outbox;
use crate::{
    failpoint::failpoint,
    model::{ProcessingPath, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{StageKey, StoredTrace, without_nul},
    },
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

impl Outbox<'_> {
    /// Takes up to `limit` job messages that are due, and postpones each by `put_off_seconds`, so
    /// that two callers never take the same one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn due_job_messages(
        self,
        put_off_seconds: f64,
        limit: i64,
    ) -> Result<Vec<UnsentJobMessage>, DatabaseError> {
        let messages =
            sqlx::query_file!("src/store/sql/due_job_messages.sql", put_off_seconds, limit).map(
                |row| UnsentJobMessage {
                    key: StageKey { job_id: row.job_id, stage: row.stage },
                    sends: row.sends.unsigned_abs(),
                    job_type: row.job_type,
                    parameters: row.parameters.into(),
                    path: row.path,
                    trace: row.trace.into(),
                },
            );
        Ok(messages.fetch_all(self.0.pool().await?).await?)
    }

    /// Removes a message that was sent from the outbox.
    ///
    /// # Errors
    /// The statement failed; the message is sent again, which changes nothing.
    pub async fn job_message_sent(self, key: &StageKey) -> Result<(), DatabaseError> {
        failpoint!("job_sent.before_commit", Err(DatabaseError::lost()));
        sqlx::query_file!(
            "src/store/sql/job_message_sent.sql",
            key.job_id.as_str(),
            key.stage.number(),
        )
        .execute(self.0.pool().await?)
        .await?;
        failpoint!("job_sent.after_commit", Err(DatabaseError::lost()));
        Ok(())
    }

    /// Records why the message is still unsent.
    ///
    /// # Errors
    /// The statement failed; only the reason is lost.
    pub async fn job_message_failed(
        self,
        key: &StageKey,
        reason: &str,
    ) -> Result<(), DatabaseError> {
        sqlx::query_file!(
            "src/store/sql/job_message_failed.sql",
            key.job_id.as_str(),
            key.stage.number(),
            without_nul(reason) as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }
}
