//! The forms of a message: to send, stored in the queue, and received.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    pub body: String,
    /// The id that duplicate detection compares; a message without one gets a new id.
    pub message_id: Option<String>,
    /// An id of the sender, passed on unchanged.
    pub correlation_id: Option<String>,
    /// The media type of the body, passed on unchanged.
    pub content_type: Option<String>,
    /// Also called Subject; passed on unchanged.
    pub label: Option<String>,
    /// Also called user or custom properties: text, numbers and booleans.
    pub application_properties: Map<String, Value>,
    /// The message is not delivered before this time; a time in the past means now.
    #[serde(with = "time::serde::timestamp::microseconds::option")]
    pub scheduled: Option<OffsetDateTime>,
    /// Lifetime of the message after it was enqueued; the shorter of this and the default of the
    /// queue applies.
    pub time_to_live: Option<Duration>,
}

impl NewMessage {
    /// Creates a message with only a body.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Sets the message id.
    #[must_use]
    pub fn with_id(mut self, message_id: impl Into<String>) -> Self {
        self.message_id = Some(message_id.into());
        self
    }

    /// Size for the limit of the queue: body and properties, in bytes. The real service adds an
    /// envelope whose size is not published.
    pub fn size(&self) -> usize {
        let texts = [&self.message_id, &self.correlation_id, &self.content_type, &self.label];
        let properties = self.application_properties.iter().map(|(name, value)| {
            name.len()
                + match value {
                    Value::String(text) => text.len(),
                    _ => size_of::<u64>(),
                }
        });
        self.body.len()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
            + properties.sum::<usize>()
    }
}

/// A message under a lock: complete, abandon, renew or dead-letter it by its `lock_token` before
/// `locked_until`.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedMessage {
    pub body: String,
    /// The id from the sender, or from the service if there was none.
    pub message_id: String,
    pub correlation_id: Option<String>,
    pub content_type: Option<String>,
    pub label: Option<String>,
    pub application_properties: Map<String, Value>,
    /// Number of the message in the queue, from 1; a scheduled message gets it when it is enqueued.
    pub sequence_number: i64,
    /// Number of deliveries, including this one.
    pub delivery_count: u32,
    pub lock_token: String,
    /// When the lock ends and the message is delivered again.
    pub locked_until: OffsetDateTime,
    /// When the message became deliverable.
    pub enqueued_time: OffsetDateTime,
    /// When the message expires; the year 9999 if it does not.
    pub expires_at: OffsetDateTime,
    /// Why the message was dead-lettered.
    pub dead_letter_reason: Option<String>,
    pub dead_letter_description: Option<String>,
}

/// A message in the queue; the `message_id` of its content is always set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) content: NewMessage,
    pub(super) sequence_number: i64,
    pub(super) delivery_count: u32,
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub(super) enqueued: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub(super) expires: OffsetDateTime,
    pub(super) dead_letter: Option<DeadLetter>,
}

/// Why a message was dead-lettered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    pub(super) reason: String,
    pub(super) description: String,
}

impl Stored {
    /// The message as its receiver sees it.
    pub(super) fn show(&self, token: Uuid, locked_until: OffsetDateTime) -> LockedMessage {
        let content = &self.content;
        let dead_letter = self.dead_letter.as_ref();
        LockedMessage {
            body: content.body.clone(),
            message_id: content.message_id.clone().unwrap_or_default(),
            correlation_id: content.correlation_id.clone(),
            content_type: content.content_type.clone(),
            label: content.label.clone(),
            application_properties: content.application_properties.clone(),
            sequence_number: self.sequence_number,
            delivery_count: self.delivery_count,
            lock_token: token.to_string(),
            locked_until,
            enqueued_time: self.enqueued,
            expires_at: self.expires,
            dead_letter_reason: dead_letter.map(|letter| letter.reason.clone()),
            dead_letter_description: dead_letter.map(|letter| letter.description.clone()),
        }
    }
}
