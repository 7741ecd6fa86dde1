//! Dividing messages into batches, by count and by bytes, and encoding a batch as JSON. Independent
//! of HTTP.

use serde::Serialize;
use time::{format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    model::{TraceParent, clock},
    transport::sender::{OutgoingMessage, SendError},
};

/// Maximum size of a batch's JSON in bytes: below the 256 KB limit of the Standard tier, including
/// the envelope.
const LARGEST_BATCH: usize = 192 * 1024;

/// The largest body, in bytes, that fits into a batch of one message even if every character is a
/// quote, which JSON escapes.
pub(super) const LARGEST_BODY: usize = 90 * 1024;

/// One message in a batch.
#[derive(Debug, Clone)]
struct Entry {
    message_id: String,
    json: String,
}

/// The messages of one request. Never empty.
#[derive(Debug, Clone)]
pub(super) struct Batch(Vec<Entry>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireMessage<'a> {
    body: &'a str,
    broker_properties: BrokerProperties<'a>,
    user_properties: UserProperties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BrokerProperties<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    correlation_id: &'a str,
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_enqueue_time_utc: Option<String>,
}

#[derive(Serialize)]
struct UserProperties<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    job_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

pub(super) const RFC_1123: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The size of [`Batch::to_json`].
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|entry| entry.json.len() + 1).sum::<usize>() + 1
    }

    pub(super) fn first_message_id(&self) -> &str {
        self.0.first().map_or("", |entry| &entry.message_id)
    }

    pub(super) fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.bytes());
        for (place, entry) in self.0.iter().enumerate() {
            json.push(if place == 0 { '[' } else { ',' });
            json.push_str(&entry.json);
        }
        json.push(']');
        json
    }

    /// Splits the batch into two halves; a batch of one message is returned as the error.
    pub(super) fn halve(mut self) -> Result<(Self, Self), Self> {
        if self.0.len() < 2 {
            return Err(self);
        }
        let second = self.0.split_off(self.0.len() / 2);
        Ok((self, Self(second)))
    }
}

/// Divides messages into batches, in order, and returns errors for those that are too large to
/// send.
pub(super) fn cut(
    messages: &[OutgoingMessage],
    largest_count: usize,
) -> (Vec<Batch>, Vec<SendError>) {
    let mut batches = Vec::with_capacity(messages.len() / largest_count + 1);
    let mut oversize = Vec::new();
    let mut open: Vec<Entry> = Vec::with_capacity(messages.len().min(largest_count));
    let mut open_bytes = 1;
    for message in messages {
        let entry = match entry(message) {
            Ok(entry) if entry.json.len() + 2 <= LARGEST_BATCH => entry,
            Ok(entry) => {
                oversize.push(SendError::Oversize {
                    message_id: entry.message_id,
                    bytes: entry.json.len() + 2,
                    limit: LARGEST_BATCH,
                });
                continue;
            }
            Err(detail) => {
                oversize.push(SendError::Refused { status: 0, detail });
                continue;
            }
        };
        if open.len() == largest_count || open_bytes + entry.json.len() + 1 > LARGEST_BATCH {
            batches.push(Batch(std::mem::take(&mut open)));
            open_bytes = 1;
        }
        open_bytes += entry.json.len() + 1;
        open.push(entry);
    }
    if !open.is_empty() {
        batches.push(Batch(open));
    }
    (batches, oversize)
}

fn entry(message: &OutgoingMessage) -> Result<Entry, String> {
    let scheduled = message
        .delay
        .map(|delay| (clock::now() + delay).format(RFC_1123).map_err(|error| error.to_string()))
        .transpose()?;
    let json = serde_json::to_string(&WireMessage {
        body: &message.body,
        broker_properties: BrokerProperties {
            message_id: &message.message_id,
            correlation_id: &message.correlation_id,
            content_type: "application/json",
            scheduled_enqueue_time_utc: scheduled,
        },
        user_properties: UserProperties {
            job_id: &message.correlation_id,
            traceparent: message.trace.as_ref().map(TraceParent::as_str),
        },
    })
    .map_err(|error| error.to_string())?;
    Ok(Entry { message_id: message.message_id.clone(), json })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(number: usize, bytes: usize) -> OutgoingMessage {
        OutgoingMessage {
            message_id: format!("m-{number}"),
            correlation_id: "job".to_owned(),
            body: "x".repeat(bytes),
            delay: None,
            trace: None,
        }
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_respect_both_limits(
            sizes in prop::collection::vec(0..80_000_usize, 0..60),
            largest_count in 1..=100_usize,
        ) {
            let messages: Vec<_> = sizes.iter().enumerate().map(|(n, bytes)| message(n, *bytes)).collect();
            let (batches, oversize) = cut(&messages, largest_count);
            prop_assert!(oversize.is_empty());
            for batch in &batches {
                prop_assert!((1..=largest_count).contains(&batch.len()));
                prop_assert_eq!(batch.to_json().len(), batch.bytes());
                prop_assert!(batch.bytes() <= LARGEST_BATCH);
            }
            let sent: Vec<_> = batches.iter().flat_map(|batch| batch.0.iter().map(|e| e.message_id.clone())).collect();
            let wanted: Vec<_> = messages.iter().map(|message| message.message_id.clone()).collect();
            prop_assert_eq!(sent, wanted);
        }
    }

    #[test]
    fn an_oversize_message_does_not_stop_the_others() {
        let (batches, oversize) = cut(&[message(0, 10), message(1, 300_000), message(2, 10)], 100);
        assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), 2);
        assert!(
            matches!(&oversize[..], [SendError::Oversize { message_id, .. }] if message_id == "m-1")
        );
    }

    #[test]
    fn the_largest_body_fits_when_fully_escaped() {
        let body = "\"".repeat(LARGEST_BODY);
        let (batches, oversize) = cut(&[OutgoingMessage { body, ..message(0, 0) }], 100);
        assert_eq!((batches.len(), oversize.len()), (1, 0));
    }

    #[test]
    fn a_batch_has_the_documented_format() {
        let (batches, _) = cut(&[message(7, 3)], 100);
        assert_eq!(
            batches[0].to_json(),
            r#"[{"Body":"xxx","BrokerProperties":{"MessageId":"m-7","CorrelationId":"job","ContentType":"application/json"},"UserProperties":{"job_id":"job"}}]"#
        );
    }
}
