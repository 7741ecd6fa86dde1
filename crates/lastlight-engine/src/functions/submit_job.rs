//! `POST /api/jobs/submit/{job_type}`: submits a job. An identical submission returns the existing
//! job.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::jobs::Submission;
use serde_json::json;

use super::{
    ApiError, AppState, body, caller_trace,
    openapi::{Operation, Schemas},
    stamped_answer,
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(job_type): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let job_type = app.controller.job_type(&job_type)?;
    let send = "send the parameters as a JSON object: {\"n\": 10}";
    let submitted = body::object(&body, send)?;
    let submission = app.controller.submit(job_type, submitted, caller_trace(&headers)).await?;
    Ok(stamped_answer(StatusCode::OK, submission))
}

/// The body depends on the job type: the OpenAPI document has one path per job type.
pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().body(true, json!({})).answers::<Submission>(schemas).refuses(&[
        StatusCode::BAD_REQUEST,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
    ])
}
