//! `POST /api/jobs/resubmit/{job_id}`: runs a job again that is over, under its id.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use lastlight_api::control::Resubmission;
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
    let accepts = query.one_of("definition", &["stored"], |name| name)?.is_some();
    let request = user_request(&query, &headers)?;
    let resubmission = app.controller.resubmit(&job_id, accepts, &request).await?;
    Ok(answer(StatusCode::OK, json!(resubmission)))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    user_request::described(Operation::new().of_a_job())
        .query(
            "definition",
            json!({ "enum": ["stored"] }),
            "stored: run by the workflow file that the job was submitted with, although the file is another one by now. Without \
             it, that is a 409.",
        )
        .answers::<Resubmission>(schemas)
        .refuses(&[StatusCode::CONFLICT])
}
