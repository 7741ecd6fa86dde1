//! Stages: their plan, their counters and their end. Knows neither what tasks compute nor how their
//! attempts are recorded.

mod audit;
mod children;
mod dead_lettered;
mod graphs;
mod plans;
mod repair;
mod results;
mod stored;
mod sweep;

use crate::store::connection::Database;

pub(super) use audit::Ignored;
pub use audit::{Counts, StageAudit};
pub use children::ChildToSubmit;
pub use dead_lettered::DeadLetteredStage;
pub use graphs::{GateDue, GraphAdvance, GraphEnd, GraphStage, StageEnd};
pub use plans::{ChunkWritten, HEAVIEST_STATEMENT, LeasedStage, StagePlan};
pub use results::{EndedStage, NextStage, ResultsInOrder, TaskResult};
pub use stored::StageRecord;

/// The stages in a database.
#[derive(Debug, Clone, Copy)]
pub struct Stages<'a>(&'a Database);

impl Database {
    /// The stages in a database.
    pub fn stages(&self) -> Stages<'_> {
        Stages(self)
    }
}
