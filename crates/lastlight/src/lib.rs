//! lastlight: Job → Stage → Task orchestration for Azure Functions, in one binary.
//!
//! A *job* is a struct with the parameters of a submission. Its *stages* run one after the other, or
//! as a graph; each fans out into up to a million *tasks* over Azure Storage Queues or Azure Service
//! Bus, and the last task of a stage starts the next one. PostgreSQL holds the state: no task is lost or counted
//! twice, whichever process dies when.
//!
//! ```no_run
#![doc = include_str!("../../../examples/squares.rs")]
//! ```
//!
//! That is a whole app: `cargo run --example squares -- local` starts it on a local cloud, and
//! `curl -X POST localhost:7071/api/jobs/submit/squares -d '{"n": 100}'` submits a job.
//! [`testing::run`] runs a job in a test, in memory.
//!
//! - [`Job`] and [`Stage`] define what is computed; the compiler checks that stages fit together.
//! - [`Plan`] is the tasks of a stage; [`TaskContext`] is what the work of a task can ask for.
//! - [`Context`] is a value that tasks share, such as a client of blob storage.
//! - [`App`] brings them together and has all commands.
//!
//! The folder `examples` has an app for each subject:
//!
//! | example | shows |
//! | --- | --- |
//! | `squares` | the smallest job |
//! | `retries` | transient and permanent errors, [`TaskPolicy`] and [`Backoff`] |
//! | `tolerated_failures` | [`FailurePolicy`], and a stage after failed tasks |
//! | `contexts` | a [`Context`]: a container of Azure Blob Storage |
//! | `coarse_messages` | [`TasksPerMessage`], for many short tasks |
//! | `checkpoints` | a task that takes longer than one attempt may |
//! | `progress` | progress, a log, and a thread that stops when its job is cancelled |
//! | `pyramid` | [`Repeat`]: a stage with several rounds |
//! | `graph` | stages that run at the same time, and one after both |
//! | `testing` | tests of a job |
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod app;
pub mod testing;

pub use app::App;
pub use lastlight_engine::{
    job::{
        Again, Backoff, Context, ContextError, FailurePolicy, Input, Invalid, Job, Keep, Link,
        LinkToOne, Plan, PlanContext, PlanError, Planned, Predecessor, Repeat, ResultExt,
        Retention, Stage, StageOptions, Start, TaskContext, TaskError, TaskPolicy,
    },
    model::{ProcessingPath, TasksPerMessage},
};

/// What the file of a job needs: `use lastlight::prelude::*`.
pub mod prelude {
    pub use crate::{
        App, Context, ContextError, FailurePolicy, Job, Plan, PlanContext, PlanError, Planned,
        ResultExt, Stage, StageOptions, Start, TaskContext, TaskError, TaskPolicy,
    };
    pub use std::process::ExitCode;
}
