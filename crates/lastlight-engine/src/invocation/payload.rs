//! Decoding what the host posts to `/<function>`: `{"Data": {<binding>: …}, "Metadata": {…}}`.
//!
//! A message's text arrives JSON-encoded once, twice or not at all, or as base64 of any of these; a
//! batch arrives as an array, or as a string that contains one. The order of decoding is fixed, so
//! that every text has one interpretation: an object is the message; a JSON string is unwrapped and
//! decoded again; text that is not JSON is tried as base64 of JSON; any other text is the message
//! itself, and its decoder reports the error.
//!
//! No decision depends on Metadata, since the host mixes the message's own properties into it. Only
//! the delivery count is read from it, for traces.

use std::{borrow::Cow, collections::HashMap};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

/// Some editors write it at the start of a file. It is not part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Maximum levels of wrapping: more than any host uses, and a bound for hostile input.
const DEEPEST_WRAPPING: usize = 4;

/// The body is not an invocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// It is not JSON of the form `{"Data": {…}, "Metadata": {…}}`.
    #[error("the body is not an invocation {{\"Data\": {{…}}, \"Metadata\": {{…}}}}: {detail}")]
    NotAnInvocation {
        /// The position and the reason.
        detail: String,
    },
    /// `Data` lacks the binding.
    #[error("Data lacks the binding {binding:?}; it has {present:?}")]
    NoBinding {
        /// The binding's name in function.json.
        binding: &'static str,
        /// The names of the bindings that exist.
        present: Vec<String>,
    },
    /// The binding's value cannot be a message.
    #[error("Data.{binding} must be text, an object or an array of these, not {found}")]
    BadBinding {
        /// The binding's name in function.json.
        binding: &'static str,
        found: String,
    },
}

/// One message's text: JSON, unless the sender sent something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageText(pub String);

/// The messages of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Messages {
    /// Queue triggers, and Service Bus with cardinality `one`.
    One(MessageText),
    /// Service Bus with cardinality `many`.
    Many(Vec<MessageText>),
}

/// An HTTP request that the host described in an invocation instead of forwarding it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HttpRequestData {
    pub url: String,
    pub method: String,
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// Text, or JSON that the host has parsed.
    #[serde(default)]
    pub body: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Invocation {
    data: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// The messages in the binding `binding`.
///
/// # Errors
/// The body is no invocation, or has no such binding.
pub fn messages(body: &[u8], binding: &'static str) -> Result<Messages, InvocationError> {
    match bound(body, binding)? {
        Value::Array(items) => Ok(many(items)),
        Value::String(text) => match unwrap(text) {
            Unwrapped::Text(text) => Ok(Messages::One(MessageText(text))),
            // The host delivers no empty batches: this is a message, and must not be dropped as an
            // empty batch.
            Unwrapped::Array(items) if items.is_empty() => {
                Ok(Messages::One(MessageText("[]".to_owned())))
            }
            Unwrapped::Array(items) => Ok(many(items)),
        },
        object @ Value::Object(_) => Ok(Messages::One(MessageText(object.to_string()))),
        other => Err(InvocationError::BadBinding { binding, found: other.to_string() }),
    }
}

/// The one message in the binding `binding`, whatever its form: for functions that must accept
/// messages that no other function can decode.
///
/// # Errors
/// The body is no invocation, or has no such binding.
pub fn message(body: &[u8], binding: &'static str) -> Result<MessageText, InvocationError> {
    Ok(MessageText(match bound(body, binding)? {
        Value::String(text) => match unwrap(text) {
            Unwrapped::Text(text) => text,
            Unwrapped::Array(items) => Value::Array(items).to_string(),
        },
        other => other.to_string(),
    }))
}

/// The delivery count of an invocation's messages, from Metadata under one of `names`; for a batch,
/// the highest one. `None` if Metadata has no such count, which is no reason to reject the
/// invocation.
pub fn deliveries(body: &[u8], names: &[&str]) -> Option<u64> {
    let Described { metadata } = serde_json::from_slice(body).ok()?;
    let metadata: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(metadata.get()).ok()?;
    names.iter().find_map(|name| highest(&serde_json::from_str(metadata.get(*name)?.get()).ok()?))
}

/// The highest number in a number, an array of numbers, or their text: `"4"`, `"[1,4]"`.
fn highest(value: &Value) -> Option<u64> {
    let said: Option<Value> = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    match said.as_ref().unwrap_or(value) {
        Value::Array(items) => items.iter().filter_map(Value::as_u64).max(),
        number => number.as_u64(),
    }
}

/// The HTTP request in the binding `req`.
///
/// # Errors
/// The body is no invocation, or describes no request.
pub fn http_request(body: &[u8]) -> Result<HttpRequestData, InvocationError> {
    let request = bound(body, "req")?;
    serde_json::from_value(request)
        .map_err(|error| InvocationError::NotAnInvocation { detail: format!("Data.req: {error}") })
}

fn bound(body: &[u8], binding: &'static str) -> Result<Value, InvocationError> {
    let mut invocation: Invocation = serde_json::from_slice(body)
        .map_err(|error| InvocationError::NotAnInvocation { detail: error.to_string() })?;
    invocation.data.remove(binding).ok_or_else(|| InvocationError::NoBinding {
        binding,
        present: invocation.data.keys().take(10).cloned().collect(),
    })
}

/// Every item of a batch is a message, whatever its form: an invalid one must not prevent the
/// others from being processed.
fn many(items: Vec<Value>) -> Messages {
    let texts = items.into_iter().map(|item| match item {
        Value::String(text) => match unwrap(text) {
            Unwrapped::Text(text) => MessageText(text),
            // A message may be an array; its decoder rejects it.
            Unwrapped::Array(items) => MessageText(Value::Array(items).to_string()),
        },
        other => MessageText(other.to_string()),
    });
    Messages::Many(texts.collect())
}

enum Unwrapped {
    Text(String),
    Array(Vec<Value>),
}

fn unwrap(mut text: String) -> Unwrapped {
    for _ in 0..DEEPEST_WRAPPING {
        // A file that an operator puts into a queue may start with a byte order mark.
        if let Some(unmarked) = text.strip_prefix(BYTE_ORDER_MARK) {
            text = unmarked.to_owned();
        }
        match text.trim_start().as_bytes().first() {
            // An object is the message, valid or not: its decoder reports errors.
            Some(b'{') => return Unwrapped::Text(text),
            Some(b'"') => match serde_json::from_str::<String>(&text) {
                Ok(inner) => text = inner,
                Err(_) => return Unwrapped::Text(text),
            },
            Some(b'[') => {
                return match serde_json::from_str(&text) {
                    Ok(items) => Unwrapped::Array(items),
                    Err(_) => Unwrapped::Text(text),
                };
            }
            _ => match from_base64(&text) {
                Some(inner) => text = inner,
                None => return Unwrapped::Text(text),
            },
        }
    }
    Unwrapped::Text(text)
}

/// The content of base64 text if it starts like JSON: an object, a string or an array.
fn from_base64(text: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
    let inner = String::from_utf8(bytes).ok()?;
    let unmarked = inner.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&inner);
    matches!(unmarked.trim_start().as_bytes().first(), Some(b'{' | b'"' | b'[')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_delivery_count_is_found_in_any_form() {
        let of = |metadata: &str| {
            let body = format!(r#"{{"Data":{{"msg":"x"}},"Metadata":{metadata}}}"#);
            deliveries(body.as_bytes(), &["DeliveryCount", "DeliveryCountArray"])
        };
        for (metadata, count) in [
            (r#"{"DeliveryCount":"4"}"#, Some(4)),
            (r#"{"DeliveryCount":4}"#, Some(4)),
            (r#"{"DeliveryCountArray":"[1,4,2]"}"#, Some(4)),
            (r#"{"DeliveryCountArray":[3]}"#, Some(3)),
            (r#"{"a\u0000":1e400,"DeliveryCount":"2"}"#, Some(2)),
            (r#"{"DequeueCount":"4"}"#, None),
            (r#"{"DeliveryCount":"often"}"#, None),
            (r#"{"DeliveryCount":-1}"#, None),
            (r#"{"DeliveryCount":1e400}"#, None),
            (r#"{"DeliveryCountArray":"[]"}"#, None),
            ("null", None),
            ("[]", None),
        ] {
            assert_eq!(of(metadata), count, "{metadata}");
        }
        assert_eq!(deliveries(b"{}", &["DeliveryCount"]), None);
        assert_eq!(deliveries(b"\xff", &["DeliveryCount"]), None);
    }
}
