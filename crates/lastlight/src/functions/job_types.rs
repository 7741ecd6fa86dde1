//! `GET /api/jobs/types`: the job types, with a JSON Schema of their parameters.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::queries::JobTypeInfo;

#[derive(Debug, Serialize, JsonSchema)]
struct JobTypes {
    /// The job types, in the order of the catalog.
    job_types: Vec<JobTypeInfo>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Response {
    let job_types = app.queries.describe_job_types();
    stamped_answer(StatusCode::OK, JobTypes { job_types })
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<JobTypes>(schemas)
}
