//! `POST /api/jobs/submit/{job_type}`: submit a job. The same submission again answers with the
//! first one.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};

use serde_json::json;

use super::{
    ApiError, AppState, caller_trace,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::workflow::Submission;

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(job_type): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let submission = app.controller.submit(&job_type, &body?, caller_trace(&headers)).await?;
    Ok(stamped_answer(StatusCode::OK, submission))
}

/// What it takes depends on the job type: the document has an address for each.
pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().body(true, json!({})).answers::<Submission>(schemas).refuses(&[
        StatusCode::BAD_REQUEST,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
    ])
}
