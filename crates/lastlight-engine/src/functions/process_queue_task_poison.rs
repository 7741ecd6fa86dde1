//! Task messages that the host moved to `<queue>-poison`: each is resent, fails the tasks that it
//! names, or is kept for an operator.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::Response,
};

use super::{ApiError, AppState, deliver};
use crate::{model::ProcessingPath, transport::sender::QueueRole};

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    deliver::poison(&app, ProcessingPath::QueueStorage, QueueRole::Tasks, &body?).await
}
