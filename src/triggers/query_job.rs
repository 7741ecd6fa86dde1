//! `GET /api/db/jobs/{job_id}`: a job whole, with its stages so far.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use serde::Serialize;

use super::{
    ApiError, App, job_id,
    shown::{StageProgress, WholeJob},
    stamped_answer,
};

#[derive(Debug, Serialize)]
struct Job {
    job: WholeJob,
    /// Its stages so far, in order.
    stages: Vec<StageProgress>,
}

pub(super) async fn handle(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (standing, totals) = app.controller.whole_job(&job_id(&id)?).await?;
    let answer = Job {
        stages: standing.stages.iter().map(StageProgress::from).collect(),
        job: WholeJob::new(standing.job, totals),
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}
