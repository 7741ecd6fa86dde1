//! `POST /api/jobs/bulk/stop/{operation_id}`: stops a bulk operation. The jobs that it changed stay changed.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::bulk::BulkOperation;

use super::{
    ApiError, AppState,
    bulk_operation::{of_an_operation, operation_id},
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
    user_request::{self, user_request},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let request = user_request(&query, &headers)?;
    let operation = app.controller.stop_bulk(operation_id(&id)?, &request).await?;
    Ok(stamped_answer(StatusCode::OK, operation))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(of_an_operation(Operation::new()))
        .answers::<BulkOperation>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
