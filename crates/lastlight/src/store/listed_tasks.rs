//! Lists of tasks for users: the tasks of a stage page by page, in the order of their ids, and the
//! stages that can contain any.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError, JobPosition, Page, StageKey,
    jobs::{corrupt, job_id_of, json_of, optional_json_of, stage_of},
    listed_jobs::{LARGEST_PAGE, page_of},
};
use crate::model::{JobId, Stage, TaskStatus, Timestamp};

/// A task with all its fields, as shown to users.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedTask {
    /// Id of the task, unique within its job.
    pub task_id: String,
    /// Id of its job.
    pub parent_job_id: JobId,
    /// Type of its job.
    pub job_type: String,
    /// Type of the task.
    pub task_type: String,
    /// Number of its stage.
    pub stage: Stage,
    /// Its semantic index.
    pub task_index: String,
    /// Its position in the plan of the stage, from 0.
    pub ordinal: i32,
    /// Its status; `pending_queue` while its message is unsent.
    pub status: TaskStatus,
    /// Number of attempts that began.
    pub attempt: i16,
    /// Number of messages that were sent again for it.
    pub retry_count: i16,
    /// Id of the batch with which it was planned and sent.
    pub batch_id: String,
    /// Id of the task of the previous stage whose result it receives.
    pub parent_task_id: Option<String>,
    /// Parameters that its handler receives.
    pub parameters: Box<RawValue>,
    /// Its result, if it completed.
    pub result_data: Option<Box<RawValue>>,
    /// Why its last attempt failed, if it did.
    pub error_details: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it completed, failed or was skipped.
    pub finished_at: Option<Timestamp>,
    /// Time before which a retry is not due.
    pub due_at: Option<Timestamp>,
    /// Until when an attempt holds the task, or a message for it is expected to arrive.
    pub lease_until: Option<Timestamp>,
}

impl ListedTask {
    /// Size of its parameters, result and error in bytes.
    pub fn bytes(&self) -> usize {
        self.parameters.get().len()
            + self.result_data.as_ref().map_or(0, |result| result.get().len())
            + self.error_details.as_ref().map_or(0, String::len)
    }
}

/// Position in a list of the tasks of all jobs: the list continues with the tasks of this job's
/// stage that come after an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPosition {
    pub job: JobPosition,
    /// The stage's number; 101 and more: the list continues after the job.
    pub stage: i16,
    /// The last id; "" to continue with the first task.
    pub task_id: String,
}

/// A stage that can contain tasks of a status, according to its counters.
#[derive(Debug, Clone, Copy)]
pub struct StageToList {
    /// Position of its job in the list.
    pub job: JobPosition,
    pub stage: Stage,
}

/// Which tasks to list. A field that is `None` does not restrict the list.
#[derive(Debug, Clone, Copy)]
pub struct TaskFilter<'a> {
    /// Only tasks of jobs that were submitted in the last N hours.
    pub hours: u16,
    /// Only tasks of jobs of this type.
    pub job_type: Option<&'a str>,
    /// Only tasks of this stage.
    pub stage: Option<Stage>,
    /// Only tasks that are shown with this status.
    pub status: Option<TaskStatus>,
}

impl Database {
    /// The job's stages from number `from` on, or `stage` alone, that can contain tasks of
    /// `status`; `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_of_job_with_tasks(
        &self,
        job_id: &JobId,
        from: i16,
        stage: Option<Stage>,
        status: Option<TaskStatus>,
    ) -> Result<Option<Vec<StageToList>>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_of_job_with_tasks.sql"))
            .bind(job_id.as_str())
            .bind(from)
            .bind(stage.map(|stage| i16::from(stage.get())))
            .bind(status.map(TaskStatus::as_str))
            .fetch_all(self.pool().await?)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let stages = rows.iter().filter_map(|row| stage_to_list(row).transpose());
        Ok(Some(stages.collect::<Result<_, sqlx::Error>>()?))
    }

    /// At most `limit` stages, newest job first, from `from` on, that can contain tasks that match
    /// the filter, among the next `look` jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_with_tasks(
        &self,
        filter: TaskFilter<'_>,
        from: Option<&TaskPosition>,
        limit: u16,
        look: u32,
    ) -> Result<Page<StageToList, JobPosition>, DatabaseError> {
        let rows = sqlx::query(include_str!("sql/stages_with_tasks.sql"))
            .bind(from.map(|position| position.job.created_at))
            .bind(from.map(|position| position.job.job_id.as_str()))
            .bind(from.map(|position| position.stage))
            .bind(i32::from(filter.hours))
            .bind(filter.job_type)
            .bind(filter.stage.map(|stage| i16::from(stage.get())))
            .bind(filter.status.map(TaskStatus::as_str))
            .bind(i64::from(limit) + 1)
            .bind(i64::from(look))
            .fetch_all(self.pool().await?)
            .await?;
        let read = |row: &PgRow| stage_to_list(row)?.ok_or_else(|| corrupt("stage", "null"));
        Ok(page_of(&rows, "is_stage", limit, look, read, job_position)?)
    }

    /// At most `limit` tasks of a stage after the id `after` ("" for the first page) that are shown
    /// with `status`, among the next `look` tasks.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list_tasks(
        &self,
        key: &StageKey,
        status: Option<TaskStatus>,
        after: &str,
        limit: u16,
        look: u32,
    ) -> Result<Page<ListedTask, String>, DatabaseError> {
        // Failed tasks have an index.
        let is_failed = status == Some(TaskStatus::Failed);
        let statement = if is_failed {
            sqlx::query(include_str!("sql/query_failed_tasks.sql"))
        } else {
            sqlx::query(include_str!("sql/query_tasks.sql"))
        };
        let mut statement = statement
            .bind(key.job_id.as_str())
            .bind(i16::from(key.stage.get()))
            .bind(after)
            .bind(i64::from(limit) + 1)
            .bind(i64::from(look))
            .bind(LARGEST_PAGE as i64);
        if !is_failed {
            statement = statement.bind(status.map(TaskStatus::as_str));
        }
        let rows = statement.fetch_all(self.pool().await?).await?;
        let position = |row: &PgRow| row.try_get("key_task_id");
        Ok(page_of(&rows, "is_task", limit, look, listed_task, position)?)
    }
}

fn job_position(row: &PgRow) -> Result<JobPosition, sqlx::Error> {
    Ok(JobPosition { created_at: row.try_get("created_at")?, job_id: job_id_of(row, "job_id")? })
}

fn stage_to_list(row: &PgRow) -> Result<Option<StageToList>, sqlx::Error> {
    if row.try_get::<Option<i16>, _>("stage")?.is_none() {
        return Ok(None);
    }
    Ok(Some(StageToList { job: job_position(row)?, stage: stage_of(row, "stage")? }))
}

fn listed_task(row: &PgRow) -> Result<ListedTask, sqlx::Error> {
    let status: &str = row.try_get("status")?;
    let time =
        |column| row.try_get::<Option<OffsetDateTime>, _>(column).map(|time| time.map(Timestamp));
    Ok(ListedTask {
        task_id: row.try_get("task_id")?,
        parent_job_id: job_id_of(row, "parent_job_id")?,
        job_type: row.try_get("job_type")?,
        task_type: row.try_get("task_type")?,
        stage: stage_of(row, "stage")?,
        task_index: row.try_get("task_index")?,
        ordinal: row.try_get("ordinal")?,
        status: TaskStatus::from_name(status).ok_or_else(|| corrupt("status", status))?,
        attempt: row.try_get("attempt")?,
        retry_count: row.try_get("retry_count")?,
        batch_id: row.try_get("batch_id")?,
        parent_task_id: row.try_get("parent_task_id")?,
        parameters: json_of(row, "parameters")?,
        result_data: optional_json_of(row, "result_data")?,
        error_details: row.try_get("error_details")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
        due_at: time("due_at")?,
        lease_until: time("lease_until")?,
    })
}
