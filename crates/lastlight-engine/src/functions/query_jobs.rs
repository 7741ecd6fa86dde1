//! `GET /api/db/jobs`: lists jobs, newest first.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::{
    jobs::{Jobs, JobsQueryInfo, ListedAs},
    labels::LONGEST_LABEL_VALUE,
};
use serde_json::{Value, json};

use super::{
    ApiError, AppState,
    cursor::Cursor,
    job_filters::{JobFilters, USUAL_HOURS, terms_schema},
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};
use crate::{
    model::{Prefix, ProcessingPath, Term, Timestamp},
    queries::JobPosition,
};

/// The default of `limit`.
const USUAL_LIMIT: u16 = 50;

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let limit = query.number("limit", 1..=100)?.unwrap_or(USUAL_LIMIT);
    let job_types = app.controller.job_types();
    let filters = JobFilters::of(&query, &job_types)?;
    let after = JobPosition::of(&query)?;
    let page = match filters.search() {
        Some(search) => app.queries.search_jobs(search, after, limit).await?,
        None => app.queries.list_jobs(filters.filter(), after, limit).await?,
    };
    let terms = filters.asked.iter().map(|Term { name, value }| (name.clone(), value.clone()));
    let query_info = JobsQueryInfo {
        limit,
        hours_back: filters.hours,
        from: filters.from.map(Timestamp),
        to: filters.to.map(Timestamp),
        status: filters.status,
        job_type: filters.job_type.map(str::to_owned),
        processing_path: filters.path,
        terms: terms.collect(),
        q: filters.prefix.as_ref().map(Prefix::from).map(str::to_owned),
        returned: page.rows.len(),
        scanned: page.looked_at,
        searched_until: page.next.as_ref().map(|next| Timestamp(next.created_at)),
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
            "Return only jobs submitted within this number of hours. The default holds for a list without `from`, `to`, `q`, \
             labels and parameters. Not with `from` or `to`.",
        )
        .query(
            "from",
            time(),
            "Return only jobs submitted at this time or later: ISO 8601 or a date, UTC without an offset.",
        )
        .query(
            "to",
            time(),
            "Return only jobs submitted before this time; a date means the end of that day.",
        )
        .query_object(
            "filter",
            terms_schema(),
            "No parameter of this name: `label.KEY=VALUE` returns only jobs with this label, `param.NAME=VALUE` only those with \
             this parameter (text, a number or a boolean, as answers show it); at most 8 of both.",
        )
        .query(
            "q",
            json!({ "type": "string", "maxLength": LONGEST_LABEL_VALUE, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$" }),
            "Return only jobs whose id, type or value of a label begins with this text.",
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
        .query(
            "cursor",
            json!({ "type": "string" }),
            "The `next_cursor` of the previous page. A page may have fewer jobs than `limit`, or none, and still a next one.",
        )
        .answers::<Jobs>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}

fn time() -> Value {
    json!({ "type": "string", "examples": ["2026-11-25", "2026-11-25T10:00:00Z"] })
}
