//! The timer that fires the schedules of each minute. Each process also looks by itself, for due times with a jitter and
//! for those that wait; the timer is what starts a process if none runs.

use axum::{extract::State, response::Response};

use super::{ApiError, AppState};
use crate::invocation;

pub(super) async fn handle(State(app): State<AppState>) -> Result<Response, ApiError> {
    app.controller.fire_schedules().await?;
    Ok(invocation::success())
}
