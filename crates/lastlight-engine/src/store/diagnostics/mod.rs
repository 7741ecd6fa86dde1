//! Diagnostics: the state of the database, of the processes and of the work, for users and alerts.
//! Changes no job, stage or task.

mod diagnosis;
mod instances;
mod open_work;

use crate::store::connection::Database;

pub use diagnosis::{EnumDiagnosis, IndexStatistics, StatementDiagnosis, TableStatistics};
pub use instances::{Backlog, Instance, LastSweep, SchemaVersions};
pub use open_work::OpenWork;

/// Unsent messages and open jobs are counted up to this number.
const MOST_COUNTED: i64 = 10_000;

/// The diagnostics of a database.
#[derive(Debug, Clone, Copy)]
pub struct Diagnostics<'a>(&'a Database);

impl Database {
    /// The diagnostics of a database.
    pub fn diagnostics(&self) -> Diagnostics<'_> {
        Diagnostics(self)
    }
}
