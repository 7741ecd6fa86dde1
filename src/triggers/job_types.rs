//! `GET /api/jobs/types`: the job types, with a JSON Schema of what may be submitted.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{App, stamped_answer};
use crate::controller::JobTypeInfo;

#[derive(Debug, Serialize)]
struct JobTypes {
    /// In the order of the catalog.
    job_types: Vec<JobTypeInfo>,
}

pub(super) async fn handle(State(app): State<App>) -> Response {
    let job_types = app.controller.describe_job_types();
    stamped_answer(StatusCode::OK, JobTypes { job_types })
}
