//! The reads for people and programs: status, lists, audit, comparison, health, diagnosis. They
//! decide nothing and change nothing but the rollups that they read. Must not know HTTP.

mod audit;
mod comparison;
mod database_metrics;
mod diagnosis;
mod events;
mod graphs;
mod health;
mod job_types;
mod lists;
mod notifications;
mod schedules;
mod search;
mod status;
mod views;
mod workers;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use comparison::SERVICE_BUS_OPERATIONS;
pub use database_metrics::{
    DatabaseMetrics, OctaveRow, OpenWork, PoolUse, RollupKey, RollupTotals, TaskSums,
};
pub use diagnosis::{EnumDiagnosis, IndexStatistics, StatementDiagnosis, TableStatistics};
pub use events::{EventFacts, sentence};
pub use health::{Component, Health, QueueMetrics};
pub(crate) use job_types::described;
pub use lists::{
    JobFilter, JobPosition, JobSearch, JobTaskFilter, JobTaskPosition, Since, TaskFilter,
    TaskPosition,
};
pub use views::StoredJob;

use crate::{
    job::erased::Catalog,
    store::Database,
    workflow::{Controller, Senders},
};

/// Reads of one app. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    catalog: Catalog,
    database: Database,
    senders: Senders,
    controller: Controller,
    /// One permit: only one scrape at a time reads the metrics of the database.
    reading: Semaphore,
}

impl Queries {
    /// Reads of the app that `controller` runs.
    pub fn of(controller: &Controller) -> Self {
        Self(Arc::new(Shared {
            catalog: controller.catalog().clone(),
            database: controller.database().clone(),
            senders: controller.senders().clone(),
            controller: controller.clone(),
            reading: Semaphore::new(1),
        }))
    }
}
