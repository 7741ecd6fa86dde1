//! `POST /api/jobs/cancel/{job_id}`: cancels a job: waiting tasks do not run, and running tasks
//! are stopped.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::control::Cancellation;
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
    let cancellation =
        app.controller.cancel(&job_id(&id)?, &user_request(&query, &headers)?).await?;
    Ok(answer(StatusCode::OK, json!(cancellation)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new().of_a_job())
        .answers::<Cancellation>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
