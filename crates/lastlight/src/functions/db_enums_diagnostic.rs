//! `GET /api/db/enums/diagnostic`: the database's enum types beside those that the app expects.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::store::EnumDiagnosis;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EnumDiagnoses")]
struct Diagnosis {
    /// Every type agrees.
    agrees: bool,
    /// By name.
    enums: Vec<EnumDiagnosis>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    let enums = app.controller.diagnose_enums().await?;
    let agrees = enums.iter().all(|diagnosis| diagnosis.agrees);
    Ok(stamped_answer(StatusCode::OK, Diagnosis { agrees, enums }))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Diagnosis>(schemas)
}
