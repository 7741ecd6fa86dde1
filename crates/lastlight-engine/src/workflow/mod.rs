//! The workflow: decides what happens next to a job. Triggers call it, the store does what it
//! decides, job types do the computing.
//!
//! One file per step of a job's life: [`submit`](Controller::submit),
//! [`plan`](Controller::process_job_message), [`execute`](Controller::process_task_message),
//! advance, [`reconcile`](Controller::reconcile); and one for what an operator may do in between
//! ([`cancel`](Controller::cancel), [`retry`](Controller::retry), pause). It knows neither HTTP nor
//! which transport a job uses: only [`Senders`] does.

mod advance;
mod archive;
mod attempt;
mod bulk;
mod children;
mod control;
mod counters;
mod dead_letters;
mod deferred;
mod definitions;
mod error;
mod execute;
pub(crate) mod find;
mod gates;
mod graph;
mod heartbeat;
mod illegal_change;
mod instance;
mod measure;
mod memory;
mod notifications;
mod orphans;
mod outgoing;
mod plan;
mod plan_tasks;
mod poison;
mod poison_tasks;
mod preflight;
mod purge;
mod reconcile;
mod resubmit;
mod room;
pub(crate) mod schedules;
mod senders;
mod single_tasks;
pub(crate) mod submit;
mod summary;
mod terms;
mod upstream;
mod watermark;
mod worker_claims;
mod worker_given;
mod worker_outcomes;
mod worker_times;
mod worker_waits;
mod workers_seen;

use std::{sync::Arc, time::Duration};

pub use crate::store::DatabaseError;
pub use archive::{ARCHIVE_FAILURES, ArchiveCounts, ArchiveTrouble};
pub use bulk::BulkRequest;
pub use counters::{ProcessMetrics, Sends, Sweeps};
pub use dead_letters::{DeadLetterReport, PoisonRun};
pub use error::ControllerError;
pub use execute::TaskDelivery;
pub use illegal_change::{Change, IllegalChange};
pub(crate) use measure::measure_up_to;
pub use memory::MemoryUse;
pub use notifications::NotificationSends;
pub use plan::JobDelivery;
pub use poison::AskedBy;
pub(crate) use poison::note_delivery;
pub use preflight::PreflightProblem;
pub use purge::PurgeRequest;
pub use reconcile::ReconcileReport;
pub use senders::Senders;
pub use single_tasks::{TaskAction, TaskOrder};
pub use submit::check as check_submission;
pub(crate) use submit::has_parameter;
pub use worker_claims::{TaskForWorker, WorkerRequest};
pub(crate) use worker_outcomes::LONGEST_PAUSE;
pub use worker_outcomes::{
    HeartbeatAnswer, OutcomeAnswer, WorkerBeat, WorkerOutcome, WorkerResult,
};
pub use worker_times::{QueueTimes, Times};

use crate::{
    archive::ArchiveStorage,
    config::Timing,
    job::erased::{Catalog, WrongFile},
    store::{Database, TaskClaims, TaskCompletions, TaskDeferrals},
    transport::webhooks::Webhooks,
};
use archive::Archiving;
use counters::Counters;
use definitions::Definitions;
use heartbeat::Heartbeat;
use instance::ThisInstance;
use memory::Memory;
use notifications::{NotificationCounters, Notifying};
use orphans::OrphanCursor;
use room::Room;
use watermark::Watermark;
use worker_claims::HandlerIds;
use worker_given::Given;
use worker_times::WorkerTimes;
use worker_waits::WorkerWaits;
use workers_seen::WorkersSeen;

/// The controller that all triggers call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Controller(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    catalog: Catalog,
    database: Database,
    claims: TaskClaims,
    completions: TaskCompletions,
    deferrals: TaskDeferrals,
    heartbeat: Heartbeat,
    watermark: Watermark,
    senders: Senders,
    instance: ThisInstance,
    /// Slots for tasks between their claim and their outcome.
    room: Arc<Room>,
    timing: Timing,
    counters: Counters,
    orphans: OrphanCursor,
    memory: Memory,
    definitions: Definitions,
    worker_waits: WorkerWaits,
    worker_times: WorkerTimes,
    given: Given,
    workers_seen: WorkersSeen,
    handler_ids: HandlerIds,
    webhooks: Webhooks,
    notifying: Notifying,
    notification_counters: NotificationCounters,
    archiving: Archiving,
}

impl Controller {
    /// Creates a controller that notifies nobody. Must be called within a tokio runtime: group commit and heartbeats
    /// start here.
    pub fn new(catalog: Catalog, database: Database, senders: Senders, timing: Timing) -> Self {
        Self::notifying(catalog, database, senders, timing, Webhooks::default())
    }

    /// One that notifies other programs of the ends of jobs.
    pub fn notifying(
        catalog: Catalog,
        database: Database,
        senders: Senders,
        timing: Timing,
        webhooks: Webhooks,
    ) -> Self {
        Self::archiving(catalog, database, senders, timing, webhooks, None)
    }

    /// One that also archives jobs before it deletes them.
    pub fn archiving(
        catalog: Catalog,
        database: Database,
        senders: Senders,
        timing: Timing,
        webhooks: Webhooks,
        archive: Option<ArchiveStorage>,
    ) -> Self {
        let lease_seconds = timing.lease.as_secs_f64();
        Self(Arc::new(Shared {
            claims: TaskClaims::start(database.clone(), lease_seconds),
            completions: TaskCompletions::start(database.clone(), lease_seconds),
            deferrals: TaskDeferrals::start(database.clone()),
            heartbeat: Heartbeat::start(database.clone(), timing.lease),
            watermark: Watermark::default(),
            catalog,
            database,
            senders,
            instance: ThisInstance::new(),
            room: Arc::new(Room::new(timing.tasks_in_flight)),
            timing,
            counters: Counters::new(),
            orphans: OrphanCursor::anywhere(),
            memory: Memory::new(timing.memory),
            definitions: Definitions::default(),
            worker_waits: WorkerWaits::default(),
            worker_times: WorkerTimes::default(),
            given: Given::default(),
            workers_seen: WorkersSeen::default(),
            handler_ids: HandlerIds::default(),
            webhooks,
            notifying: Notifying::default(),
            notification_counters: NotificationCounters::default(),
            archiving: Archiving::new(archive),
        }))
    }

    /// Drops the schema with everything in it and returns its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn drop_schema(&self) -> Result<&str, ControllerError> {
        self.0.database.drop_schema().await?;
        Ok(self.0.database.schema())
    }

    /// Drops the schema with everything in it, creates it again and returns its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn redeploy_schema(&self) -> Result<&str, ControllerError> {
        self.0.database.drop_schema().await?;
        self.0.database.migrate().await?;
        Ok(self.0.database.schema())
    }

    /// Maximum duration of a request to this process: a little less than the host gives an
    /// invocation.
    pub fn longest_invocation(&self) -> Duration {
        let timing = &self.0.timing;
        timing.function_timeout.saturating_sub(timing.margin() / 2)
    }

    /// The names of all job types.
    pub fn job_types(&self) -> Vec<&str> {
        self.0.catalog.names()
    }

    /// The error for a name that is none of a job type.
    fn unknown_job_type(&self, name: &str) -> ControllerError {
        let of_file = |file: &&WrongFile| file.job_type.as_deref() == Some(name);
        if let Some(file) = self.0.catalog.wrong_files().iter().find(of_file) {
            return ControllerError::WrongWorkflow {
                job_type: name.to_owned(),
                problems: file.problems.clone(),
            };
        }
        ControllerError::UnknownJobType {
            job_type: name.chars().take(80).collect(),
            known: self.0.catalog.names().into_iter().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    pub(crate) fn senders(&self) -> &Senders {
        &self.0.senders
    }
}
