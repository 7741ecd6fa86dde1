//! `POST /api/jobs/cancel/{job_id}`: cancels a job: waiting tasks do not run, and running tasks
//! are stopped.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::control::Cancellation;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let cancellation = app.controller.cancel(&job_id(&id)?).await?;
    Ok(answer(StatusCode::OK, json!(cancellation)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().of_a_job().answers::<Cancellation>(schemas).refuses(&[StatusCode::CONFLICT])
}
