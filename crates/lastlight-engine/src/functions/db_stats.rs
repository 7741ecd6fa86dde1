//! `GET /api/db/stats`: size, maintenance and usage statistics of the database's tables and
//! indexes.

use axum::{extract::State, http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    ApiError, AppState,
    openapi::{Operation, Schemas},
    stamped_answer,
};
use crate::queries::{IndexStatistics, TableStatistics};

#[derive(Debug, Serialize, JsonSchema)]
struct Statistics {
    /// The app's schema.
    schema: String,
    /// Statistics of each table, ordered by name.
    tables: Vec<TableStatistics>,
    /// Statistics of each index, ordered by table and name.
    indexes: Vec<IndexStatistics>,
}

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    let (schema, tables, indexes) = app.queries.statistics().await?;
    let answer = Statistics { schema: schema.to_owned(), tables, indexes };
    Ok(stamped_answer(StatusCode::OK, answer))
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Statistics>(schemas)
}
