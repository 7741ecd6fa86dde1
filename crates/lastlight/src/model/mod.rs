//! Ids, statuses and their transitions, messages: the terms that all other modules use.

mod batching;
pub mod canonical;
pub mod clock;
pub mod histogram;
mod ids;
pub mod messages;
mod nesting;
mod path;
mod status;
pub mod timestamp;
mod trace;
mod version;

pub use batching::{TasksPerMessage, TasksPerMessageError};
pub use histogram::{Histogram, Metric};
pub use ids::{BatchId, IdError, JobId, Stage, TASKS_PER_BATCH, TaskId, TaskIndex};
pub use nesting::{DEEPEST_NESTING, nesting};
pub use path::ProcessingPath;
pub use status::{IllegalTransition, JobStatus, TaskStatus};
pub use timestamp::Timestamp;
pub use trace::TraceParent;
pub use version::JobVersion;
