//! `GET /api/db/jobs`: the jobs, newest first.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{ApiError, App, cursor::Cursor, query::QueryParameters, shown::ShownJob, stamped_answer};
use crate::{
    model::{JobStatus, ProcessingPath},
    repositories::postgres::{JobFilter, JobPosition},
};

/// What a list without `hours` looks back.
const USUAL_HOURS: u16 = 168;

/// What a list without `limit` holds.
const USUAL_LIMIT: u16 = 50;

#[derive(Debug, Serialize)]
struct Jobs {
    /// Newest first.
    jobs: Vec<ShownJob>,
    query_info: QueryInfo,
}

/// What was asked for, and where to go on.
#[derive(Debug, Serialize)]
struct QueryInfo {
    limit: u16,
    hours_back: u16,
    status: Option<JobStatus>,
    job_type: Option<&'static str>,
    processing_path: Option<ProcessingPath>,
    /// Jobs in this answer.
    returned: usize,
    /// Jobs that were looked at for it.
    scanned: u64,
    /// As `cursor`, it goes on after this page; null at the end.
    next_cursor: Option<String>,
}

pub(super) async fn handle(State(app): State<App>, query: QueryParameters) -> Result<Response, ApiError> {
    let limit = query.number("limit", 1..=100)?.unwrap_or(USUAL_LIMIT);
    let filter = JobFilter {
        hours: query.number("hours", 1..=168)?.unwrap_or(USUAL_HOURS),
        status: query.one_of("status", JobStatus::ALL, JobStatus::as_str)?,
        job_type: query.one_of("job_type", &app.controller.job_types(), |name| name)?,
        path: query.one_of("processing_path", &ProcessingPath::ALL, ProcessingPath::as_str)?,
    };
    let after = JobPosition::of(&query)?;
    let page = app.controller.list_jobs(filter, after, limit).await?;
    let query_info = QueryInfo {
        limit,
        hours_back: filter.hours,
        status: filter.status,
        job_type: filter.job_type,
        processing_path: filter.path,
        returned: page.rows.len(),
        scanned: page.looked_at,
        next_cursor: page.next.as_ref().map(Cursor::write),
    };
    let jobs = page
        .rows
        .into_iter()
        .map(|row| ShownJob::new(row.job, row.totals));
    let answer = Jobs {
        jobs: jobs.collect(),
        query_info,
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}
