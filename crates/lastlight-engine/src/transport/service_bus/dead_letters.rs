//! Dead-lettered messages on Service Bus: the service's `<queue>/$DeadLetterQueue`, and the review
//! queue.
//!
//! REST cannot browse a queue: showing a message means locking and releasing it, which counts as a
//! delivery. Messages in a dead-letter queue can be delivered without limit, but a message in the
//! review queue that exceeds the maximum delivery count moves to that queue's own dead-letter
//! queue, which nothing reads. So a message that was shown a few times is replaced by a copy, whose
//! delivery count starts at zero.
//!
//! The headers are parsed here, since the crate's type fails on real ones.

use async_trait::async_trait;
use reqwest::{Method, header::HeaderMap};
use serde_json::{Map, Value};
use time::{OffsetDateTime, PrimitiveDateTime};
use url::Url;
use uuid::Uuid;

use super::{Fault, ServiceBusRepository, batch::RFC_1123, transport::Answer};
use crate::{
    config::ServiceBusSettings,
    transport::{
        dead_letters::{DeadLetter, DeadLetterQueues, MOST_AT_ONCE, Settled, TakenMessage},
        sender::{MessageSender, OutgoingMessage, QueueRole, SendError},
    },
};

/// Deliveries after which a message of the review queue is replaced by a copy. Half of the default
/// maximum delivery count.
const MOST_DELIVERIES_IN_REVIEW: u32 = 5;

/// How long the service waits for a message before it responds that there is none, in seconds.
const WAIT: u32 = 1;

/// The names of the dead-letter queues.
#[derive(Debug)]
pub(super) struct DeadLetterNames {
    jobs: String,
    tasks: String,
}

impl DeadLetterNames {
    pub(super) fn of(settings: &ServiceBusSettings) -> Self {
        Self {
            jobs: format!("{}/$DeadLetterQueue", settings.job_queue),
            tasks: format!("{}/$DeadLetterQueue", settings.task_queue),
        }
    }
}

impl ServiceBusRepository {
    /// Locks and returns the next message, if there is one.
    async fn peek_lock(&self, role: QueueRole) -> Result<Option<TakenMessage>, Fault> {
        self.gate.pass(1).await;
        let path = format!("{}/messages/head", self.dead_letter_name(role));
        let query = format!("timeout={WAIT}");
        let queue = self.queue_name(role);
        let answer = self.transport.request(Method::POST, queue, &path, &query).await;
        let Answer { status, headers, body, .. } = answer.inspect_err(|fault| {
            if matches!(fault, Fault::Throttled { .. }) {
                self.gate.close();
            }
        })?;
        // 204: there is no message.
        if status != 201 {
            return Ok(None);
        }
        let lock = headers
            .get("location")
            .and_then(|location| Url::parse(location.to_str().ok()?).ok())
            .map(|location| location.path().trim_start_matches('/').to_owned())
            .ok_or_else(|| Fault::Refused {
                status,
                detail: "the service locked a message without a Location header for settling it"
                    .to_owned(),
            })?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Some(TakenMessage::new(message(&headers, body), lock)))
    }

    /// Completes (DELETE) or unlocks (PUT) a message.
    async fn settle(
        &self,
        method: Method,
        role: QueueRole,
        taken: &TakenMessage,
    ) -> Result<Settled, SendError> {
        let queue = self.queue_name(role);
        match self.transport.request(method, queue, taken.lock(), "").await {
            Ok(_) => Ok(Settled::Done),
            Err(Fault::NotFound) => Ok(Settled::LockLost),
            Err(fault) => Err(fault.into_send_error(self.dead_letter_name(role))),
        }
    }

    /// Releases a message; returns its id from now on.
    async fn put_back(
        &self,
        role: QueueRole,
        taken: &TakenMessage,
    ) -> Result<(Settled, String), SendError> {
        let message = &taken.message;
        if role != QueueRole::Poison || message.delivery_count < MOST_DELIVERIES_IN_REVIEW {
            let settled = self.settle(Method::PUT, role, taken).await?;
            return Ok((settled, message.id.clone()));
        }
        let copy = OutgoingMessage {
            // A new id: with the same id duplicate detection would drop the copy, and once the
            // original is deleted the message would be lost.
            message_id: format!("poison-{}", Uuid::new_v4()),
            correlation_id: String::new(),
            body: message.body.clone(),
            delay: None,
            trace: None,
        };
        let report = self.batch_send_messages(role, std::slice::from_ref(&copy)).await;
        if let Some(error) = report.errors.into_iter().next() {
            return Err(error);
        }
        let settled = self.settle(Method::DELETE, role, taken).await?;
        Ok((settled, copy.message_id))
    }
}

/// A message from its headers and body. Missing or invalid headers are ignored: even a malformed
/// message must be shown.
fn message(headers: &HeaderMap, body: String) -> DeadLetter {
    let properties: Map<String, Value> = headers
        .get("brokerproperties")
        .and_then(|json| serde_json::from_slice(json.as_bytes()).ok())
        .unwrap_or_default();
    let text = |name: &str| properties.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| properties.get(name).and_then(Value::as_u64);
    DeadLetter {
        id: text("MessageId")
            .or_else(|| number("SequenceNumber").map(|number| number.to_string()))
            .unwrap_or_default(),
        body,
        enqueued: text("EnqueuedTimeUtc").and_then(|text| http_time(&text)),
        delivery_count: number("DeliveryCount")
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        // A message's custom properties are headers; text values are quoted.
        reason: headers
            .get("deadletterreason")
            .and_then(|json| serde_json::from_slice(json.as_bytes()).ok()),
    }
}

/// Parses an RFC 1123 time, which is always in GMT.
fn http_time(text: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(text, RFC_1123).map(PrimitiveDateTime::assume_utc).ok()
}

#[async_trait]
impl DeadLetterQueues for ServiceBusRepository {
    fn dead_letter_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => &self.dead_letters.jobs,
            QueueRole::Tasks => &self.dead_letters.tasks,
            QueueRole::Poison => &self.settings.poison_queue,
        }
    }

    async fn count(&self, role: QueueRole) -> Result<u64, SendError> {
        let counts = self.description(role).await?.counts;
        let counts = counts.ok_or_else(|| SendError::Refused {
            status: 200,
            detail: format!("the description of {:?} has no message counts", self.queue_name(role)),
        })?;
        Ok(match role {
            QueueRole::Jobs | QueueRole::Tasks => counts.dead_letter_message_count,
            QueueRole::Poison => counts.active_message_count,
        })
    }

    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError> {
        // Lock all of them before releasing any, or the first one would be returned repeatedly.
        let taken = self.take_some(role, at_most).await?;
        let mut shown = Vec::with_capacity(taken.len());
        for taken in taken {
            let (_, id) = self.put_back(role, &taken).await?;
            shown.push(DeadLetter { id, ..taken.message });
        }
        Ok(shown)
    }

    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError> {
        let mut taken = Vec::new();
        while taken.len() < at_most.min(MOST_AT_ONCE) {
            match self.peek_lock(role).await {
                Ok(Some(message)) => taken.push(message),
                Ok(None) => break,
                // Return the messages taken so far; the next call reports the error.
                Err(_) if !taken.is_empty() => break,
                Err(fault) => return Err(fault.into_send_error(self.dead_letter_name(role))),
            }
        }
        Ok(taken)
    }

    async fn complete(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        self.settle(Method::DELETE, role, taken).await
    }

    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        self.put_back(role, taken).await.map(|(settled, _)| settled)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use time::macros::datetime;

    use super::*;

    fn headers<const N: usize>(pairs: [(&str, String); N]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn real_headers_are_parsed() {
        let read = message(
            &headers([
                (
                    "brokerproperties",
                    r#"{"DeliveryCount":11,"EnqueuedSequenceNumber":0,"EnqueuedTimeUtc":"Mon, 23 Nov 2026 19:00:01 GMT","#.to_owned()
                        + r#""LockToken":"0d0f5a9c","LockedUntilUtc":"Mon, 23 Nov 2026 19:01:01 GMT","MessageId":"m1","#
                        + r#""SequenceNumber":18014398509481984001,"State":"Active","TimeToLive":922337203685.47754}"#,
                ),
                ("deadletterreason", "\"MaxDeliveryCountExceeded\"".to_owned()),
            ]),
            "body".to_owned(),
        );
        let expected = DeadLetter {
            id: "m1".to_owned(),
            body: "body".to_owned(),
            enqueued: Some(datetime!(2026-11-23 19:00:01 UTC)),
            delivery_count: 11,
            reason: Some("MaxDeliveryCountExceeded".to_owned()),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn missing_or_malformed_headers_are_ignored() {
        let sequence = message(
            &headers([(
                "brokerproperties",
                r#"{"SequenceNumber": 7, "EnqueuedTimeUtc": 5}"#.to_owned(),
            )]),
            "a".to_owned(),
        );
        assert_eq!((sequence.id.as_str(), sequence.enqueued), ("7", None));
        let garbled =
            message(&headers([("brokerproperties", "not JSON".to_owned())]), "b".to_owned());
        assert_eq!((garbled.id.as_str(), garbled.body.as_str()), ("", "b"));
    }
}
