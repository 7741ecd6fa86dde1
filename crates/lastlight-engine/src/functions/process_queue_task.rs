//! Task messages from a Storage Queue: each runs the tasks that it names.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::Response,
};

use super::{ApiError, AppState, deliver};
use crate::model::ProcessingPath;

pub(super) async fn handle(
    State(app): State<AppState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    deliver::tasks(&app, ProcessingPath::QueueStorage, &body?).await
}
