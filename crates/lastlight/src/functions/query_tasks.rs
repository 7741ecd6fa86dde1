//! `GET /api/db/tasks`: lists the tasks of all jobs, those of the newest job first.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

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
    store::{ListedTask, TaskFilter, TaskPosition},
};

/// The default of `hours`.
const USUAL_HOURS: u16 = 168;

/// The default of `limit`.
const USUAL_LIMIT: u16 = 50;

#[derive(Debug, Serialize, JsonSchema)]
struct Tasks {
    /// Those of the newest job first; within a job by stage, then by id.
    tasks: Vec<ListedTask>,
    query_info: QueryInfo,
}

/// The filters of the request, and the cursor of the next page.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TasksQueryInfo")]
struct QueryInfo {
    #[serde(flatten)]
    of: TaskQueryInfo,
    hours_back: u16,
    job_type: Option<&'static str>,
}

/// The filters and the cursor that both task lists return.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TaskQueryInfo {
    pub limit: u16,
    pub status: Option<TaskStatus>,
    pub stage: Option<Stage>,
    /// Number of tasks on this page.
    pub returned: usize,
    /// Number of tasks read to fill this page.
    pub scanned: u64,
    /// The `cursor` of the next page; null on the last page. A page with fewer tasks than `limit`
    /// is not necessarily the last.
    pub next_cursor: Option<String>,
}

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
    let query_info = QueryInfo {
        of: TaskQueryInfo {
            limit,
            status: filter.status,
            stage: filter.stage,
            returned: page.rows.len(),
            scanned: page.looked_at,
            next_cursor: page.next.as_ref().map(Cursor::write),
        },
        hours_back: filter.hours,
        job_type: filter.job_type,
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
    let job_types: Vec<_> = schemas.job_types.iter().map(|job_type| job_type.name).collect();
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
