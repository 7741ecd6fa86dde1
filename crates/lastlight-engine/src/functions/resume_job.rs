//! `POST /api/jobs/resume/{job_id}`: resumes a paused job.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::control::Pause;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    user_request::{self, user_request},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let pause = app.controller.resume(&job_id(&id)?, &user_request(&query, &headers)?).await?;
    Ok(answer(StatusCode::OK, json!(pause)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new().of_a_job())
        .answers::<Pause>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
