//! Job messages from a Storage Queue: each starts a stage.

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
    deliver::jobs(&app, ProcessingPath::QueueStorage, &body?).await
}
