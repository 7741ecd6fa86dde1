//! The payloads of invocations, encoded as in the real host: the text of a message is JSON in a
//! JSON string, and Metadata values are JSON in strings as well, except objects.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use uuid::Uuid;

use crate::broker::{service_bus::LockedMessage, storage_queue::QueueMessage};

/// The payload of a Storage Queue message; `text` is its decoded body.
pub fn queue_message(function: &str, binding: &str, message: &QueueMessage, text: &str) -> String {
    let mut metadata = Map::new();
    metadata.insert("DequeueCount".into(), Value::from(message.dequeue_count.to_string()));
    metadata.insert("ExpirationTime".into(), Value::from(with_offset(message.expiration_time)));
    metadata.insert("Id".into(), encoded(&message.id));
    metadata.insert("InsertionTime".into(), Value::from(with_offset(message.insertion_time)));
    metadata.insert("NextVisibleTime".into(), Value::from(with_offset(message.next_visible_time)));
    metadata.insert("PopReceipt".into(), encoded(&message.pop_receipt));
    mix_in(&mut metadata, text);
    invocation(function, binding, &twice_encoded(text), metadata)
}

/// The payload of a Service Bus message, cardinality one.
pub fn service_bus_one(function: &str, binding: &str, message: &LockedMessage) -> String {
    let mut metadata = Map::new();
    for name in
        ["MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions"]
    {
        metadata.insert(name.into(), json!({}));
    }
    metadata.insert(
        "Client".into(),
        json!({
            "FullyQualifiedNamespace": "127.0.0.1",
            "IsClosed": false,
            "TransportType": 0,
            "Identifier": "local",
        }),
    );
    metadata.insert("DeliveryCount".into(), Value::from(message.delivery_count.to_string()));
    metadata.insert("LockToken".into(), encoded(&message.lock_token));
    metadata.insert("ExpiresAtUtc".into(), Value::from(with_z(message.expires_at)));
    metadata.insert("ExpiresAt".into(), Value::from(with_offset(message.expires_at)));
    metadata.insert("EnqueuedTimeUtc".into(), Value::from(with_z(message.enqueued_time)));
    metadata.insert("EnqueuedTime".into(), Value::from(with_offset(message.enqueued_time)));
    metadata.insert("MessageId".into(), encoded(&message.message_id));
    if let Some(content_type) = &message.content_type {
        metadata.insert("ContentType".into(), encoded(content_type));
    }
    metadata.insert("SequenceNumber".into(), Value::from(message.sequence_number.to_string()));
    if let Some(correlation_id) = &message.correlation_id {
        metadata.insert("CorrelationId".into(), encoded(correlation_id));
    }
    metadata.insert(
        "ApplicationProperties".into(),
        Value::Object(message.application_properties.clone()),
    );
    mix_in(&mut metadata, &message.body);
    invocation(function, binding, &twice_encoded(&message.body), metadata)
}

/// The payload of Service Bus messages, cardinality many.
pub fn service_bus_many(function: &str, binding: &str, messages: &[LockedMessage]) -> String {
    let bodies: Vec<&str> = messages.iter().map(|message| message.body.as_str()).collect();
    let array = |values: Vec<Value>| Value::from(Value::Array(values).to_string());
    let of = |value: fn(&LockedMessage) -> Value| array(messages.iter().map(value).collect());
    let mut metadata = Map::new();
    metadata.insert("DeliveryCountArray".into(), of(|message| Value::from(message.delivery_count)));
    metadata
        .insert("LockTokenArray".into(), of(|message| Value::from(message.lock_token.as_str())));
    metadata
        .insert("MessageIdArray".into(), of(|message| Value::from(message.message_id.as_str())));
    metadata
        .insert("SequenceNumberArray".into(), of(|message| Value::from(message.sequence_number)));
    metadata.insert("ContentTypeArray".into(), of(|message| json!(message.content_type)));
    metadata.insert(
        "EnqueuedTimeUtcArray".into(),
        of(|message| Value::from(with_z(message.enqueued_time))),
    );
    let text = json!(bodies).to_string();
    invocation(function, binding, &json!(text).to_string(), metadata)
}

pub fn timer(
    function: &str,
    binding: &str,
    last: OffsetDateTime,
    next: OffsetDateTime,
    is_past_due: bool,
) -> String {
    let tick = json!({
        "Schedule": { "AdjustForDST": true },
        "ScheduleStatus": { "Last": with_offset(last), "Next": with_offset(next), "LastUpdated": with_offset(last) },
        "IsPastDue": is_past_due,
    });
    invocation(function, binding, &tick.to_string(), Map::new())
}

/// Builds a payload; `data` is JSON and is inserted as it is.
fn invocation(
    function: &str,
    binding: &str,
    data: &str,
    mut metadata: Map<String, Value>,
) -> String {
    metadata.insert(
        "sys".into(),
        json!({
            "MethodName": function,
            "UtcNow": with_z(OffsetDateTime::now_utc()),
            "RandGuid": Uuid::new_v4().to_string(),
        }),
    );
    let metadata = Value::Object(metadata).to_string();
    let mut payload = String::with_capacity(data.len() + metadata.len() + binding.len() + 40);
    for part in [
        "{\"Data\":{",
        &encoded(binding).as_str().map(str::to_owned).unwrap_or_default(),
        ":",
        data,
    ] {
        payload.push_str(part);
    }
    for part in ["},\"Metadata\":", &metadata, "}"] {
        payload.push_str(part);
    }
    payload
}

/// A JSON value that contains the text as a JSON string: `abc` becomes `"\"abc\""`.
fn encoded(text: &str) -> Value {
    Value::from(json!(text).to_string())
}

fn twice_encoded(text: &str) -> String {
    encoded(text).to_string()
}

/// Adds the top-level properties of a message to Metadata, as the host does.
fn mix_in(metadata: &mut Map<String, Value>, text: &str) {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return;
    };
    for (name, value) in fields {
        let mixed = match value {
            Value::Null => continue,
            Value::Object(_) => value,
            Value::String(text) => encoded(&text),
            Value::Array(_) => Value::from(value.to_string()),
            Value::Bool(_) | Value::Number(_) => encoded(&value.to_string()),
        };
        metadata.entry(name).or_insert(mixed);
    }
}

fn with_offset(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    moment.format(format).unwrap_or_default()
}

fn with_z(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_default()
}
