//! `POST /api/db/schema/redeploy?confirm=yes`: drops the app's schema and creates it again.
//! Disabled unless `ENABLE_SCHEMA_ADMIN=true`.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

use super::{
    ApiError, AppState, answer,
    openapi::{Operation, Schemas},
    schema_nuke::{Confirmation, check, confirmed},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    confirmation: Result<Query<Confirmation>, QueryRejection>,
) -> Result<Response, ApiError> {
    check(&app, confirmation)?;
    let schema = app.controller.redeploy_schema().await?;
    tracing::warn!(schema, "the schema was dropped and created again on request");
    Ok(answer(StatusCode::OK, json!({ "action": "redeploy", "schema": schema, "success": true })))
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    confirmed()
}
