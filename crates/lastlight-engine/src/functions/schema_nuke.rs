//! `POST /api/db/schema/nuke?confirm=yes`: drops the app's schema with all its data. Disabled
//! unless `ENABLE_SCHEMA_ADMIN=true`.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    ApiError, AppState, answer,
    openapi::{Operation, Schemas},
};

/// The confirmation that a request that destroys data must carry.
#[derive(Debug, Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirm: String,
}

pub(super) async fn handle(
    State(app): State<AppState>,
    confirmation: Result<Query<Confirmation>, QueryRejection>,
) -> Result<Response, ApiError> {
    check(&app, confirmation)?;
    let schema = app.controller.drop_schema().await?;
    tracing::warn!(schema, "the schema was dropped on request");
    Ok(answer(StatusCode::OK, json!({ "action": "nuke", "schema": schema, "success": true })))
}

/// Checks that schema administration is enabled and the request is confirmed.
pub(super) fn check(
    app: &AppState,
    confirmation: Result<Query<Confirmation>, QueryRejection>,
) -> Result<(), ApiError> {
    if !app.allows_schema_admin {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "schema administration is switched off",
            "this request deletes the data of all jobs; set ENABLE_SCHEMA_ADMIN=true to allow it",
        ));
    }
    let Query(confirmation) = confirmation.map_err(|problem| {
        ApiError::new(StatusCode::BAD_REQUEST, "not confirmed", problem.to_string())
    })?;
    if confirmation.confirm != "yes" {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "not confirmed",
            format!(
                "confirm must be \"yes\", not {:?}; with ?confirm=yes the data of all jobs is deleted",
                confirmation.confirm.chars().take(80).collect::<String>()
            ),
        ));
    }
    Ok(())
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    confirmed()
}

/// The description of an operation that must be confirmed.
pub(super) fn confirmed() -> Operation {
    let done = json!({
        "type": "object",
        "properties": {
            "action": { "type": "string" }, "schema": { "type": "string" }, "success": { "type": "boolean" },
        },
        "required": ["action", "schema", "success"],
    });
    Operation::new()
        .query("confirm", json!({ "type": "string", "enum": ["yes"] }), "Must be yes.")
        .answers_json(done)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::CONFLICT])
}
