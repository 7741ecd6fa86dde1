//! `POST /api/jobs/submit/{job_type}`: submit a job. The same submission again answers with the first one.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};

use serde_json::json;

use super::{
    ApiError, App, answer, caller_trace,
    openapi::{Operation, Schemas},
};
use crate::controller::{ControllerError, Submission};

pub(super) async fn handle(
    State(app): State<App>,
    Path(job_type): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let submission = app
        .controller
        .submit(&job_type, &body?, caller_trace(&headers))
        .await?;
    let body =
        serde_json::to_value(submission).map_err(|error| ControllerError::BadBody(error.to_string()))?;
    Ok(answer(StatusCode::OK, body))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let names: Vec<_> = schemas.job_types.iter().map(|job_type| job_type.name).collect();
    let bodies: Vec<_> = schemas
        .job_types
        .iter()
        .map(|job_type| json!({ "title": job_type.name, "allOf": [job_type.parameters] }))
        .collect();
    Operation::new("Submits a job. The same submission again answers with the first one, and runs nothing.")
        .path(
            "job_type",
            json!({ "type": "string", "enum": names }),
            "Which job type; GET /api/jobs/types lists them.",
        )
        .body(true, json!({ "anyOf": bodies }))
        .answers::<Submission>(schemas)
        .refuses(&[
            StatusCode::BAD_REQUEST,
            StatusCode::CONFLICT,
            StatusCode::PAYLOAD_TOO_LARGE,
        ])
}
