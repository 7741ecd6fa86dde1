//! `GET /api/live`: liveness of the process. Checks neither the database nor a queue, so it never
//! fails because of them.

use axum::{http::StatusCode, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    openapi::{Operation, Schemas},
    stamped_answer,
};

#[derive(Debug, Serialize, JsonSchema)]
struct Liveness {
    /// `alive`.
    status: &'static str,
    /// The version of lastlight.
    version: &'static str,
}

pub(super) async fn handle() -> Response {
    let answer = Liveness { status: "alive", version: env!("CARGO_PKG_VERSION") };
    stamped_answer(StatusCode::OK, answer)
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    Operation::new().answers::<Liveness>(schemas)
}
