//! Task messages that the host set aside in `<queue>-poison`: each is sent again, fails what it
//! names, or is kept for a person.

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
