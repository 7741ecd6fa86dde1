//! `DELETE /api/jobs/{job_id}`: deletes a job that is over, with its tasks. `?cancel=true` ends it first.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::purge::Deletion;
use serde_json::json;

use super::{
    ApiError, AppState, answer, job_id,
    openapi::{Operation, Schemas},
    query::QueryParameters,
    user_request::{self, user_request},
};

pub(super) async fn handle(
    State(app): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: QueryParameters,
) -> Result<Response, ApiError> {
    let job_id = job_id(&id)?;
    let name_of = |cancels: bool| if cancels { "true" } else { "false" };
    let cancels = query.one_of("cancel", &[true, false], name_of)?.unwrap_or_default();
    let deletion =
        app.controller.delete(&job_id, cancels, &user_request(&query, &headers)?).await?;
    Ok(answer(StatusCode::OK, json!(deletion)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new().of_a_job())
        .query(
            "cancel",
            json!({ "type": "boolean" }),
            "Whether a job that runs is cancelled, and then deleted. Without it, that is a 409.",
        )
        .answers::<Deletion>(schemas)
        .refuses(&[StatusCode::BAD_REQUEST, StatusCode::CONFLICT])
}
