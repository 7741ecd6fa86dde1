//! What messages need of tasks: before the tasks are written, and once their messages are due.

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::corrupt;
use crate::model::{Stage, TaskId, TraceParent};

/// One task to write.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id, derived from job, stage and index.
    pub task_id: TaskId,
    pub task_index: String,
    /// The task whose result it reads.
    pub parent_task_id: Option<TaskId>,
    /// That task's stage, unless it is the previous one.
    pub parent_stage: Option<Stage>,
    /// JSON.
    pub parameters: String,
}

/// A batch that was just written.
#[derive(Debug, Clone)]
pub struct BatchOfTasks {
    /// From 0 within the stage.
    pub batch_no: i32,
    /// A hundred tasks, or as many as one message names.
    pub tasks: Vec<NewTask>,
}

/// A task that needs a message, with the content of that message.
#[derive(Debug, Clone)]
pub struct UnsentTask {
    pub task_id: TaskId,
    pub job_type: String,
    pub task_type: String,
    pub task_index: String,
    /// The task whose result it reads.
    pub parent_task_id: Option<TaskId>,
    pub parameters: Box<RawValue>,
    pub attempt: u32,
    /// Number of messages after the first, whatever the reason.
    pub resends: u32,
    /// The trace that the job belongs to.
    pub trace: Option<TraceParent>,
}

/// The content of a task's message, from a row with a column for each part. `row?`: of columns that
/// are all null in a row without a task, for which the function returns `None`.
macro_rules! unsent_task {
    ($row:ident $($or_none:tt)?) => {
        UnsentTask {
            task_id: $row.task_id $($or_none)?,
            job_type: $row.job_type $($or_none)?,
            task_type: $row.task_type $($or_none)?,
            task_index: $row.task_index $($or_none)?,
            parent_task_id: $row.parent_task_id,
            parameters: $row.parameters $($or_none)?.into(),
            attempt: $row.attempt $($or_none)?.unsigned_abs().into(),
            resends: $row.resends $($or_none)?.unsigned_abs().into(),
            trace: $row.trace.into(),
        }
    };
}
pub(in crate::store) use unsent_task;

/// Number of new messages that were sent in place of undeliverable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeliveries {
    pub count: u8,
    /// When the newest of them was written; an older message was already replaced.
    pub last: Option<OffsetDateTime>,
}

/// From the columns `poisoned` and `poisoned_at`.
pub(in crate::store) fn redelivered(
    count: Option<i16>,
    last: Option<OffsetDateTime>,
) -> Result<Redeliveries, sqlx::Error> {
    let count = count.unwrap_or_default();
    Ok(Redeliveries { count: u8::try_from(count).map_err(|_| corrupt("poisoned", count))?, last })
}
