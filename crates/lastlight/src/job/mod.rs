//! Job types define what is computed. An app adds each one with [`App::job`](crate::App::job).
//!
//! A job type checks its parameters, lists its stages, plans their tasks as a stream, runs one
//! task, and folds a stage's results into a summary. It is independent of queues, database and
//! host.

mod catalog;
mod fields;
mod fold;
mod job_type;
pub(crate) mod panics;
mod policy;

pub use catalog::{Catalog, DynJobType};
pub use fields::{FieldProblem, Fields};
pub use fold::{CountFold, Fold};
pub use job_type::{
    JobType, Plan, PlanContext, PlanError, StageSpec, Task, TaskDefinition, TaskError, to_json,
};
pub use policy::{Backoff, FailurePolicy, TaskPolicy};
