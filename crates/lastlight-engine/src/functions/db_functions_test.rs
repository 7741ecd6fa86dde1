//! `GET /api/db/functions/test`: checks whether the database accepts each of the app's SQL
//! statements. None is executed.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::queries::StatementDiagnosis;

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StatementDiagnoses")]
struct Diagnosis {
    /// Whether every statement is accepted.
    accepted: bool,
    /// Time that the database took to check all statements, in milliseconds.
    milliseconds: f64,
    /// The statements, ordered by name.
    statements: Vec<StatementDiagnosis>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    let (statements, took) = app.queries.diagnose_statements().await?;
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
