//! `GET /api/jobs/events/{job_id}`: the events of a job: what happened to it, and who asked for it.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::events::JobEvents;
use serde_json::json;

use super::{
    ApiError, AppState,
    cursor::Cursor,
    job_id,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};

/// Maximum number of events of a page.
const MOST: u16 = 1000;

/// The number of events of a page that names none.
const DEFAULT: u16 = 500;

/// The event after which the list continues.
struct After(i64);

impl Cursor for After {
    const KIND: &'static str = "events1";

    fn parts(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [event_id] = parts else { return None };
        event_id.parse().ok().map(Self)
    }
}

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let limit = query.number("limit", 1..=MOST)?.unwrap_or(DEFAULT);
    let after = After::of(&query)?.map_or(0, |after| after.0);
    let (mut page, next) = app.queries.events(&job_id, after, limit).await?;
    page.next_cursor = next.map(|event| After(event).write());
    Ok(stamped_answer(StatusCode::OK, page))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new()
        .of_a_job()
        .query(
            "limit",
            json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT }),
            "Maximum number of events to return.",
        )
        .query("cursor", json!({ "type": "string" }), "A next_cursor returned by this list.")
        .answers::<JobEvents>(schemas)
}
