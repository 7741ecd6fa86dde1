//! The timer that runs the sweep once a minute.

use axum::{extract::State, response::Response};

use super::{ApiError, AppState};
use crate::invocation;

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    app.controller.reconcile().await?;
    Ok(invocation::success())
}
