//! Parses the request of a sender: one message in body and headers, or a batch in JSON.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, header},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{super::http_time::parse_http_time, NewMessage};

/// The content type of a batch; no parameter may follow it.
const BATCH: &str = "application/vnd.microsoft.servicebus.json";

/// Maximum length of ids and keys in the service, in characters.
const LONGEST_ID: usize = 128;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchEntry {
    body: String,
    #[serde(default)]
    broker_properties: SentProperties,
    #[serde(default)]
    user_properties: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SentProperties {
    message_id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    label: Option<String>,
    /// Checked and ignored: no queue here has partitions.
    partition_key: Option<String>,
    scheduled_enqueue_time_utc: Option<String>,
    /// Seconds.
    time_to_live: Option<f64>,
    /// `[d.]hh:mm:ss[.fraction]`.
    time_to_live_time_span: Option<String>,
}

/// The messages of a request, or why it is invalid.
pub(super) fn messages(headers: &HeaderMap, body: Bytes) -> Result<Vec<NewMessage>, String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE);
    if content_type == Some(BATCH) {
        let entries: Vec<BatchEntry> = serde_json::from_slice(&body)
            .map_err(|error| format!("the batch is not a JSON array of messages: {error}"))?;
        return entries
            .into_iter()
            .map(|entry| new_message(entry.body, entry.broker_properties, entry.user_properties))
            .collect();
    }
    let sent = match headers.get("brokerproperties") {
        None => SentProperties::default(),
        // Parsed as a map first: a struct would also accept an array.
        Some(json) => serde_json::from_slice(json.as_bytes())
            .map(Value::Object)
            .and_then(serde_json::from_value)
            .map_err(|error| format!("BrokerProperties: {error}"))?,
    };
    let body =
        String::from_utf8(body.into()).map_err(|_| "the body is not UTF-8 text".to_owned())?;
    let mut message = new_message(body, sent, custom_properties(headers))?;
    if let Some(content_type) = content_type {
        message.content_type = Some(content_type.to_owned());
    }
    Ok(vec![message])
}

fn new_message(
    body: String,
    sent: SentProperties,
    application_properties: Map<String, Value>,
) -> Result<NewMessage, String> {
    for (name, id) in [("MessageId", &sent.message_id), ("PartitionKey", &sent.partition_key)] {
        if id.as_ref().is_some_and(|id| id.chars().count() > LONGEST_ID) {
            return Err(format!("{name} has more than {LONGEST_ID} characters"));
        }
    }
    let scheduled = sent
        .scheduled_enqueue_time_utc
        .map(|text| {
            parse_http_time(&text)
                .ok_or_else(|| format!("ScheduledEnqueueTimeUtc {text:?} is not an RFC 1123 time"))
        })
        .transpose()?;
    let span = sent
        .time_to_live_time_span
        .map(|text| {
            time_span(&text)
                .ok_or_else(|| format!("TimeToLiveTimeSpan {text:?} is not [d.]hh:mm:ss"))
        })
        .transpose()?;
    let seconds = sent
        .time_to_live
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("TimeToLive {seconds} is not a time in seconds"))
        })
        .transpose()?;
    Ok(NewMessage {
        body,
        message_id: sent.message_id,
        correlation_id: sent.correlation_id,
        content_type: sent.content_type,
        label: sent.label,
        application_properties,
        scheduled,
        time_to_live: span.or(seconds),
    })
}

fn time_span(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) if clock.contains(':') => (days.parse::<u32>().ok()?, clock),
        _ => (0, text),
    };
    let mut parts = clock.splitn(3, ':');
    let hours: u32 = parts.next()?.parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds = Duration::try_from_secs_f64(parts.next()?.parse().ok()?).ok()?;
    let whole = u64::from(days) * 86_400 + u64::from(hours) * 3_600 + u64::from(minutes) * 60;
    Duration::from_secs(whole).checked_add(seconds)
}

/// Every non-standard header is a custom property of the sender. Text is quoted, numbers and
/// booleans are not. HTTP loses the case of the names; a batch keeps it.
fn custom_properties(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .iter()
        .filter(|(name, _)| !is_standard(name))
        .map(|(name, value)| {
            let value = serde_json::from_slice(value.as_bytes())
                .ok()
                .filter(|value: &Value| !value.is_object() && !value.is_array())
                .unwrap_or_else(|| String::from_utf8_lossy(value.as_bytes()).into());
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// Whether a header belongs to HTTP or to the service, and so cannot be a custom property.
pub(super) fn is_standard(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 6] = ["accept", "content-", "if-", "x-ms-", "proxy-", "sec-"];
    const NAMES: [&str; 20] = [
        "authorization",
        "brokerproperties",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "host",
        "keep-alive",
        "location",
        "origin",
        "pragma",
        "range",
        "referer",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    let name = name.as_str();
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
