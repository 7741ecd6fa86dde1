//! `GET /api/jobs/types`: the job types, with a JSON Schema of their parameters.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::job_types::JobTypes;

use super::{
    AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};

pub(super) async fn handle(State(app): State<AppState>) -> Response {
    let job_types = app.queries.describe_job_types();
    stamped_answer(StatusCode::OK, JobTypes { job_types })
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<JobTypes>(schemas)
}
