//! Service Bus queues: peek-lock, delivery counts, dead letters, scheduled messages, duplicate
//! detection.
//!
//! The engine follows
//! <https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement>,
//! the endpoint <https://learn.microsoft.com/rest/api/servicebus/>. Sessions, topics, deferral and
//! transactions are not implemented, because lastlight does not use them.

mod delivered;
mod engine;
mod lane;
mod message;
mod queue;
mod rest;
mod sas;
mod sent;
mod snapshot;

pub use engine::ServiceBus;
pub use message::{LockedMessage, NewMessage};
pub use queue::{OnExpiry, QueueOptions, ServiceBusCounts};
pub use rest::router;
pub use sas::ServiceBusAccess;

/// The part after `<queue>/` in the name of a dead-letter queue; case-insensitive, like all names.
pub const DEAD_LETTER_QUEUE: &str = "$DeadLetterQueue";

/// Whether a name is that of a dead-letter queue.
pub fn is_dead_letter_queue(name: &str) -> bool {
    name.rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(DEAD_LETTER_QUEUE))
}
