//! `GET /api/schedules/{name}`: a schedule with its next due times and its history. `DELETE`: deletes it.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::schedules::{LONGEST_NAME, ScheduleDeleted, ScheduleDetails};
use serde_json::json;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    schedules::NAME,
    stamped_answer,
};

pub(super) async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    Ok(stamped_answer(StatusCode::OK, app.queries.schedule(&known(name)?).await?))
}

pub(super) async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    Ok(stamped_answer(StatusCode::OK, app.controller.delete_schedule(&known(name)?).await?))
}

/// A name of the path, if it may be one of a schedule.
pub(super) fn known(name: String) -> Result<String, ApiError> {
    if lastlight_api::schedules::is_schedule_name(&name) {
        return Ok(name);
    }
    let shown: String = name.chars().take(80).collect();
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        "bad schedule",
        format!(
            "the name of a schedule has 1 to {LONGEST_NAME} letters, digits, _, - and ., which begin with a letter or _; \
             there is none named {shown:?}"
        ),
    ))
}

/// Adds the path parameter `name` to an operation: 400 for a malformed name, 404 for an unknown schedule.
pub(super) fn of_a_schedule(operation: Operation) -> Operation {
    let name =
        json!({ "type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": NAME });
    operation
        .path("name", name, "The name of the schedule.")
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND])
}

pub(super) fn operation_of_show(schemas: &mut Schemas) -> Operation {
    of_a_schedule(Operation::new()).answers::<ScheduleDetails>(schemas)
}

pub(super) fn operation_of_delete(schemas: &mut Schemas) -> Operation {
    of_a_schedule(Operation::new())
        .answers::<ScheduleDeleted>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
