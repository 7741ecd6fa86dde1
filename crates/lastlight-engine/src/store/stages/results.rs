//! The end of a stage: its results, page by page, and the transaction that advances the job. And
//! closing the stages of a finished job, so that none stays open.

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::Stages;
use crate::{
    failpoint::failpoint,
    model::{GateDecision, JobStatus, ProcessingPath, Stage, StageKind, TaskStatus, TraceParent},
    store::{
        connection::DatabaseError,
        rows::{JsonText, StageKey, StoredTrace, corrupt, without_nul},
    },
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
    /// The run that the job is in.
    pub run: i32,
    /// How it came to its end, if it is a stage of a graph.
    pub kind: Option<StageKind>,
    /// Its name, if it is a stage of a graph.
    pub name: Option<String>,
    /// Whether it did not run because a stage that it needs did not complete or choose it.
    pub unmet: Option<bool>,
    /// What was decided at a gate.
    pub decision: Option<GateDecision>,
    /// What the job that it waited for resulted in, if that job failed.
    pub failure: Option<JsonText>,
    /// The definition from which the job was made.
    pub definition_id: Option<String>,
    /// Whether stages of other jobs may wait for the end of the job.
    pub is_child: Option<bool>,
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
    pub result: Option<JsonText>,
    /// The reason, if it failed.
    pub error: Option<String>,
    /// Microseconds from planned to finished.
    pub latency_us: Option<i64>,
}

/// The ends of tasks in the order of the plan.
#[derive(Debug, Clone)]
pub struct ResultsInOrder {
    /// For each task its result, or why it failed.
    pub ends: Vec<Result<Box<RawValue>, String>>,
    /// The batch that they belong to; `None` if there is none left.
    pub last: Option<i32>,
}

impl Stages<'_> {
    /// The stage, if it has ended and was not advanced yet.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn ended(self, key: &StageKey) -> Result<Option<EndedStage>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            EndedStage,
            "src/store/sql/ended_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?)
    }

    /// Passes one page of a stage's outcomes to `take`, in the order of task ids, after the id
    /// `after` ("" for the first page); returns the last id if the page was full. One outcome at a
    /// time is in memory: each may have a result of a megabyte.
    ///
    /// # Errors
    /// The statement failed; some outcomes may have been passed to `take`.
    pub async fn results_page(
        self,
        key: &StageKey,
        after: &str,
        limit: u32,
        mut take: impl FnMut(TaskResult),
    ) -> Result<Option<String>, DatabaseError> {
        // In a transaction, since only its connection returns rows one by one.
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        let mut last = None;
        {
            let mut results = sqlx::query_file_as!(
                TaskResult,
                "src/store/sql/results_page.sql",
                key.job_id.as_str(),
                key.stage.number(),
                after,
                i64::from(limit),
            )
            .fetch(&mut *transaction);
            while let Some(result) = results.try_next().await? {
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
    pub async fn advance(
        self,
        key: &StageKey,
        read: &EndedStage,
        stage_results: &str,
        grace_seconds: f64,
    ) -> Result<NextStage, DatabaseError> {
        let mut transaction = self.0.begin().await?;
        if !claim_end(&mut transaction, key, read).await? {
            return Ok(NextStage::NotOurs);
        }
        let is_paused = sqlx::query_file_scalar!(
            "src/store/sql/next_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            stage_results as _,
            grace_seconds,
            JobStatus::sources(JobStatus::Queued) as _,
        )
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
        self,
        key: &StageKey,
        read: &EndedStage,
        status: JobStatus,
        stage_results: &str,
        result_data: Option<&str>,
        error_details: Option<&str>,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.0.begin().await?;
        if !claim_end(&mut transaction, key, read).await? {
            return Ok(false);
        }
        let error_details = error_details.map(without_nul);
        let ended = sqlx::query_file!(
            "src/store/sql/end_job.sql",
            key.job_id.as_str(),
            key.stage.number(),
            status.as_str(),
            stage_results as _,
            result_data as _,
            error_details.as_deref(),
            JobStatus::sources(status) as _,
        )
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        failpoint!("end_job.before_commit", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("end_job.after_commit", Err(DatabaseError::lost()));
        Ok(ended == 1)
    }

    /// What a stage of a graph resulted in: the output of a stage without tasks, or the result of its
    /// first task; `None` if it did not complete.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn output(self, key: &StageKey) -> Result<Option<Box<RawValue>>, DatabaseError> {
        let output = sqlx::query_file_scalar!(
            "src/store/sql/stage_output.sql",
            key.job_id.as_str(),
            key.stage.number(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(output.flatten().map(|output| output.0))
    }

    /// The summary of a completed stage of a graph; `None` if it did not complete.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn summary(self, key: &StageKey) -> Result<Option<Box<RawValue>>, DatabaseError> {
        let summary = sqlx::query_file_scalar!(
            "src/store/sql/stage_summary.sql",
            key.job_id.as_str(),
            key.stage.number(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(summary.flatten().map(|summary| summary.0))
    }

    /// The ends of the tasks of the first batch after batch `after` (-1 for the first),
    /// in the order of the plan.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn results_in_order(
        self,
        key: &StageKey,
        after: i32,
    ) -> Result<ResultsInOrder, DatabaseError> {
        let page = sqlx::query_file!(
            "src/store/sql/results_in_order.sql",
            key.job_id.as_str(),
            key.stage.number(),
            after,
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        let Some(page) = page else {
            return Ok(ResultsInOrder { ends: Vec::new(), last: None });
        };
        let mut ends = Vec::with_capacity(page.results.len());
        for (result, error) in page.results.into_iter().zip(page.errors) {
            ends.push(match result {
                Some(result) => {
                    Ok(RawValue::from_string(result)
                        .map_err(|error| corrupt("result_data", error))?)
                }
                None => Err(error.unwrap_or_default()),
            });
        }
        Ok(ResultsInOrder { ends, last: Some(page.batch_no) })
    }

    /// Closes a stage of a finished job, if none of its tasks is open; returns whether this call
    /// did.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn close(self, key: &StageKey) -> Result<bool, DatabaseError> {
        let closed = sqlx::query_file!(
            "src/store/sql/close_stage.sql",
            key.job_id.as_str(),
            key.stage.number(),
            JobStatus::open() as _,
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(closed.rows_affected() == 1)
    }
}

async fn claim_end(
    connection: &mut sqlx::PgConnection,
    key: &StageKey,
    read: &EndedStage,
) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query_file!(
        "src/store/sql/advance_stage.sql",
        key.job_id.as_str(),
        key.stage.number(),
        read.completed,
        read.failed,
        read.skipped,
        read.run,
    )
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() == 1)
}
