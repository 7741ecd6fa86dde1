//! The outbox: messages that are due and not sent yet, of jobs and of batches of tasks. Does not know
//! how a message is sent, nor what its receiver does.

mod batches;
mod job_messages;

use crate::store::connection::Database;

pub use batches::UnsentBatch;
pub use job_messages::UnsentJobMessage;

/// The outbox in a database.
#[derive(Debug, Clone, Copy)]
pub struct Outbox<'a>(&'a Database);

impl Database {
    /// The outbox in a database.
    pub fn outbox(&self) -> Outbox<'_> {
        Outbox(self)
    }
}
