//! `POST /api/tasks/retry`: runs tasks again that failed, in stages that have not ended.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
    response::Response,
};

use super::{
    ApiError, AppState, change_tasks,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    user_request::user_request,
};
use crate::workflow::TaskAction;

pub(super) async fn handle(
    State(app): State<AppState>,
    headers: HeaderMap,
    query: QueryParameters,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let request = user_request(&query, &headers)?;
    change_tasks::change(&app, TaskAction::Retry, &body?, &request).await
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    change_tasks::described(TaskAction::Retry, schemas)
}
