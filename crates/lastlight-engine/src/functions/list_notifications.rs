//! `GET /api/notifications`: lists the notifications that were not delivered, with the reason; of one job, all of them.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::notifications::{NotificationList, NotificationState};
use serde_json::json;

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad},
    stamped_answer,
};

/// Maximum number of notifications in an answer.
const MOST: u16 = 1000;

/// The number of notifications in the answer to a request that names none.
const DEFAULT: u16 = 100;

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let of_job = query.text("job_id")?.map(job_id).transpose()?;
    let state = query.one_of("state", &NotificationState::ALL, NotificationState::as_str)?;
    if state == Some(NotificationState::Delivered) && of_job.is_none() {
        return Err(bad(
            "state=delivered needs a job_id: notifications that were delivered are listed by job"
                .to_owned(),
        ));
    }
    let limit = query.number("limit", 1..=MOST)?.unwrap_or(DEFAULT);
    let list = app.queries.notifications(of_job.as_ref(), state, limit).await?;
    Ok(stamped_answer(StatusCode::OK, list))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let states = NotificationState::ALL.map(NotificationState::as_str);
    Operation::new()
        .query(
            "job_id",
            json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" }),
            "Only the notifications of this job, also those that were delivered in the last days.",
        )
        .query(
            "state",
            json!({ "type": "string", "enum": states }),
            "Only these; delivered needs a job_id.",
        )
        .query(
            "limit",
            json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT }),
            "Maximum number of notifications to return.",
        )
        .answers::<NotificationList>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}
