//! Responses to the host: a 2xx response needs a JSON body, or the invocation never completes.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// The invocation succeeded: the host deletes or completes its messages.
pub fn success() -> Response {
    Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null })).into_response()
}

/// The invocation failed: the host redelivers its messages, and dead-letters them after the maximum
/// number of deliveries.
pub fn failure(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

/// The response to an HTTP trigger whose request the host did not forward.
pub fn http_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Response {
    let headers: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), Value::from(value.to_str().ok()?))))
        .collect();
    let body = String::from_utf8_lossy(body);
    Json(json!({
        "Outputs": { "res": { "statusCode": status.as_u16().to_string(), "headers": headers, "body": body } },
        "Logs": [],
        "ReturnValue": null,
    }))
    .into_response()
}
