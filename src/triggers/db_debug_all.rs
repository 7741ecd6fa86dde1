//! `GET /api/db/debug/all?limit=`: the newest jobs and tasks whole.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{ApiError, App, query::QueryParameters, shown::StoredJob, stamped_answer};
use crate::repositories::postgres::ListedTask;

/// Each of them may hold megabytes.
const MOST: u16 = 20;

/// Without `limit`.
const USUALLY: u16 = 5;

#[derive(Debug, Serialize)]
struct Newest {
    /// Newest first.
    jobs: Vec<StoredJob>,
    /// Of the newest job first, stage by stage, in the order of their ids.
    tasks: Vec<ListedTask>,
    query_info: QueryInfo,
}

#[derive(Debug, Serialize)]
struct QueryInfo {
    /// Of jobs, and of tasks.
    limit: u16,
}

pub(super) async fn handle(State(app): State<App>, query: QueryParameters) -> Result<Response, ApiError> {
    let limit = query.number("limit", 1..=MOST)?.unwrap_or(USUALLY);
    let (jobs, tasks) = app.controller.newest(limit).await?;
    let answer = Newest {
        jobs: jobs.into_iter().map(StoredJob::from).collect(),
        tasks,
        query_info: QueryInfo { limit },
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}
