//! How a stage's tasks are divided into batches and messages.
//!
//! The messages of a batch are sent and marked as sent together: a hundred messages of one task
//! each, or one message of many tasks.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::TASKS_PER_BATCH;

/// Number of tasks per message, 1-1000. Above 1 the messages are coarse: each names a batch, which
/// the handler runs task by task, and each task has its own outcome, attempt and lease.
///
/// ```
/// # use lastlight_engine::model::TasksPerMessage;
/// assert_eq!(TasksPerMessage::try_from(500).map(TasksPerMessage::get), Ok(500));
/// assert!(TasksPerMessage::try_from(1001).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct TasksPerMessage(u16);

/// An invalid number of tasks per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tasks_per_message must be a whole number from 1 to 1000, not {0}")]
pub struct TasksPerMessageError(u64);

impl TasksPerMessage {
    /// One message per task.
    pub const ONE: Self = Self(1);

    /// Maximum number of tasks per message.
    pub const LARGEST: u16 = 1000;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether messages name batches instead of tasks.
    pub const fn is_coarse(self) -> bool {
        self.0 > 1
    }

    /// Number of tasks per batch; the last batch of a stage may have fewer.
    pub const fn tasks_per_batch(self) -> u32 {
        if self.is_coarse() { self.0 as u32 } else { TASKS_PER_BATCH }
    }
}

impl Default for TasksPerMessage {
    fn default() -> Self {
        Self::ONE
    }
}

impl JsonSchema for TasksPerMessage {
    fn schema_name() -> Cow<'static, str> {
        "TasksPerMessage".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::LARGEST })
    }
}

impl From<TasksPerMessage> for u16 {
    fn from(tasks: TasksPerMessage) -> Self {
        tasks.0
    }
}

impl TryFrom<u64> for TasksPerMessage {
    type Error = TasksPerMessageError;

    fn try_from(number: u64) -> Result<Self, TasksPerMessageError> {
        match u16::try_from(number) {
            Ok(tasks @ 1..=Self::LARGEST) => Ok(Self(tasks)),
            _ => Err(TasksPerMessageError(number)),
        }
    }
}
