//! Requests and answers of the HTTP API, shared by the app, the client and tests, and the ids,
//! statuses and times in them. Knows neither database nor queues; the feature `sqlx` only makes the
//! ids and statuses types of columns.
//!
//! The app sends every field; a reader ignores unknown fields of a newer app, and fields with a
//! default may be missing in the answer of an older one.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod archive;
pub mod audit;
pub mod bulk;
pub mod canonical;
#[cfg(feature = "sqlx")]
mod columns;
pub mod comparison;
pub mod control;
pub mod events;
mod ids;
pub mod job_types;
pub mod jobs;
pub mod labels;
pub mod notifications;
mod path;
pub mod poison;
pub mod purge;
pub mod schedules;
mod status;
pub mod tasks;
pub mod timestamp;
mod version;
pub mod workers;

pub use ids::{BatchId, IdError, JobId, Stage, TASKS_PER_BATCH, TaskId, TaskIndex};
pub use labels::Labels;
pub use path::ProcessingPath;
pub use status::{GateDecision, IllegalTransition, JobStatus, StageKind, StageOutcome, TaskStatus};
pub use timestamp::Timestamp;
pub use version::JobVersion;
