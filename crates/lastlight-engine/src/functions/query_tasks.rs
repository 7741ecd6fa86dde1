//! `GET /api/db/tasks`: lists the tasks of all jobs, those of the newest job first.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::tasks::{TaskQueryInfo, Tasks, TasksQueryInfo};
use serde_json::json;

use super::{
    ApiError, AppState,
    cursor::Cursor,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};
use crate::{
    model::{Stage, TaskStatus},
    queries::{TaskFilter, TaskPosition},
};

/// The default of `hours`.
const USUAL_HOURS: u16 = 168;

/// The default of `limit`.
const USUAL_LIMIT: u16 = 50;

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let limit = limit(&query)?;
    let filter = TaskFilter {
        hours: query.number("hours", 1..=168)?.unwrap_or(USUAL_HOURS),
        job_type: query.one_of("job_type", &app.controller.job_types(), |name| name)?,
        stage: stage(&query)?,
        status: status(&query)?,
    };
    let after = TaskPosition::of(&query)?;
    let page = app.queries.list_tasks(filter, after, limit).await?;
    let query_info = TasksQueryInfo {
        of: TaskQueryInfo {
            limit,
            status: filter.status,
            stage: filter.stage,
            returned: page.rows.len(),
            scanned: page.looked_at,
            next_cursor: page.next.as_ref().map(Cursor::write),
        },
        hours_back: filter.hours,
        job_type: filter.job_type.map(str::to_owned),
    };
    let answer = Tasks { tasks: page.rows, query_info };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn limit(query: &QueryParameters) -> Result<u16, ApiError> {
    Ok(query.number("limit", 1..=100)?.unwrap_or(USUAL_LIMIT))
}

pub(super) fn stage(query: &QueryParameters) -> Result<Option<Stage>, ApiError> {
    let number = query.number("stage", 1..=100)?;
    Ok(number
        .and_then(|number| u8::try_from(number).ok())
        .and_then(|number| Stage::try_from(number).ok()))
}

pub(super) fn status(query: &QueryParameters) -> Result<Option<TaskStatus>, ApiError> {
    query.one_of("status", TaskStatus::ALL, TaskStatus::as_str)
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let job_types: Vec<_> =
        schemas.job_types.iter().map(|job_type| job_type.name.clone()).collect();
    filters(Operation::new(), schemas)
        .query(
            "hours",
            json!({ "type": "integer", "minimum": 1, "maximum": 168, "default": USUAL_HOURS }),
            "Return only tasks of jobs submitted within this number of hours.",
        )
        .query(
            "job_type",
            json!({ "type": "string", "enum": job_types }),
            "Return only tasks of jobs of this type.",
        )
        .answers::<Tasks>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}

/// The query parameters of both task lists.
pub(super) fn filters(operation: Operation, schemas: &mut Schemas) -> Operation {
    let statuses = schemas.of::<TaskStatus>();
    operation
        .query(
            "limit",
            json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": USUAL_LIMIT }),
            "Maximum number of tasks to return.",
        )
        .query("status", statuses, "Return only tasks shown with this status.")
        .query(
            "stage",
            json!({ "type": "integer", "minimum": 1, "maximum": 100 }),
            "Return only tasks of this stage.",
        )
        .query("cursor", json!({ "type": "string" }), "The `next_cursor` of the previous page.")
}
