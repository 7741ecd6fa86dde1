//! `POST /api/jobs/submit/{job_type}`: submit a job. The same submission again answers with the first one.

use axum::{
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::StatusCode,
    response::Response,
};

use super::{ApiError, App, answer};
use crate::controller::ControllerError;

pub(super) async fn handle(
    State(app): State<App>,
    Path(job_type): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let submission = app.controller.submit(&job_type, &body?).await?;
    let body =
        serde_json::to_value(submission).map_err(|error| ControllerError::BadBody(error.to_string()))?;
    Ok(answer(StatusCode::OK, body))
}
