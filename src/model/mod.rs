//! Ids, statuses and their transitions, messages: the words of the house. Knows nothing above it.

pub mod canonical;
mod ids;
pub mod messages;
mod path;
mod status;
pub mod timestamp;

pub use ids::{BatchId, IdError, JobId, Stage, TASKS_PER_BATCH, TaskId, TaskIndex};
pub use path::ProcessingPath;
pub use status::{IllegalTransition, JobStatus, TaskStatus};
