//! `GET /api/db/jobs`: lists jobs, newest first.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::jobs::{Jobs, JobsQueryInfo, ListedAs};
use serde_json::json;

use super::{
    ApiError, AppState,
    cursor::Cursor,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};
use crate::{
    model::ProcessingPath,
    queries::{JobFilter, JobPosition},
};

/// The default of `hours`.
const USUAL_HOURS: u16 = 168;

/// The default of `limit`.
const USUAL_LIMIT: u16 = 50;

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let limit = query.number("limit", 1..=100)?.unwrap_or(USUAL_LIMIT);
    let status = query.one_of("status", &ListedAs::ALL, ListedAs::as_str)?;
    let filter = JobFilter {
        hours: query.number("hours", 1..=168)?.unwrap_or(USUAL_HOURS),
        status: status.map(ListedAs::stored),
        is_paused: status == Some(ListedAs::Paused),
        job_type: query.one_of("job_type", &app.controller.job_types(), |name| name)?,
        path: query.one_of("processing_path", &ProcessingPath::ALL, ProcessingPath::as_str)?,
    };
    let after = JobPosition::of(&query)?;
    let page = app.queries.list_jobs(filter, after, limit).await?;
    let query_info = JobsQueryInfo {
        limit,
        hours_back: filter.hours,
        status,
        job_type: filter.job_type.map(str::to_owned),
        processing_path: filter.path,
        returned: page.rows.len(),
        scanned: page.looked_at,
        next_cursor: page.next.as_ref().map(Cursor::write),
    };
    let answer = Jobs { jobs: page.rows, query_info };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let statuses = schemas.of::<ListedAs>();
    let paths = schemas.of::<ProcessingPath>();
    let job_types: Vec<_> = schemas.job_types.iter().map(|job_type| &job_type.name).collect();
    Operation::new()
        .query(
            "limit",
            json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": USUAL_LIMIT }),
            "Maximum number of jobs to return.",
        )
        .query(
            "hours",
            json!({ "type": "integer", "minimum": 1, "maximum": 168, "default": USUAL_HOURS }),
            "Return only jobs submitted within this number of hours.",
        )
        .query(
            "status",
            statuses,
            "Return only jobs with this status; `paused` selects `queued` jobs that are paused.",
        )
        .query(
            "job_type",
            json!({ "type": "string", "enum": job_types }),
            "Return only jobs of this type.",
        )
        .query("processing_path", paths, "Return only jobs of this pipeline.")
        .query("cursor", json!({ "type": "string" }), "The `next_cursor` of the previous page.")
        .answers::<Jobs>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}
