//! Jobs: their rows, their statuses, and searches for them. What becomes of their tasks and messages is the business of
//! other modules; which change is due, the caller decides.

mod control;
mod events;
mod listed;
mod overdue;
mod search;
mod stored;
mod terms;

use crate::store::connection::Database;

pub use control::{PauseRequest, ResumeRequest};
pub use events::StoredEvent;
pub use listed::{JobFilter, ListedJob, Since, Totals};
pub use overdue::OverdueJob;
pub use search::{Driver, JobSearch, SearchEstimates};
pub(in crate::store) use stored::insert_within;
pub use stored::{JobPulse, JobRecord, NewDefinition, NewJob, StoredDefinition};
pub use terms::JobWithoutTerms;

/// The jobs in a database.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a>(&'a Database);

impl Database {
    /// The jobs in a database.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }
}
