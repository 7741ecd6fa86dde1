//! Service Bus queues: locks, delivery counts, dead letters, scheduled messages, duplicate detection.
//!
//! The engine follows <https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement>,
//! the endpoint <https://learn.microsoft.com/rest/api/servicebus/>.

mod engine;
mod queue;
mod rest;
mod sas;

pub use engine::ServiceBus;
pub use rest::{ServiceBusAccess, router};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// The suffix of a queue's dead-letter queue.
pub const DEAD_LETTER: &str = "/$DeadLetterQueue";

/// What a queue is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// How long a receiver holds a message without renewing.
    pub lock_duration: Duration,
    /// Deliveries after which a message goes to the dead letters.
    pub max_delivery_count: u32,
    /// The window in which a second message of the same id is swallowed.
    pub duplicate_detection: Option<Duration>,
    /// The largest message, and the largest batch. Bytes.
    pub max_message_bytes: usize,
    /// How long a message lives that says nothing about it.
    pub default_time_to_live: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            duplicate_detection: None,
            max_message_bytes: 256 * 1024,
            default_time_to_live: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    /// Text.
    pub body: String,
    /// Made up if it is not given.
    pub message_id: Option<String>,
    /// See the broker properties of the same names.
    pub correlation_id: Option<String>,
    /// See the broker properties of the same names.
    pub content_type: Option<String>,
    /// See the broker properties of the same names.
    pub label: Option<String>,
    /// Properties of the sender's own.
    pub application_properties: Map<String, Value>,
    /// Not to be delivered before.
    #[serde(with = "time::serde::timestamp::microseconds::option")]
    pub scheduled: Option<OffsetDateTime>,
    /// How long it lives.
    pub time_to_live: Option<Duration>,
}

/// A message that its receiver has locked.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedMessage {
    /// Text.
    pub body: String,
    /// The sender's, or made up.
    pub message_id: String,
    /// As sent.
    pub correlation_id: Option<String>,
    /// As sent.
    pub content_type: Option<String>,
    /// As sent.
    pub label: Option<String>,
    /// As sent.
    pub application_properties: Map<String, Value>,
    /// The order of arrival.
    pub sequence_number: i64,
    /// 1 on the first delivery.
    pub delivery_count: u32,
    /// Settles the message.
    pub lock_token: String,
    /// When the lock ends.
    pub locked_until: OffsetDateTime,
    /// When it arrived.
    pub enqueued_time: OffsetDateTime,
    /// When it vanishes.
    pub expires_at: OffsetDateTime,
    /// Why it is among the dead letters.
    pub dead_letter_reason: Option<String>,
    /// The same in more words.
    pub dead_letter_description: Option<String>,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ServiceBusCounts {
    /// Ready or locked.
    pub active: usize,
    /// Not due yet.
    pub scheduled: usize,
    /// Dead letters.
    pub dead_letter: usize,
}
