//! How a stage's tasks are cut into batches and messages.
//!
//! A batch is what is owed, sent and marked together: a hundred messages of one task, or one
//! message of many.

use serde::{Deserialize, Serialize};

use super::TASKS_PER_BATCH;

/// How many tasks one message names, 1-1000. Above 1 the messages are coarse: each names a batch,
/// which the handler runs task by task, and each task keeps its own outcome, attempt and lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct TasksPerMessage(u16);

/// Not a number of tasks that a message may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tasks_per_message must be a whole number from 1 to 1000, not {0}")]
pub struct TasksPerMessageError(u64);

impl TasksPerMessage {
    /// A message a task.
    pub const ONE: Self = Self(1);

    /// The most that one message may name.
    pub const LARGEST: u16 = 1000;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Messages name batches rather than tasks.
    pub const fn is_coarse(self) -> bool {
        self.0 > 1
    }

    /// Tasks of one batch, the last of a stage apart.
    pub const fn tasks_per_batch(self) -> u32 {
        if self.is_coarse() { self.0 as u32 } else { TASKS_PER_BATCH }
    }
}

impl Default for TasksPerMessage {
    fn default() -> Self {
        Self::ONE
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
