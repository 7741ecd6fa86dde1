//! `GET /api/metrics/comparison`: Storage Queues and Service Bus side by side.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{ApiError, App, query::QueryParameters, stamped_answer};

/// What a comparison without `hours` looks back.
const USUAL_HOURS: u16 = 24;

pub(super) async fn handle(State(app): State<App>, query: QueryParameters) -> Result<Response, ApiError> {
    let hours = query.number("hours", 1..=168)?.unwrap_or(USUAL_HOURS);
    let job_type = query.one_of("job_type", &app.controller.job_types(), |name| name)?;
    let comparison = app.controller.compare(hours, job_type, &app.prices).await?;
    Ok(stamped_answer(StatusCode::OK, comparison))
}
