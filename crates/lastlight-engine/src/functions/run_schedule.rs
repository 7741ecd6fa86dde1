//! `POST /api/schedules/run/{name}`: submits the job of a schedule now.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::schedules::ScheduleStarted;

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
    let answer = app.controller.run_schedule(&known(name)?).await?;
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    of_a_schedule(Operation::new())
        .answers::<ScheduleStarted>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
