//! The end of a stage: its results, page by page, and the transaction that advances the job.

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError, StageKey,
    jobs::{corrupt, json_of, optional_json_of, path_of, stage_of, trace_of, without_nul},
};
use crate::{
    failpoint::failpoint,
    model::{JobStatus, ProcessingPath, Stage, TaskStatus, TraceParent},
};

/// A stage that has ended and was not advanced yet.
#[derive(Debug, Clone)]
pub struct EndedStage {
    /// Number of its tasks.
    pub total: i64,
    /// Tasks with a result.
    pub completed: i64,
    /// Tasks that failed permanently.
    pub failed: i64,
    /// Tasks that did not run.
    pub skipped: i64,
    /// When the stage began.
    pub created_at: OffsetDateTime,
    /// When its last outcome was counted.
    pub updated_at: OffsetDateTime,
    pub job_type: String,
    /// Number of stages of the job.
    pub total_stages: Stage,
    pub path: ProcessingPath,
    pub parameters: Box<RawValue>,
    /// The summaries of the previous stages.
    pub stage_results: Box<RawValue>,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

/// Result of advancing a job to its next stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStage {
    /// The job is in its next stage, whose job message is unsent.
    Unsent,
    /// The job is paused before its next stage, because a user requested that.
    Paused,
    /// Another process advanced the job, or the job is finished.
    NotOurs,
}

impl NextStage {
    /// The name that is logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "owed",
            Self::Paused => "paused",
            Self::NotOurs => "not_ours",
        }
    }
}

#[derive(Debug, Clone)]
pub struct TaskResult {
    /// Id of the task; a page begins after the last id of the previous page.
    pub task_id: String,
    /// Its position in the plan, from 0.
    pub ordinal: i32,
    pub task_index: String,
    pub status: TaskStatus,
    /// Its result, if it completed.
    pub result: Option<Box<RawValue>>,
    /// The reason, if it failed.
    pub error: Option<String>,
    /// Microseconds from planned to finished.
    pub latency_us: Option<i64>,
}

impl Database {
    /// The stage, if it has ended and was not advanced yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn ended_stage(&self, key: &StageKey) -> Result<Option<EndedStage>, DatabaseError> {
        let row = sqlx::query(include_str!("sql/ended_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .fetch_optional(self.pool().await?)
            .await?;
        let stage = row.map(|row| {
            Ok::<_, sqlx::Error>(EndedStage {
                total: row.try_get("total")?,
                completed: row.try_get("completed")?,
                failed: row.try_get("failed")?,
                skipped: row.try_get("skipped")?,
                created_at: row.try_get("created_at")?,
                updated_at: row.try_get("updated_at")?,
                job_type: row.try_get("job_type")?,
                total_stages: stage_of(&row, "total_stages")?,
                path: path_of(&row, "processing_path")?,
                parameters: json_of(&row, "parameters")?,
                stage_results: json_of(&row, "stage_results")?,
                trace: trace_of(&row)?,
            })
        });
        Ok(stage.transpose()?)
    }

    /// Passes one page of a stage's outcomes to `take`, in the order of task ids, after the id
    /// `after` ("" for the first page); returns the last id if the page was full. One outcome at a
    /// time is in memory: each may have a result of a megabyte.
    ///
    /// # Errors
    /// The statement failed; some outcomes may have been passed to `take`.
    pub async fn results_page(
        &self,
        key: &StageKey,
        after: &str,
        limit: u32,
        mut take: impl FnMut(TaskResult),
    ) -> Result<Option<String>, DatabaseError> {
        // In a transaction, since only its connection returns rows one by one.
        let mut transaction = self.begin().await?;
        let mut count = 0;
        let mut last = None;
        {
            let mut rows = sqlx::query(include_str!("sql/results_page.sql"))
                .bind(key.job_id.as_str())
                .bind(i16::from(key.stage.get()))
                .bind(after)
                .bind(i64::from(limit))
                .fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                let result = task_result(&row)?;
                count += 1;
                if count == limit {
                    last = Some(result.task_id.clone());
                }
                take(result);
            }
        }
        transaction.commit().await?;
        Ok(last)
    }

    /// Advances a job to its next stage: writes that stage's row and its job message, in the
    /// transaction that claims the end of this stage as it was `read`.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn next_stage(
        &self,
        key: &StageKey,
        read: &EndedStage,
        stage_results: &str,
        grace_seconds: f64,
    ) -> Result<NextStage, DatabaseError> {
        let mut transaction = self.begin().await?;
        if !claim_end(&mut transaction, key, read).await? {
            return Ok(NextStage::NotOurs);
        }
        let is_paused: Option<bool> = sqlx::query_scalar(include_str!("sql/next_stage.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(stage_results)
            .bind(grace_seconds)
            .bind(JobStatus::sources(JobStatus::Queued))
            .fetch_optional(&mut *transaction)
            .await?;
        failpoint!("next_stage.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("next_stage.after_commit", Err(DatabaseError::lost()));
        Ok(match is_paused {
            Some(false) => NextStage::Unsent,
            Some(true) => NextStage::Paused,
            None => NextStage::NotOurs,
        })
    }

    /// Ends the job in the transaction that claims the end of its last stage (or of a stage that
    /// failed it) as it was `read`. `false` if another process did that, the job is finished, or
    /// the stage has ended again since.
    ///
    /// # Errors
    /// A statement failed; nothing changed.
    pub async fn end_job(
        &self,
        key: &StageKey,
        read: &EndedStage,
        status: JobStatus,
        stage_results: &str,
        result_data: Option<&str>,
        error_details: Option<&str>,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.begin().await?;
        if !claim_end(&mut transaction, key, read).await? {
            return Ok(false);
        }
        let ended = sqlx::query(include_str!("sql/end_job.sql"))
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(status.as_str())
            .bind(stage_results)
            .bind(result_data)
            .bind(error_details.map(without_nul).as_deref())
            .bind(JobStatus::sources(status))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        failpoint!("end_job.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("end_job.after_commit", Err(DatabaseError::lost()));
        Ok(ended == 1)
    }
}

fn task_result(row: &PgRow) -> Result<TaskResult, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    Ok(TaskResult {
        task_id: row.try_get("task_id")?,
        ordinal: row.try_get("ordinal")?,
        task_index: row.try_get("task_index")?,
        status: TaskStatus::from_name(status).ok_or_else(|| corrupt("status", status))?,
        result: optional_json_of(row, "result_data")?,
        error: row.try_get("error_details")?,
        latency_us: row.try_get("latency_us")?,
    })
}

async fn claim_end(
    connection: &mut sqlx::PgConnection,
    key: &StageKey,
    read: &EndedStage,
) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query(include_str!("sql/advance_stage.sql"))
        .bind(key.job_id.as_str())
        .bind(i16::from(key.stage.get()))
        .bind(read.completed)
        .bind(read.failed)
        .bind(read.skipped)
        .execute(connection)
        .await?;
    Ok(claimed.rows_affected() == 1)
}
