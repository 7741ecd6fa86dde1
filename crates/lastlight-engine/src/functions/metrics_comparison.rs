//! `GET /api/metrics/comparison`: compares the metrics of Storage Queues and Service Bus.

use axum::{extract::State, http::StatusCode, response::Response};
use lastlight_api::comparison::Comparison;
use serde_json::json;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    stamped_answer,
};

/// The default of `hours`.
const USUAL_HOURS: u16 = 24;

pub(super) async fn handle(
    State(app): State<AppState>,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let hours = query.number("hours", 1..=168)?.unwrap_or(USUAL_HOURS);
    let job_type = query.one_of("job_type", &app.controller.job_types(), |name| name)?;
    let comparison = app.queries.compare(hours, job_type, &app.prices).await?;
    Ok(stamped_answer(StatusCode::OK, comparison))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let hours = json!({ "type": "integer", "minimum": 1, "maximum": 168, "default": USUAL_HOURS });
    let job_types: Vec<_> = schemas.job_types.iter().map(|job_type| &job_type.name).collect();
    Operation::new()
        .query("hours", hours, "Include only work that ended within this number of hours.")
        .query(
            "job_type",
            json!({ "type": "string", "enum": job_types }),
            "Include only jobs of this type.",
        )
        .answers::<Comparison>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST])
}
