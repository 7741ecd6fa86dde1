//! `POST /api/jobs/retry/{job_id}`: continues a failed or cancelled job: tasks that did not
//! succeed run again.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::control::Retry;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    user_request::{self, user_request},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let retry = app.controller.retry(&job_id(&id)?, &user_request(&query, &headers)?).await?;
    Ok(answer(StatusCode::OK, json!(retry)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new().of_a_job())
        .answers::<Retry>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
