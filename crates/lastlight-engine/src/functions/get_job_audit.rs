//! `GET /api/jobs/audit/{job_id}`: recounts a job's tasks and compares them with its counters.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::audit::JobAudit;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let audit = app.queries.audit(&job_id(&id)?).await?;
    Ok(answer(StatusCode::OK, json!(audit)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().of_a_job().answers::<JobAudit>(schemas)
}
