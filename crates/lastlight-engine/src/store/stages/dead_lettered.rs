//! Stages whose job messages were dead-lettered: they get a new message. The statement checks again
//! the row that it changes, so that it may run twice.

use time::OffsetDateTime;

use super::Stages;
use crate::{
    model::JobStatus,
    store::{
        connection::DatabaseError,
        rows::{Redeliveries, StageKey, redelivered},
    },
};

/// A stage that a dead-lettered job message was to start.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetteredStage {
    /// Whether it needs no job message any more.
    pub planned: bool,
    pub leased: bool,
    /// New messages sent in place of undeliverable ones.
    pub redelivered: Redeliveries,
}

impl Stages<'_> {
    /// The stage that a job message names; `None` if it does not exist yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn dead_lettered(
        self,
        key: &StageKey,
    ) -> Result<Option<DeadLetteredStage>, DatabaseError> {
        let stage = sqlx::query_file!(
            "src/store/sql/dead_lettered_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
        )
        .try_map(|row| {
            Ok(DeadLetteredStage {
                planned: row.planned,
                leased: row.leased.unwrap_or(false),
                redelivered: redelivered(row.poisoned, row.poisoned_at)?,
            })
        });
        Ok(stage.fetch_optional(self.0.pool().await?).await?)
    }

    /// Makes the stage's job message unsent again and counts that. Returns the number of the send
    /// that the caller is to make, or `None` if the message is unsent already, another caller was
    /// faster, or no message is needed any more. `grace_seconds`: how long only the caller may send
    /// it.
    ///
    /// # Errors
    /// The statement failed; nothing changed.
    pub async fn redelivered(
        self,
        key: &StageKey,
        redelivered: Redeliveries,
        at: OffsetDateTime,
        grace_seconds: f64,
    ) -> Result<Option<u32>, DatabaseError> {
        let sends = sqlx::query_file_scalar!(
            "src/store/sql/stage_redelivered.sql",
            key.job_id.as_str(),
            key.stage.number(),
            i32::from(redelivered.count),
            at,
            grace_seconds,
            &JobStatus::sources(JobStatus::Failed) as _,
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(sends.map(i32::unsigned_abs))
    }
}
