//! `GET /api/health`: checks the app's dependencies. 200 if all are healthy, 503 otherwise.

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::{
    AppState, answer,
    openapi::{Operation, Schemas},
};
use crate::queries::Health;

pub(super) async fn handle(State(app): State<AppState>) -> Response {
    let health = app.queries.health().await;
    let status =
        if health.errors.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
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

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let environment = json!({
        "type": "object",
        "properties": { "environment": { "type": "string", "description": "The value of AZURE_FUNCTIONS_ENVIRONMENT." } },
        "required": ["environment"],
    });
    let schema = json!({ "allOf": [schemas.of::<Health>(), environment] });
    Operation::new().answers_json(schema).answers_alike_when_away()
}
