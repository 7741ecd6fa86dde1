//! `GET /api/db/enums/diagnostic`: compares the database's enum types with those that
//! the app expects.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::queries::EnumDiagnosis;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EnumDiagnoses")]
struct Diagnosis {
    /// Whether every type agrees.
    agrees: bool,
    /// The types, ordered by name.
    enums: Vec<EnumDiagnosis>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    let enums = app.queries.diagnose_enums().await?;
    let agrees = enums.iter().all(|diagnosis| diagnosis.agrees);
    Ok(stamped_answer(StatusCode::OK, Diagnosis { agrees, enums }))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Diagnosis>(schemas)
}
