//! `GET /api/db/jobs/{job_id}`: the complete record of a job, with its stages so far.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::jobs::JobDetails;

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    stamped_answer,
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let job = app.queries.whole_job(&job_id(&id)?).await?;
    Ok(stamped_answer(StatusCode::OK, job))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().of_a_job().answers::<JobDetails>(schemas)
}
