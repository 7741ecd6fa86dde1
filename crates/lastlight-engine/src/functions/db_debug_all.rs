//! `GET /api/db/debug/all?limit=`: the newest jobs and tasks with all their fields.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::tasks::ListedTask;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};
use crate::queries::StoredJob;

/// The maximum of `limit`: each job or task may hold megabytes.
const MOST: u16 = 20;

/// The default of `limit`.
const USUALLY: u16 = 5;

#[derive(Debug, Serialize, JsonSchema)]
struct Newest {
    /// Newest first.
    jobs: Vec<StoredJob>,
    /// Those of the newest job first; within a job by stage, then by id.
    tasks: Vec<ListedTask>,
    query_info: QueryInfo,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NewestQueryInfo")]
struct QueryInfo {
    /// Maximum number of jobs, and of tasks.
    limit: u16,
}

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let limit = query.number("limit", 1..=MOST)?.unwrap_or(USUALLY);
    let (jobs, tasks) = app.queries.newest(limit).await?;
    let answer = Newest { jobs, tasks, query_info: QueryInfo { limit } };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUALLY });
    Operation::new()
        .query("limit", limit, "Maximum number of jobs, and of tasks, to return.")
        .answers::<Newest>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}
