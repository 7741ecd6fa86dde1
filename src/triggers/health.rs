//! `GET /api/health`: does everything that the app needs answer? 200 or 503.

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::{App, answer};

pub(super) async fn handle(State(app): State<App>) -> Response {
    let health = app.controller.health().await;
    let status = if health.errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer(
        status,
        json!({
            "status": health.status,
            "components": health.components,
            "environment": &*app.environment,
            "errors": health.errors,
        }),
    )
}
