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

use super::{ApiError, LARGEST_SUBMISSION};

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
    match read(body).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(error) => error.into_response(),
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
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
        if length <= LARGEST_SUBMISSION {
            kept.extend_from_slice(&chunk);
        } else if length > MOST_READ {
            break;
        }
    }
    if length > LARGEST_SUBMISSION {
        return Err(ApiError::too_large());
    }
    if kept.starts_with(BYTE_ORDER_MARK) {
        kept.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(kept.into())
}
