//! Jobs: their rows and their statuses. What becomes of their tasks and messages is the business of
//! other modules; which change is due, the caller decides.

mod control;
mod listed;
mod overdue;
mod stored;

use crate::store::connection::Database;

pub use control::{PauseRequest, ResumeRequest};
pub use listed::{JobFilter, ListedJob, Totals};
pub use overdue::OverdueJob;
pub(in crate::store) use stored::insert_within;
pub use stored::{JobPulse, JobRecord, NewDefinition, NewJob, StoredDefinition};

/// The jobs in a database.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a>(&'a Database);

impl Database {
    /// The jobs in a database.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }
}
