//! The parts of the management API's queue description that are used. Independent of HTTP.

use serde::Deserialize;

use crate::transport::{
    http::said,
    sender::{MessageSender, QueueRole, SendError},
};

use super::ServiceBusRepository;

#[derive(Deserialize)]
struct Entry {
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "QueueDescription")]
    description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Description {
    #[serde(default)]
    pub(super) lock_duration: Option<String>,
    #[serde(default)]
    pub(super) max_delivery_count: Option<u32>,
    #[serde(default)]
    pub(super) requires_duplicate_detection: Option<bool>,
    #[serde(default)]
    pub(super) requires_session: Option<bool>,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default, rename = "CountDetails")]
    pub(super) counts: Option<CountDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CountDetails {
    pub(super) active_message_count: u64,
    pub(super) dead_letter_message_count: u64,
    #[serde(default)]
    pub(super) scheduled_message_count: u64,
}

/// Why a response is not a queue description.
#[derive(Debug)]
pub(super) enum Problem {
    NoQueue,
    Unreadable(String),
}

impl ServiceBusRepository {
    /// The description of a queue. The service also responds with success if the queue does not
    /// exist, so the status alone proves nothing.
    pub(super) async fn description(&self, role: QueueRole) -> Result<Description, SendError> {
        let queue = self.queue_name(role);
        let answer = self.transport.describe(queue).await;
        let body = answer.map_err(|fault| fault.into_send_error(queue))?;
        read(&body).map_err(|problem| match problem {
            Problem::NoQueue => SendError::QueueNotFound { queue: queue.to_owned() },
            Problem::Unreadable(detail) => SendError::Refused { status: 200, detail },
        })
    }
}

pub(super) fn read(body: &[u8]) -> Result<Description, Problem> {
    let entry: Result<Entry, _> = azure_core::xml::from_xml(body);
    entry.map(|entry| entry.content.description).map_err(|error| {
        // For a queue that does not exist the response is an empty list.
        if String::from_utf8_lossy(body).contains("<feed") {
            Problem::NoQueue
        } else {
            let words = said(&error.to_string(), &[]);
            Problem::Unreadable(format!("the queue's description cannot be read: {words}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_counts_are_read_from_a_description() {
        let xml = r#"<?xml version="1.0" encoding="utf-8"?>
            <entry xmlns="http://www.w3.org/2005/Atom"><id>https://ns.servicebus.windows.net/sb-tasks?api-version=2021-05</id>
            <title type="text">sb-tasks</title><author><name>ns</name></author><content type="application/xml">
            <QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
              xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><LockDuration>PT1M</LockDuration>
            <MessageCount>19</MessageCount>
            <CountDetails xmlns:d2p1="http://schemas.microsoft.com/netservices/2011/06/servicebus">
            <d2p1:ActiveMessageCount>12</d2p1:ActiveMessageCount><d2p1:DeadLetterMessageCount>7</d2p1:DeadLetterMessageCount>
            <d2p1:ScheduledMessageCount>0</d2p1:ScheduledMessageCount>
            <d2p1:TransferMessageCount>0</d2p1:TransferMessageCount>
            <d2p1:TransferDeadLetterMessageCount>3</d2p1:TransferDeadLetterMessageCount></CountDetails>
            </QueueDescription></content></entry>"#;
        let counts = read(xml.as_bytes()).ok().unwrap().counts.unwrap();
        assert_eq!((counts.active_message_count, counts.dead_letter_message_count), (12, 7));
        let nothing = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">Publicly Listed Services</title></feed>"#;
        assert!(matches!(read(nothing.as_bytes()), Err(Problem::NoQueue)));
    }
}
