//! `GET /api/db/tasks/{job_id}/{task_id}`: one task, with the log and the checkpoint of its attempts.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::tasks::TaskDetails;
use serde_json::json;

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::model::TaskId;

pub(super) async fn handle(
    State(app): State<AppState>,
    Path((id, task)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let task_id = TaskId::try_from(task.as_str()).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "bad task id", error.to_string())
    })?;
    let task = app.queries.task_details(&job_id, &task_id).await?;
    Ok(stamped_answer(StatusCode::OK, task))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let task_id = json!({ "type": "string", "minLength": 1, "maxLength": 100 });
    Operation::new()
        .of_a_job()
        .path("task_id", task_id, "The task id.")
        .answers::<TaskDetails>(schemas)
}
