//! Nothing is answered later than the host waits: it ends the process whose invocation takes
//! longer, with all that runs in it. What is stopped here left its traces in PostgreSQL, and goes
//! on from there.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::ApiError;

/// Answers 503 to a request that is not done after `limit`.
pub(super) async fn within(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = limit.as_secs_f64();
            tracing::error!(seconds, "a request was stopped, since the host would end the process");
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "took too long",
                format!(
                    "the request was stopped after {seconds:.1} s, a little before functionTimeout in host.json; what was done \
                     until then stays done"
                ),
            )
            .into_response()
        }
    }
}
