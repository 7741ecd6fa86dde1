//! Workers: processes outside the app that claim ready tasks over HTTP; their claims, the standing of
//! their attempts, the handlers that they serve, and what they run. Sends no messages, and does not
//! know how long a worker waits for a task.

mod claims;
mod registry;
mod standing;

use crate::store::connection::Database;

pub use claims::{WorkerClaim, WorkerTask};
pub use registry::{HandlerWork, ListedWorker, TaskOfWorker, WorkerSeen};
pub use standing::AttemptStanding;

/// The workers that use a database.
#[derive(Debug, Clone, Copy)]
pub struct Workers<'a>(&'a Database);

impl Database {
    /// The workers that use the database.
    pub fn workers(&self) -> Workers<'_> {
        Workers(self)
    }
}
