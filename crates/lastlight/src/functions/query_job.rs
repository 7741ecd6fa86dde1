//! `GET /api/db/jobs/{job_id}`: the complete record of a job, with its stages so far.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    stamped_answer,
    views::{StageProgress, WholeJob},
};

#[derive(Debug, Serialize, JsonSchema)]
struct Job {
    job: WholeJob,
    /// The stages of the job so far, in order.
    stages: Vec<StageProgress>,
}

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (standing, totals) = app.queries.whole_job(&job_id(&id)?).await?;
    let answer = Job {
        stages: standing.stages.iter().map(StageProgress::from).collect(),
        job: WholeJob::new(standing.job, totals),
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().of_a_job().answers::<Job>(schemas)
}
