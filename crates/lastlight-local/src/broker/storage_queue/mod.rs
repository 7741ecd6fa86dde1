//! Storage Queues: visibility timeouts, pop receipts, no locks, no dead letters.
//!
//! The engine follows
//! <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>, and where that is
//! silent, Azurite.

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

/// The largest message text, bytes of UTF-8 (base64 included, where the sender encodes).
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A message as it was received, put, updated or peeked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    pub id: String,
    /// Proves to `delete` and `update` that nobody else received the message since. Empty in a
    /// peeked message.
    pub pop_receipt: String,
    /// Raw text as stored, usually base64.
    pub body: String,
    /// How often the message was received, this time included.
    pub dequeue_count: u32,
    /// When it was put.
    pub insertion_time: OffsetDateTime,
    /// When it vanishes; the end of the calendar where it does not.
    pub expiration_time: OffsetDateTime,
    /// When it can be received (again).
    pub next_visible_time: OffsetDateTime,
}
