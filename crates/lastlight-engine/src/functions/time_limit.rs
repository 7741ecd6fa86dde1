//! Stops requests before the host's timeout: the host kills a process whose invocation takes
//! longer, with everything that runs in it. The state of a stopped request is in PostgreSQL, and
//! its work continues from there.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::ApiError;

/// Responds with 503 to a request that is not done after `limit`.
pub(super) async fn within(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = limit.as_secs_f64();
            tracing::error!(
                seconds,
                "a request was stopped before the host would kill the process"
            );
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "took too long",
                format!(
                    "the request was stopped after {seconds:.1} s, shortly before functionTimeout in host.json; its changes until \
                     then are kept"
                ),
            )
            .into_response()
        }
    }
}
