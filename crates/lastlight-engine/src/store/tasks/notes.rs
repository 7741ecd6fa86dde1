//! What running attempts say about themselves, and the checkpoints of their tasks.

use time::OffsetDateTime;

use super::Tasks;
use crate::{
    job::Note,
    model::TaskId,
    store::{
        connection::DatabaseError,
        rows::{JsonText, RunningTask, StageKey, without_nul},
    },
};

/// What the attempts of a task said about themselves.
#[derive(Debug, Clone)]
pub struct TaskNotes {
    /// The attempt that wrote progress, message and log.
    pub attempt: i16,
    /// 0 to 1.
    pub progress: Option<f32>,
    pub message: Option<String>,
    /// The last 64 KiB of its log.
    pub log_tail: Option<String>,
    /// The checkpoint that the next attempt finds.
    pub checkpoint: Option<JsonText>,
    pub updated_at: OffsetDateTime,
}

impl Tasks<'_> {
    /// Writes what attempts say about themselves. An attempt that another one has followed is left out.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn write_notes(self, notes: &[(RunningTask, Note)]) -> Result<(), DatabaseError> {
        let mut notes: Vec<_> = notes.iter().collect();
        notes.sort_by_key(|(task, _)| (task.job_id, task.stage, task.task_id.clone()));
        let column =
            |text: &Option<String>| text.as_deref().map(|text| without_nul(text).into_owned());
        let jobs: Vec<&str> = notes.iter().map(|(task, _)| task.job_id.as_str()).collect();
        let stages: Vec<i16> = notes.iter().map(|(task, _)| task.stage.number()).collect();
        let tasks: Vec<&str> = notes.iter().map(|(task, _)| task.task_id.as_str()).collect();
        let attempts: Vec<i16> = notes.iter().map(|(task, _)| task.attempt).collect();
        let progress: Vec<Option<f32>> = notes.iter().map(|(_, note)| note.progress).collect();
        let messages: Vec<Option<String>> =
            notes.iter().map(|(_, note)| column(&note.message)).collect();
        let logs: Vec<Option<String>> =
            notes.iter().map(|(_, note)| column(&note.log_tail)).collect();
        sqlx::query_file!(
            "src/store/sql/write_notes.sql",
            &jobs as _,
            &stages,
            &tasks as _,
            &attempts,
            &progress as _,
            &messages as _,
            &logs as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(())
    }

    /// Saves the checkpoint of a running attempt, as JSON; `false` if it no longer holds its task.
    ///
    /// # Errors
    /// The statement failed; whether the checkpoint is saved is unknown.
    pub async fn save_checkpoint(
        self,
        task: &RunningTask,
        checkpoint: &str,
    ) -> Result<bool, DatabaseError> {
        let saved = sqlx::query_file!(
            "src/store/sql/save_checkpoint.sql",
            task.job_id.as_str(),
            task.stage.number(),
            task.task_id.as_str(),
            task.attempt,
            checkpoint as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(saved.rows_affected() == 1)
    }

    /// The checkpoint of a task, if one was saved.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn checkpoint(self, task: &RunningTask) -> Result<Option<JsonText>, DatabaseError> {
        let checkpoint = sqlx::query_file_scalar!(
            "src/store/sql/checkpoint.sql",
            task.job_id.as_str(),
            task.stage.number(),
            task.task_id.as_str(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(checkpoint.flatten())
    }

    /// What the attempts of a task said about themselves; `None` if they said nothing.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn notes(
        self,
        key: &StageKey,
        task_id: &TaskId,
    ) -> Result<Option<TaskNotes>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            TaskNotes,
            "src/store/sql/task_notes.sql",
            key.job_id.as_str(),
            key.stage.number(),
            task_id.as_str(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?)
    }
}
