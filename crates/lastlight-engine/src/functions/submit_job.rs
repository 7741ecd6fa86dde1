//! `POST /api/jobs/submit/{job_type}`: submits a job. An identical submission returns the existing
//! job.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::{Labels, jobs::Submission};
use serde_json::json;

use super::{
    ApiError, AppState, body, caller_trace,
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad},
    stamped_answer,
    user_request::{self, user_request},
};
use crate::workflow::has_parameter;

/// The field of a submission that has the labels. A job type that has a parameter of this name keeps it;
/// its jobs have no labels of their own.
pub(super) const LABELS: &str = "labels";

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(job_type): Path<String>,
    headers: HeaderMap,
    query: QueryParameters,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = body?;
    let job_type = app.controller.job_type(&job_type)?;
    let send = "send the parameters as a JSON object: {\"n\": 10}";
    let mut submitted = body::object(&body, send)?;
    let labels = if submitted.contains_key(LABELS) && !has_parameter(job_type, LABELS) {
        submitted.remove(LABELS);
        // Once more from the text: a parser of values drops keys that are given twice.
        let text = String::from_utf8_lossy(&body);
        Labels::of_body(&text).map_err(|problem| bad(problem.to_string()))?
    } else {
        Labels::default()
    };
    let trace = caller_trace(&headers);
    let request = user_request(&query, &headers)?;
    let submission = app.controller.submit(job_type, submitted, labels, trace, &request).await?;
    Ok(stamped_answer(StatusCode::OK, submission))
}

/// The body depends on the job type: the OpenAPI document has one path per job type.
pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new())
        .body(true, json!({}))
        .answers::<Submission>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE])
}
