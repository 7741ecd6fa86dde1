//! Reading a request's body to its end, however large, and keeping no more than is allowed.
//!
//! An answer that is sent while the body still arrives breaks the connection under the host's
//! forwarder, which then reports a bad gateway to the client instead of what was wrong.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;

use super::{ApiError, LARGEST_SUBMISSION};

/// Who sends more than this has no claim to an answer.
const MOST_READ: usize = 128 * 1024 * 1024;

/// What editors and PowerShell write before text in UTF-8. It is no part of the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Answers 413 to a body that is too large, once all of it is here. A byte order mark before it is
/// read past.
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
