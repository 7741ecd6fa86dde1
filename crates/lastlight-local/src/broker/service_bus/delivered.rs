//! A message as its receiver gets it: the body, `BrokerProperties`, and a header for each custom
//! property of the sender.

use std::fmt::Write;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::{super::http_time::http_time, LockedMessage, sent::is_standard};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeliveredProperties<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    delivery_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until_utc: Option<String>,
    sequence_number: i64,
    enqueued_time_utc: String,
    /// Seconds.
    time_to_live: f64,
    state: &'static str,
}

/// Whether the receiver must settle the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The receiver has a lock and must settle the message.
    PeekLock,
    /// The message is removed from the queue.
    ReceiveAndDelete,
}

/// The answer to a receiver: 201 with a lock, 200 without one.
pub(super) fn delivered(message: LockedMessage, mode: Mode) -> Response {
    let (status, has_lock) = match mode {
        Mode::PeekLock => (StatusCode::CREATED, true),
        Mode::ReceiveAndDelete => (StatusCode::OK, false),
    };
    let properties = DeliveredProperties {
        message_id: &message.message_id,
        correlation_id: message.correlation_id.as_deref(),
        label: message.label.as_deref(),
        delivery_count: message.delivery_count,
        lock_token: has_lock.then_some(&message.lock_token),
        locked_until_utc: has_lock.then(|| http_time(message.locked_until)),
        sequence_number: message.sequence_number,
        enqueued_time_utc: http_time(message.enqueued_time),
        time_to_live: (message.expires_at - message.enqueued_time).as_seconds_f64(),
        state: "Active",
    };
    let properties = serde_json::to_string(&properties).unwrap_or_default();
    let mut response = (status, message.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Some(Ok(value)) = message.content_type.map(HeaderValue::try_from) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Some(value) = header_value(properties) {
        headers.insert("brokerproperties", value);
    }
    let dead_letter = [
        ("DeadLetterReason", message.dead_letter_reason),
        ("DeadLetterErrorDescription", message.dead_letter_description),
    ];
    let dead_letter = dead_letter
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))));
    for (name, value) in message.application_properties.into_iter().chain(dead_letter) {
        // A property with the name of a standard HTTP header would change the answer: it is left
        // out.
        let name = HeaderName::try_from(name).ok().filter(|name| !is_standard(name));
        if let (Some(name), Some(value)) = (name, header_value(value.to_string())) {
            headers.insert(name, value);
        }
    }
    response
}

/// JSON as a header value; characters outside ASCII are escaped, as headers are safe only for
/// ASCII.
fn header_value(json: String) -> Option<HeaderValue> {
    if json.is_ascii() {
        return HeaderValue::try_from(json).ok();
    }
    let mut escaped = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    HeaderValue::try_from(escaped).ok()
}
