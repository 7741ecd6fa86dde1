//! `POST /api/schedules/resume/{name}`: resumes a paused schedule at its next due time.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::schedules::SchedulePause;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    schedule::{known, of_a_schedule},
    stamped_answer,
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let answer = app.controller.resume_schedule(&known(name)?).await?;
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    of_a_schedule(Operation::new())
        .answers::<SchedulePause>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
