//! `GET /api/db/enums/diagnostic`: the database's enum types beside those that the app expects.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{ApiError, App, stamped_answer};
use crate::repositories::postgres::EnumDiagnosis;

#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Every type agrees.
    agrees: bool,
    /// By name.
    enums: Vec<EnumDiagnosis>,
}

pub(super) async fn handle(State(app): State<App>) -> Result<Response, ApiError> {
    let enums = app.controller.diagnose_enums().await?;
    let agrees = enums.iter().all(|diagnosis| diagnosis.agrees);
    Ok(stamped_answer(StatusCode::OK, Diagnosis { agrees, enums }))
}
