//! `GET /api/live`: the process answers. Asks neither the database nor a queue, so it never fails because of them.

use axum::{http::StatusCode, response::Response};
use serde_json::json;

use super::answer;

pub(super) async fn handle() -> Response {
    answer(
        StatusCode::OK,
        json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }),
    )
}
