//! Lists of tasks for users: the tasks of a stage page by page, in the order of their ids, and the
//! stages that can contain any.

use time::OffsetDateTime;

use super::Tasks;
use crate::{
    model::{JobId, Stage, TaskId, TaskStatus, Timestamp},
    store::{
        connection::DatabaseError,
        rows::{JobPosition, JsonText, LARGEST_PAGE, Page, StageKey, page_of},
    },
};
pub use lastlight_api::tasks::ListedTask;

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

impl Tasks<'_> {
    /// The job's stages from number `from` on, or `stage` alone, that can contain tasks of
    /// `status`; `None` if the job does not exist.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_of_job_to_list(
        self,
        job_id: &JobId,
        from: i16,
        stage: Option<Stage>,
        status: Option<TaskStatus>,
    ) -> Result<Option<Vec<StageToList>>, DatabaseError> {
        let rows = sqlx::query_file!(
            "src/store/sql/stages_of_job_with_tasks.sql",
            job_id.as_str(),
            from,
            stage.map(Stage::number),
            status.map(TaskStatus::as_str),
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let stages = rows.iter().filter_map(|row| {
            let job = JobPosition { created_at: row.created_at, job_id: row.job_id };
            row.stage.map(|stage| StageToList { job, stage })
        });
        Ok((!rows.is_empty()).then(|| stages.collect()))
    }

    /// At most `limit` stages, newest job first, from `from` on, that can contain tasks that match
    /// the filter, among the next `look` jobs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn stages_to_list(
        self,
        filter: TaskFilter<'_>,
        from: Option<&TaskPosition>,
        limit: u16,
        look: u32,
    ) -> Result<Page<StageToList, JobPosition>, DatabaseError> {
        let rows = sqlx::query_file!(
            "src/store/sql/stages_with_tasks.sql",
            from.map(|position| position.job.created_at),
            from.map(|position| position.job.job_id.as_str()),
            from.map(|position| position.stage),
            i32::from(filter.hours),
            filter.job_type,
            filter.stage.map(Stage::number),
            filter.status.map(TaskStatus::as_str),
            i64::from(limit) + 1,
            i64::from(look),
        )
        .fetch_all(self.0.pool().await?)
        .await?;
        let rows = rows.into_iter().map(|row| {
            let job = JobPosition { created_at: row.created_at, job_id: row.job_id };
            (row.place, job, row.stage.map(|stage| StageToList { job, stage }))
        });
        Ok(page_of(rows, limit, look))
    }

    /// At most `limit` tasks of a stage after the id `after` ("" for the first page) that are shown
    /// with `status`, among the next `look` tasks.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list(
        self,
        key: &StageKey,
        status: Option<TaskStatus>,
        after: &str,
        limit: u16,
        look: u32,
    ) -> Result<Page<ListedTask, String>, DatabaseError> {
        let pool = self.0.pool().await?;
        macro_rules! page {
            ($statement:literal $(, $more:expr)*) => {
                sqlx::query_file_as!(
                    TaskRow,
                    $statement,
                    key.job_id.as_str(),
                    key.stage.number(),
                    after,
                    i64::from(limit) + 1,
                    i64::from(look),
                    LARGEST_PAGE as i64
                    $(, $more)*
                )
                .fetch_all(pool)
                .await?
            };
        }
        let rows = match status {
            // Failed tasks have an index.
            Some(TaskStatus::Failed) => page!("src/store/sql/query_failed_tasks.sql"),
            status => page!("src/store/sql/query_tasks.sql", status.map(TaskStatus::as_str)),
        };
        let rows = rows.into_iter().map(|row| (row.place, row.task_id.clone(), row.task(key)));
        Ok(page_of(rows, limit, look))
    }

    /// One task with all its fields; `None` if there is no such task.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get(
        self,
        key: &StageKey,
        task_id: &TaskId,
    ) -> Result<Option<ListedTask>, DatabaseError> {
        let row = sqlx::query_file_as!(
            TaskRow,
            "src/store/sql/get_task.sql",
            key.job_id.as_str(),
            key.stage.number(),
            task_id.as_str(),
        )
        .fetch_optional(self.0.pool().await?)
        .await?;
        Ok(row.and_then(|row| row.task(key)))
    }
}

/// A row of a page: a task, or the position where the search stopped.
struct TaskRow {
    place: i64,
    task_id: String,
    job_type: Option<String>,
    task_type: Option<String>,
    task_index: Option<String>,
    ordinal: Option<i32>,
    status: Option<TaskStatus>,
    attempt: Option<i16>,
    retry_count: Option<i16>,
    batch_id: Option<String>,
    parent_task_id: Option<String>,
    parameters: Option<JsonText>,
    result_data: Option<JsonText>,
    error_details: Option<String>,
    created_at: Option<OffsetDateTime>,
    updated_at: Option<OffsetDateTime>,
    started_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    due_at: Option<OffsetDateTime>,
    lease_until: Option<OffsetDateTime>,
    progress: Option<f32>,
    message: Option<String>,
    worker_id: Option<String>,
}

impl TaskRow {
    fn task(self, key: &StageKey) -> Option<ListedTask> {
        Some(ListedTask {
            task_id: self.task_id,
            parent_job_id: key.job_id,
            job_type: self.job_type?,
            task_type: self.task_type?,
            stage: key.stage,
            task_index: self.task_index?,
            ordinal: self.ordinal?,
            status: self.status?,
            attempt: self.attempt?,
            retry_count: self.retry_count?,
            batch_id: self.batch_id?,
            parent_task_id: self.parent_task_id,
            parameters: self.parameters?.0,
            result_data: self.result_data.map(JsonText::into),
            error_details: self.error_details,
            created_at: Timestamp(self.created_at?),
            updated_at: Timestamp(self.updated_at?),
            started_at: self.started_at.map(Timestamp),
            finished_at: self.finished_at.map(Timestamp),
            due_at: self.due_at.map(Timestamp),
            lease_until: self.lease_until.map(Timestamp),
            progress: self.progress,
            message: self.message,
            worker_id: self.worker_id,
        })
    }
}
