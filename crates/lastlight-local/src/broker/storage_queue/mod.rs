//! Storage Queues: visibility timeouts and pop receipts; no locks and no dead letters.
//!
//! The engine follows
//! <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>, and Azurite where
//! that does not specify the behaviour.

mod answers;
mod auth;
mod engine;
mod operation;
mod queue;
mod refusal;
mod rest;
mod snapshot;
mod xml;

pub use auth::StorageAccount;
pub use engine::StorageQueues;
pub use rest::router;

use time::OffsetDateTime;

/// Maximum size of a message text, in bytes of UTF-8 (after base64, if the sender encodes).
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A message that was received, put, updated or peeked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    pub id: String,
    /// Proves to `delete` and `update` that no other receiver has received the message since. Empty
    /// in a peeked message.
    pub pop_receipt: String,
    /// Raw text as stored, usually base64.
    pub body: String,
    /// Number of deliveries, including this one.
    pub dequeue_count: u32,
    /// When the message was put.
    pub insertion_time: OffsetDateTime,
    /// When the message expires; the year 9999 if it does not.
    pub expiration_time: OffsetDateTime,
    /// When the message can be received (again).
    pub next_visible_time: OffsetDateTime,
}
