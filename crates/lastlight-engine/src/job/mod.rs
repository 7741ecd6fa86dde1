//! Job types define what is computed. An app adds each one with [`App::job`](crate::App::job).
//!
//! A [`Job`] is a struct with the parameters of a submission; a [`Stage`] plans its tasks, runs one
//! task, and folds their results into a summary. They are independent of queues, database and host.

mod catalog;
mod context;
mod error;
mod fields;
mod fold;
mod handlers;
#[expect(clippy::module_inception, reason = "the file of the trait Job")]
mod job;
mod job_type;
mod json;
mod link;
mod notes;
pub(crate) mod panics;
mod parameters;
mod plan;
mod policy;
mod retention;
mod stage;
mod stage_list;
mod task;
mod typed;
mod typed_stage;
mod upstream;

pub use context::{Context, ContextError, Contexts, Unavailable};
#[doc(hidden)]
pub use error::PERMANENT;
pub use error::{PlanError, ResultExt, TaskError};
pub use job::{Invalid, Job};
pub use link::{Again, Input, Link, LinkToOne, Predecessor, Repeat, Start};
#[doc(hidden)]
pub use notes::{Checkpoints, Note, Notes};
pub use plan::{Plan, PlanContext, Planned};
#[doc(hidden)]
pub use policy::Growth;
pub use policy::{Backoff, FailurePolicy, TaskPolicy};
pub use retention::{Keep, Retention};
pub use stage::{Stage, StageOptions};
pub use task::TaskContext;

/// What the engine sees of a job type. Not part of the library.
#[doc(hidden)]
pub mod erased {
    pub use super::{
        catalog::{Catalog, WrongFile},
        fields::{FieldProblem, Fields},
        fold::Fold,
        handlers::Handlers,
        job_type::{
            Child, Decision, Definition, JobType, NotAdmitted, PlanContext, Predecessor, RawPlan,
            StageSpec, Task, TaskDefinition,
        },
        panics::said,
        task::Attempt,
        upstream::{TaskEnd, Upstream},
    };
}

pub(crate) use catalog::Catalog;
use erased::{FieldProblem, Fields, Fold, JobType, StageSpec};
pub(crate) use error::with_sources;
pub(crate) use notes::{LARGEST_LOG, LONGEST_MESSAGE};
pub(crate) use parameters::ParameterRules;
pub(crate) use retention::keep;
