//! `GET /api/jobs/status/{job_id}`: a job's status, with the progress of each stage. `?wait=30`
//! delays the response until the job changes; with `&seen=<version>` a change before the request
//! counts too.

use std::time::Duration;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use lastlight_api::jobs::JobStatusAnswer;
use serde_json::json;

use super::{
    ApiError, AppState, job_id,
    openapi::{Operation, Schemas},
    query::{QueryParameters, bad},
    stamped_answer,
};
use crate::model::IdError;

/// Maximum of `wait`, in seconds: well below the host's limit on a request.
const LONGEST_WAIT: u16 = 30;

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let seen = match query.text("seen")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|error: IdError| bad(error.to_string()))?),
    };
    let status = match query.number("wait", 0..=LONGEST_WAIT)? {
        None | Some(0) => app.queries.status(&job_id).await?,
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.into());
            app.queries.status_after_change(&job_id, wait, seen).await?
        }
    };
    Ok(stamped_answer(StatusCode::OK, status))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let seen = json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" });
    let wait = json!({ "type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0 });
    Operation::new()
        .of_a_job()
        .query(
            "wait",
            wait,
            "Respond once the job is finished, has changed, or this number of seconds has passed.",
        )
        .query(
            "seen",
            seen,
            "With `wait`: the version in the last response. If the job has changed since, respond immediately.",
        )
        .answers::<JobStatusAnswer>(schemas)
}
