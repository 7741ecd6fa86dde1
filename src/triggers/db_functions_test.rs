//! `GET /api/db/functions/test`: whether the database accepts each of the app's statements. None is run.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{ApiError, App, stamped_answer};
use crate::repositories::postgres::StatementDiagnosis;

#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Every statement is accepted.
    accepted: bool,
    /// How long the database took over all of them.
    milliseconds: f64,
    /// By name.
    statements: Vec<StatementDiagnosis>,
}

pub(super) async fn handle(State(app): State<App>) -> Result<Response, ApiError> {
    let (statements, took) = app.controller.diagnose_statements().await?;
    let answer = Diagnosis {
        accepted: statements.iter().all(|statement| statement.accepted),
        milliseconds: took.as_secs_f64() * 1000.0,
        statements,
    };
    Ok(stamped_answer(StatusCode::OK, answer))
}
