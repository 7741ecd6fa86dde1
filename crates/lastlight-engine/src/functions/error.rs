//! Converts errors to responses. To the host any of them means "redeliver the message"; to a client
//! the status says whether the client or the server is at fault.

use axum::{
    extract::rejection::BytesRejection,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{LARGEST_SUBMISSION, answer};
use crate::workflow::{ControllerError, DatabaseError};

/// An error response: `{error, message, request_id, timestamp}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: &'static str,
    message: String,
    details: Option<Value>,
}

impl ApiError {
    /// `error`: the kind of error, in a few words; `message`: what went wrong and how to fix it.
    pub fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), details: None }
    }
}

impl ApiError {
    /// The body has more than `most` bytes.
    pub(super) fn too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload too large",
            format!(
                "the body is larger than {most} bytes; put large data into storage and send its address"
            ),
        )
    }
}

impl From<ControllerError> for ApiError {
    fn from(error: ControllerError) -> Self {
        use ControllerError as E;
        let message = match &error {
            E::NoSuchMessage { .. } => {
                format!("{error}; GET /api/monitor/poison?peek=32 lists the messages")
            }
            error => error.to_string(),
        };
        let (status, kind) = match &error {
            E::BadSubmission(_) => (StatusCode::BAD_REQUEST, "bad request"),
            E::BadParameters(_) => (StatusCode::BAD_REQUEST, "bad parameters"),
            E::CannotWork(_) => (StatusCode::BAD_REQUEST, "cannot work"),
            E::BadSchedule(_) => (StatusCode::BAD_REQUEST, "bad schedule"),
            E::UnknownSchedule { .. } => (StatusCode::NOT_FOUND, "unknown schedule"),
            E::DeclaredInFile { .. } => (StatusCode::CONFLICT, "declared in a workflow file"),
            E::ScheduleChangedMeanwhile { .. } => {
                (StatusCode::CONFLICT, "not allowed in this state")
            }
            E::UnknownJobType { .. } => (StatusCode::BAD_REQUEST, "unknown job type"),
            E::Message(_) | E::JobTypeMismatch { .. } => (StatusCode::BAD_REQUEST, "bad message"),
            E::Invocation(_) => (StatusCode::BAD_REQUEST, "bad invocation"),
            E::UnknownJob { .. } => (StatusCode::NOT_FOUND, "unknown job"),
            E::UnknownTask { .. } => (StatusCode::NOT_FOUND, "unknown task"),
            E::UnknownBatch { .. } => (StatusCode::NOT_FOUND, "unknown batch"),
            E::ServiceBusDisabled => (StatusCode::CONFLICT, "service bus is switched off"),
            E::NotAllowed(_)
            | E::ChangedMeanwhile { .. }
            | E::NotOver { .. }
            | E::StillNeeded { .. }
            | E::BeingDeleted { .. }
            | E::DefinitionChanged { .. } => (StatusCode::CONFLICT, "not allowed in this state"),
            E::StageNotBegun { .. }
            | E::StageEnded { .. }
            | E::TasksOfOverJob { .. }
            | E::TaskNotChanged { .. } => (StatusCode::CONFLICT, "not allowed in this state"),
            E::UnknownBulkOperation { .. } => (StatusCode::NOT_FOUND, "unknown bulk operation"),
            E::BulkOperationEnded { .. } => (StatusCode::CONFLICT, "not allowed in this state"),
            E::UnknownNotification { .. } => (StatusCode::NOT_FOUND, "unknown notification"),
            E::UnknownGate { .. } => (StatusCode::NOT_FOUND, "unknown gate"),
            E::GateDecided { .. } => (StatusCode::CONFLICT, "decided before"),
            E::GateNotReached { .. } => (StatusCode::CONFLICT, "gate not reached"),
            E::GateOfFinishedJob { .. } => (StatusCode::CONFLICT, "not allowed in this state"),
            E::UnreadableDefinition { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unreadable definition")
            }
            E::NotChecked(_) => (StatusCode::SERVICE_UNAVAILABLE, "cannot check the submission"),
            E::WrongWorkflow { .. } => (StatusCode::CONFLICT, "wrong workflow file"),
            E::StageNotReached { .. } => (StatusCode::CONFLICT, "stage not reached"),
            E::UnknownQueue { .. } => (StatusCode::BAD_REQUEST, "unknown queue"),
            E::NoSuchMessage { .. } => (StatusCode::NOT_FOUND, "unknown message"),
            E::NotRedrivable { .. } => (StatusCode::CONFLICT, "not redrivable"),
            E::NotDeadLettered { .. } | E::NotSentAgain { .. } | E::Queue(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "queue unavailable")
            }
            E::Database(
                DatabaseError::Unavailable { .. }
                | DatabaseError::Schema { .. }
                | DatabaseError::Pooler,
            ) => (StatusCode::SERVICE_UNAVAILABLE, "database unavailable"),
            E::Database(DatabaseError::Statement(_)) | E::Unwritten(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        };
        if status.is_server_error() {
            tracing::error!(message, "request failed");
        }
        let details = match &error {
            E::BadParameters(problems) => Some(json!({ "problems": problems })),
            E::CannotWork(problems) => Some(json!({ "problems": problems })),
            E::UnknownJobType { known, .. } => Some(json!({ "known_job_types": known })),
            E::UnknownQueue { known, .. } => Some(json!({ "known_queues": known })),
            E::UnknownGate { gates, .. } => Some(json!({ "gates": gates })),
            _ => None,
        };
        // A database error may quote stored data: it goes to the log, not to the client.
        let message = if status == StatusCode::INTERNAL_SERVER_ERROR {
            "internal error; the log has the reason under this request_id".to_owned()
        } else {
            message
        };
        Self { status, error: kind, message, details }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::too_large(LARGEST_SUBMISSION);
        }
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad request",
            format!("the body cannot be read: {rejection}"),
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error, "message": self.message });
        if let (Value::Object(fields), Some(Value::Object(details))) = (&mut body, self.details) {
            fields.extend(details);
        }
        let mut response = answer(self.status, body);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
