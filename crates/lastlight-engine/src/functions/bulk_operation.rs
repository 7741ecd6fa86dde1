//! `GET /api/jobs/bulk/{operation_id}`: the progress of a bulk operation.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::bulk::BulkOperation;
use serde_json::json;
use uuid::Uuid;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    query::{bad, shortened},
    stamped_answer,
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let operation = app.controller.bulk_operation(operation_id(&id)?).await?;
    Ok(stamped_answer(StatusCode::OK, operation))
}

/// The id of an operation, from a path.
pub(super) fn operation_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| {
        bad(format!(
            "operation_id must be a UUID, as the operation's answer has it, not {:?}",
            shortened(text)
        ))
    })
}

/// The part of the description that all operations with such a path have.
pub(super) fn of_an_operation(operation: Operation) -> Operation {
    operation
        .path(
            "operation_id",
            json!({ "type": "string", "format": "uuid" }),
            "The id of the operation.",
        )
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    of_an_operation(Operation::new()).answers::<BulkOperation>(schemas)
}
