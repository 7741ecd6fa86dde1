//! `GET /api/db/functions/test`: whether the database accepts each of the app's statements. None is
//! run.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::store::StatementDiagnosis;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StatementDiagnoses")]
struct Diagnosis {
    /// Every statement is accepted.
    accepted: bool,
    /// How long the database took over all of them.
    milliseconds: f64,
    /// By name.
    statements: Vec<StatementDiagnosis>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    let (statements, took) = app.controller.diagnose_statements().await?;
    let answer = Diagnosis {
        accepted: statements.iter().all(|statement| statement.accepted),
        milliseconds: took.as_secs_f64() * 1000.0,
        statements,
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Diagnosis>(schemas)
}
