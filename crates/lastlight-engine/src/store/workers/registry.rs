//! The handlers that tasks need or workers serve, the work that waits for them, and the workers that
//! were seen.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use super::Workers;
use crate::{
    model::{JobId, Stage, TaskId, WorkerHandler},
    store::{connection::DatabaseError, rows::RunningTask},
};

/// Ready tasks of a handler are counted up to this number.
const MOST_COUNTED: i64 = 10_000;

/// Seconds for which a worker that was not seen is still listed as alive.
const ALIVE_SECONDS: f64 = 90.0;

/// Seconds after which a worker that was not seen is forgotten.
const FORGOTTEN_SECONDS: f64 = 24.0 * 3600.0;

/// Maximum number of workers in a list.
const MOST_LISTED: i64 = 1000;

/// What is known of a worker since it was last reported.
#[derive(Debug, Clone, Default)]
pub struct WorkerSeen {
    /// The queue and the handlers that it asked for, if it asked.
    pub asks: Option<(String, Vec<String>)>,
    /// The attempts that its last heartbeat named, if there was one.
    pub running: Option<Vec<RunningTask>>,
}

/// A handler with the work that waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerWork {
    pub handler: WorkerHandler,
    /// When a worker last asked for its tasks.
    pub served_at: Option<OffsetDateTime>,
    /// Number of ready tasks, counted up to 10,000.
    pub ready: i64,
    /// Number of its tasks without an outcome: ready, running, or between two attempts.
    pub open: i64,
    /// When the oldest ready task became ready.
    pub oldest: Option<OffsetDateTime>,
}

impl HandlerWork {
    /// Number of tasks that wait for a worker: exact up to 10,000; beyond that, those without an
    /// outcome.
    pub fn depth(&self) -> i64 {
        if self.ready < MOST_COUNTED { self.ready } else { self.open.max(self.ready) }
    }
}

/// A worker that is alive.
#[derive(Debug, Clone)]
pub struct ListedWorker {
    pub worker_id: String,
    pub queue: String,
    pub handlers: Vec<String>,
    /// When it was first seen.
    pub started_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
}

/// A task that a worker runs.
#[derive(Debug, Clone)]
pub struct TaskOfWorker {
    pub worker_id: String,
    pub job_id: JobId,
    pub job_type: String,
    pub stage: Stage,
    pub node: String,
    pub task_id: TaskId,
    pub attempt: i16,
    /// When the attempt began.
    pub since: OffsetDateTime,
    /// 0 to 1.
    pub progress: Option<f32>,
    pub message: Option<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    worker_id: &'a str,
    queue: Option<&'a str>,
    handlers: Option<&'a [String]>,
    running: Option<Vec<RowTask<'a>>>,
}

#[derive(Serialize)]
struct RowTask<'a> {
    job_id: &'a str,
    stage: i16,
    task_id: &'a str,
    attempt: i16,
}

impl<'a> RowTask<'a> {
    fn of(task: &'a RunningTask) -> Self {
        let RunningTask { job_id, stage, task_id, attempt } = task;
        Self {
            job_id: job_id.as_str(),
            stage: stage.number(),
            task_id: task_id.as_str(),
            attempt: *attempt,
        }
    }
}

impl Workers<'_> {
    /// The id of a handler, which is new if no task ever needed it and no worker served it.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn handler_id(self, handler: &WorkerHandler) -> Result<i32, DatabaseError> {
        let id = sqlx::query_file_scalar!(
            "src/store/sql/worker_handler_id.sql",
            &handler.queue,
            &handler.name,
        );
        Ok(id.fetch_one(self.0.pool().await?).await?)
    }

    /// Notes that workers ask for the tasks of these handlers.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn note_served(self, handlers: &[WorkerHandler]) -> Result<(), DatabaseError> {
        let queues: Vec<&str> = handlers.iter().map(|handler| &*handler.queue).collect();
        let names: Vec<&str> = handlers.iter().map(|handler| &*handler.name).collect();
        sqlx::query_file!("src/store/sql/serve_handlers.sql", &queues as _, &names as _)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }

    /// Those of some handlers that no worker has ever asked for.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn never_served(
        self,
        handlers: &[WorkerHandler],
    ) -> Result<Vec<WorkerHandler>, DatabaseError> {
        let queues: Vec<&str> = handlers.iter().map(|handler| &*handler.queue).collect();
        let names: Vec<&str> = handlers.iter().map(|handler| &*handler.name).collect();
        Ok(sqlx::query_file_as!(
            WorkerHandler,
            "src/store/sql/never_served.sql",
            &queues as _,
            &names as _,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Notes that workers were seen.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn note_seen(self, seen: &BTreeMap<String, WorkerSeen>) -> Result<(), DatabaseError> {
        let rows: Vec<Row<'_>> = seen
            .iter()
            .map(|(worker_id, seen)| Row {
                worker_id,
                queue: seen.asks.as_ref().map(|(queue, _)| &**queue),
                handlers: seen.asks.as_ref().map(|(_, handlers)| &**handlers),
                running: seen
                    .running
                    .as_ref()
                    .map(|running| running.iter().map(RowTask::of).collect()),
            })
            .collect();
        let rows = serde_json::to_string(&rows)
            .map_err(|error| DatabaseError::from(sqlx::Error::Encode(error.into())))?;
        sqlx::query_file!("src/store/sql/report_workers.sql", rows)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }

    /// Forgets workers that were not seen for a day.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn forget(self) -> Result<(), DatabaseError> {
        sqlx::query_file!("src/store/sql/forget_workers.sql", FORGOTTEN_SECONDS)
            .execute(self.0.pool().await?)
            .await?;
        Ok(())
    }

    /// The handlers of a queue, or of all queues, with their work.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn work(self, queue: Option<&str>) -> Result<Vec<HandlerWork>, DatabaseError> {
        let work =
            sqlx::query_file!("src/store/sql/worker_queues.sql", queue, MOST_COUNTED).map(|row| {
                HandlerWork {
                    handler: WorkerHandler { queue: row.queue, name: row.name },
                    served_at: row.served_at,
                    ready: row.ready,
                    open: row.open.unwrap_or_default(),
                    oldest: row.oldest,
                }
            });
        Ok(work.fetch_all(self.0.pool().await?).await?)
    }

    /// The workers of a queue, or of all queues, that are alive; at most 1,000.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn alive(self, queue: Option<&str>) -> Result<Vec<ListedWorker>, DatabaseError> {
        Ok(sqlx::query_file_as!(
            ListedWorker,
            "src/store/sql/list_workers.sql",
            queue,
            ALIVE_SECONDS,
            MOST_LISTED,
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// The tasks that these workers run, according to their last heartbeats.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn tasks_of(self, workers: &[&str]) -> Result<Vec<TaskOfWorker>, DatabaseError> {
        Ok(sqlx::query_file_as!(TaskOfWorker, "src/store/sql/tasks_of_workers.sql", workers as _,)
            .fetch_all(self.0.pool().await?)
            .await?)
    }
}
