//! Ids, statuses and their transitions, messages: the terms that all other modules use.

mod batching;
pub mod clock;
mod graph;
pub mod histogram;
pub mod messages;
mod nesting;
mod terms;
mod trace;
mod user_request;
mod worker;

pub use batching::{TasksPerMessage, TasksPerMessageError};
pub use graph::StageInGraph;
pub use histogram::{Histogram, Metric};
pub use lastlight_api::{
    BatchId, GateDecision, IdError, IllegalTransition, JobId, JobStatus, JobVersion, Labels,
    ProcessingPath, Stage, StageKind, StageOutcome, TASKS_PER_BATCH, TaskId, TaskIndex, TaskStatus,
    Timestamp, canonical, timestamp,
};
pub use nesting::{DEEPEST_NESTING, nesting};
pub use terms::{LABEL, PARAMETER, Prefix, Term, is_parameter_name};
pub use trace::TraceParent;
pub use user_request::UserRequest;
pub use worker::{DEFAULT_QUEUE, WorkerHandler};
