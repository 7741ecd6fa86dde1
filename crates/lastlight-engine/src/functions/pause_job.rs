//! `POST /api/jobs/pause/{job_id}`: pauses a job at the end of its current stage.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::control::Pause;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let pause = app.controller.pause(&job_id(&id)?).await?;
    Ok(answer(StatusCode::OK, json!(pause)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().of_a_job().answers::<Pause>(schemas).refuses(&[StatusCode::CONFLICT])
}
