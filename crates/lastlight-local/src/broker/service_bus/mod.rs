//! Service Bus queues: peek-lock, delivery counts, dead letters, scheduled messages, duplicate
//! detection.
//!
//! The engine follows
//! <https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement>,
//! the endpoint <https://learn.microsoft.com/rest/api/servicebus/>. Sessions, topics, deferral and
//! transactions are not here: nothing in the house uses them.

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

/// What follows `<queue>/` in the name of a queue's dead letters; read in any case, as names are.
pub const DEAD_LETTER_QUEUE: &str = "$DeadLetterQueue";

/// Whether a name means a queue's dead letters.
pub fn is_dead_letter_queue(name: &str) -> bool {
    name.rsplit_once('/').is_some_and(|(_, last)| last.eq_ignore_ascii_case(DEAD_LETTER_QUEUE))
}
