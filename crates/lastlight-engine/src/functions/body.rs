//! Reads a request's body to its end, however large, and keeps no more than is allowed.
//!
//! A response that is sent while the body is still arriving breaks the connection of the host's
//! forwarder, which then reports a bad gateway to the client instead of the error.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use lastlight_api::workers::LARGEST_WORKER_BODY;
use serde_json::{Map, Value};

use super::{ApiError, LARGEST_SUBMISSION, query};
use crate::model::{DEEPEST_NESTING, canonical::reject_wide_integers, nesting};

/// Reading stops after this many bytes; the client may then not get the response.
const MOST_READ: usize = 128 * 1024 * 1024;

/// The UTF-8 byte order mark that editors and PowerShell write. It is not part of the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Responds with 413 to a body that is too large, once all of it has arrived. A leading byte order
/// mark is removed.
pub(super) async fn within_bounds(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let most = largest(parts.uri.path());
    match read(body, most).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(error) => error.into_response(),
    }
}

/// Decodes a body that is a JSON object; `send` says in an error what to send instead.
pub(super) fn object(body: &[u8], send: &str) -> Result<Map<String, Value>, ApiError> {
    let bad = |problem: String| Err(query::bad(format!("{problem}; {send}")));
    let Ok(text) = std::str::from_utf8(body) else {
        return bad(match body {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                "the body is UTF-16, according to its byte order mark; write the file as UTF-8"
                    .to_owned()
            }
            _ => "the body is not UTF-8".to_owned(),
        });
    };
    if text.trim().is_empty() {
        return bad("the body is empty".to_owned());
    }
    let depth = nesting(text);
    if depth > DEEPEST_NESTING {
        return bad(format!(
            "the body is nested {depth} deep; at most {DEEPEST_NESTING} are allowed"
        ));
    }
    let fields = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return bad("the body is JSON but not an object".to_owned()),
        Err(error) => return bad(format!("the body is not JSON: {error}")),
    };
    reject_wide_integers(text).map_err(|error| query::bad(error.to_string()))?;
    Ok(fields)
}

/// Results and logs of workers come a hundred at a time.
fn largest(path: &str) -> usize {
    let of_workers = ["/workers/finish", "/workers/heartbeat"];
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    if of_workers.iter().any(|end| path.ends_with(end)) {
        LARGEST_WORKER_BODY
    } else {
        LARGEST_SUBMISSION
    }
}

async fn read(body: Body, most: usize) -> Result<Bytes, ApiError> {
    let mut kept = Vec::new();
    let mut length = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad request",
                format!("the body cannot be read: {error}"),
            )
        })?;
        length += chunk.len();
        if length <= most {
            kept.extend_from_slice(&chunk);
        } else if length > MOST_READ {
            break;
        }
    }
    if length > most {
        return Err(ApiError::too_large(most));
    }
    if kept.starts_with(BYTE_ORDER_MARK) {
        kept.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(kept.into())
}
