//! The workflow: what happens next. Triggers ask it, repositories do what it says, job types compute.
//!
//! One file a step of a job's life: [`submit`](Controller::submit), [`plan`](Controller::process_job_message),
//! [`execute`](Controller::process_task_message), advance, [`reconcile`](Controller::reconcile); and what a person may do
//! in between ([`cancel`](Controller::cancel), [`retry`](Controller::retry), pause). It knows neither HTTP nor which
//! transport a job takes: [`Senders`] is the one place that does.

mod advance;
mod audit;
mod comparison;
mod control;
mod counters;
mod diagnosis;
mod error;
mod execute;
mod figures;
mod health;
mod heartbeat;
mod instance;
mod job_types;
mod lists;
mod outgoing;
mod plan;
mod poison;
mod preflight;
mod reconcile;
mod refusal;
mod senders;
mod set_aside;
mod status;
mod submit;
mod summary;

use std::{sync::Arc, time::Duration};

pub use audit::{JobAudit, StageBooks};
pub use comparison::{Comparison, Prices, SERVICE_BUS_OPERATIONS};
pub use control::{Cancellation, Pause, Retry};
pub use counters::{ProcessFigures, Sends, Sweeps};
pub use error::ControllerError;
pub use execute::TaskDelivery;
pub use figures::DatabaseFigures;
pub use health::{Component, Health, Readings};
pub use job_types::JobTypeInfo;
pub use lists::{JobTaskFilter, JobTaskPosition};
pub use plan::JobDelivery;
pub use poison::{AskedBy, PoisonDelivery, PoisonOutcome};
pub use preflight::PreflightProblem;
pub use reconcile::ReconcileReport;
pub use refusal::{Change, Refusal};
pub use senders::Senders;
pub use set_aside::{Discarded, PoisonRun, ProcessedMessage, Redriven, SetAsideReport, ShownMessage};
pub use status::{JobStanding, StageStanding};
pub use submit::{QueueInfo, Submission};

use crate::{
    jobs::{Backoff, Catalog},
    repositories::postgres::{Database, TaskClaims, TaskCompletions},
};
use counters::Counters;
use heartbeat::Heartbeat;
use instance::ThisInstance;
use tokio::sync::Semaphore;

/// What the workflow may be tuned by. The defaults suit a deployed app.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// How long a claim or a planner's lease holds without a heartbeat.
    pub lease: Duration,
    /// How long the process that owes a message has to send it before `reconcile` does.
    pub send_grace: Duration,
    /// How long nothing may happen in a stage before its messages count as lost.
    pub lost_after: Duration,
    /// Batches of messages under way at once while a stage is planned.
    pub sends_in_flight: usize,
    /// Tasks that this process runs at once, over all invocations.
    pub tasks_in_flight: usize,
    /// An attempt that runs longer has failed: the host would end it.
    pub task_timeout: Duration,
    /// Attempts before a task has failed for good, where its type does not say; at least 1.
    pub max_attempts: u16,
    /// The pause between attempts, where the task's type does not say.
    pub backoff: Backoff,
    /// A job that takes longer fails, where its type does not say.
    pub job_timeout: Duration,
    /// Processes that may share the database, at most; preflight counts with it.
    pub instances: u32,
}

impl Timing {
    /// What a deployed app does where its settings say nothing else.
    pub const DEFAULT: Self = Self {
        lease: Duration::from_secs(60),
        send_grace: Duration::from_secs(30),
        lost_after: Duration::from_secs(300),
        sends_in_flight: 16,
        tasks_in_flight: 256,
        task_timeout: Duration::from_secs(30 * 60),
        max_attempts: 4,
        backoff: Backoff {
            first: Duration::from_secs(5),
            largest: Duration::from_secs(300),
        },
        job_timeout: Duration::from_secs(7 * 24 * 60 * 60),
        instances: 1,
    };
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The one controller that all triggers end in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Controller(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    catalog: Catalog,
    database: Database,
    claims: TaskClaims,
    completions: TaskCompletions,
    heartbeat: Heartbeat,
    senders: Senders,
    instance: ThisInstance,
    /// One permit a task between its claim and its outcome.
    running: Arc<Semaphore>,
    /// One permit: the scrape that reads the database's figures.
    reading: Semaphore,
    timing: Timing,
    counters: Counters,
}

impl Controller {
    /// Puts the house together. Must be called within a tokio runtime: group commit and heartbeats start here.
    pub fn new(catalog: Catalog, database: Database, senders: Senders, timing: Timing) -> Self {
        let lease_seconds = timing.lease.as_secs_f64();
        Self(Arc::new(Shared {
            claims: TaskClaims::start(database.clone(), lease_seconds),
            completions: TaskCompletions::start(database.clone(), lease_seconds),
            heartbeat: Heartbeat::start(database.clone(), timing.lease),
            catalog,
            database,
            senders,
            instance: ThisInstance::new(),
            running: Arc::new(Semaphore::new(timing.tasks_in_flight)),
            reading: Semaphore::new(1),
            timing,
            counters: Counters::new(),
        }))
    }

    /// Drops the schema with everything in it; its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn drop_schema(&self) -> Result<&str, ControllerError> {
        self.0.database.drop_schema().await?;
        Ok(self.0.database.schema())
    }

    /// Drops the schema with everything in it and makes it anew; its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn redeploy_schema(&self) -> Result<&str, ControllerError> {
        self.0.database.drop_schema().await?;
        self.0.database.migrate().await?;
        Ok(self.0.database.schema())
    }

    /// The names of all job types.
    pub fn job_types(&self) -> Vec<&'static str> {
        self.0.catalog.names()
    }
}
