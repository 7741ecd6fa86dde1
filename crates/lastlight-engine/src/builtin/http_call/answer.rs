//! What a service answered: the result of a call, or why it failed.

use std::collections::BTreeMap;

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, ETAG, LAST_MODIFIED, LINK, LOCATION, RETRY_AFTER},
};
use reqwest::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::Call;
use crate::{config::Secret, job::TaskError, transport::http::excerpt};

/// Maximum size of a body, in bytes: that of a task's result.
const LARGEST_BODY: usize = 1024 * 1024;

/// So much of the body of a failure is read, in bytes, and so much of it shown, in characters.
const FAILURE_READ: usize = 16 * 1024;
const FAILURE_SHOWN: usize = 500;

/// The headers that are a part of the result.
const KEPT: [http::HeaderName; 6] =
    [CONTENT_TYPE, ETAG, LAST_MODIFIED, LINK, LOCATION, RETRY_AFTER];

/// The result of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::builtin) struct Answer {
    status: u16,
    /// Those of [`KEPT`] that the service sent, by their names in lower case.
    headers: BTreeMap<String, String>,
    /// The value, if the service says that it is JSON; otherwise the text, or null if it is empty.
    body: Value,
}

/// Reads the answer to a call.
///
/// # Errors
/// The status is not as expected, or the body cannot be read, is too large, or is no JSON although
/// the service says so.
pub(super) async fn answer(call: &Call, response: Response) -> Result<Answer, TaskError> {
    let status = response.status();
    if !call.expects(status) {
        return Err(failure(call, response).await);
    }
    let headers = response.headers().clone();
    let body = match body(response, LARGEST_BODY).await {
        Ok(Body::Whole(body)) => body,
        Ok(Body::Cut(_)) => {
            return Err(TaskError::Permanent(format!(
                "{call}: status {status}, with a body of more than {LARGEST_BODY} bytes, which is too large for a result"
            )));
        }
        Err(error) => return Err(call.unanswered(&error)),
    };
    let body = match &body[..] {
        [] => Value::Null,
        json if is_json(&headers) => serde_json::from_slice(json).map_err(|error| {
            // The error names the place and shows nothing of the body.
            TaskError::Permanent(format!(
                "{call}: status {status}, and the body is not the JSON that its content type says: {error}"
            ))
        })?,
        text => Value::String(String::from_utf8_lossy(text).into_owned()),
    };
    let kept = KEPT.into_iter().filter_map(|name| {
        let value = String::from_utf8_lossy(headers.get(&name)?.as_bytes()).into_owned();
        Some((name.to_string(), value))
    });
    Ok(Answer { status: status.as_u16(), headers: kept.collect(), body })
}

/// The failure that a status means.
async fn failure(call: &Call, response: Response) -> TaskError {
    let status = response.status();
    let secrets = call.secrets();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    if status.is_redirection() {
        let location = header(LOCATION);
        let to = match location.as_deref().map(|location| call.pointed_at(location)) {
            Some(Some(to)) => excerpt(&to, &secrets, FAILURE_SHOWN),
            Some(None) => "what is no address".to_owned(),
            None => "nowhere".to_owned(),
        };
        return TaskError::Permanent(format!(
            "{call}: status {status} points to {to}, and redirects are not followed"
        ));
    }
    let later = header(RETRY_AFTER).map(|later| excerpt(&later, &secrets, 40));
    let later = later.map(|later| format!(", Retry-After: {later}")).unwrap_or_default();
    let said = match body(response, FAILURE_READ).await {
        Ok(Body::Whole(said) | Body::Cut(said)) => {
            excerpt(&String::from_utf8_lossy(&said), &secrets, FAILURE_SHOWN)
        }
        Err(_) => String::new(),
    };
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let reason = format!("{call}: status {status}{later}{said}");
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        TaskError::Transient(reason)
    } else {
        TaskError::Permanent(reason)
    }
}

/// Whether the content type is JSON: `application/json`, or a type that ends in `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

enum Body {
    Whole(Vec<u8>),
    /// Its beginning: there is more than was to be read.
    Cut(Vec<u8>),
}

/// Reads a body of at most `most` bytes; the rest of a larger one is not read.
async fn body(mut response: Response, most: usize) -> Result<Body, reqwest::Error> {
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = most - read.len();
        if chunk.len() > room {
            read.extend_from_slice(&chunk[..room]);
            return Ok(Body::Cut(read));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(Body::Whole(read))
}
