//! All error answers, with the status, code and message of the real service.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{super::BrokerError, xml};

/// Why a request was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Engine(#[from] BrokerError),
    #[error(
        "Server failed to authenticate the request. Make sure the value of the Authorization header is formed \
         correctly including the signature."
    )]
    AuthenticationFailed,
    #[error("This request is not authorized to perform this operation using this service.")]
    ServiceMismatch,
    #[error("This request is not authorized to perform this operation using this resource type.")]
    ResourceTypeMismatch,
    #[error("This request is not authorized to perform this operation using this permission.")]
    PermissionMismatch,
    #[error("This request is not authorized to perform this operation using this protocol.")]
    ProtocolMismatch,
    #[error("The specified resource does not exist.")]
    NoSuchAccount,
    #[error("The requested URI does not represent any resource on the server.")]
    InvalidUri,
    #[error("The specified resource name contains invalid characters.")]
    InvalidName,
    #[error("The specified resource name length is not within the permissible limits.")]
    OutOfRangeName,
    #[error("The specified queue already exists.")]
    QueueAlreadyExists,
    #[error("A query parameter that's mandatory for this request is not specified: {0}.")]
    MissingParameter(&'static str),
    #[error("Value for one of the query parameters specified in the request URI is invalid: {0}.")]
    InvalidParameter(&'static str),
    #[error(
        "One of the query parameters specified in the request URI is outside the permissible range: {0}."
    )]
    OutOfRangeParameter(&'static str),
    #[error("XML specified is not syntactically valid: {0}.")]
    InvalidXml(String),
    #[error("The request body is too large and exceeds the maximum permissible limit.")]
    BodyTooLarge,
    #[error("The server is currently unable to receive requests. Please retry your request.")]
    ServerBusy,
    #[error(
        "The account is over its limit, by an injected fault. Please retry your request later."
    )]
    TooManyRequests,
}

impl Refusal {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Engine(error) => match error {
                BrokerError::QueueNotFound { .. } => (StatusCode::NOT_FOUND, "QueueNotFound"),
                BrokerError::MessageNotFound { .. } => (StatusCode::NOT_FOUND, "MessageNotFound"),
                BrokerError::PopReceiptMismatch | BrokerError::LockLost => {
                    (StatusCode::BAD_REQUEST, "PopReceiptMismatch")
                }
                BrokerError::TooLarge { .. } => {
                    (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge")
                }
            },
            Self::AuthenticationFailed => (StatusCode::FORBIDDEN, "AuthenticationFailed"),
            Self::ServiceMismatch => (StatusCode::FORBIDDEN, "AuthorizationServiceMismatch"),
            Self::ResourceTypeMismatch => {
                (StatusCode::FORBIDDEN, "AuthorizationResourceTypeMismatch")
            }
            Self::PermissionMismatch => (StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch"),
            Self::ProtocolMismatch => (StatusCode::FORBIDDEN, "AuthorizationProtocolMismatch"),
            Self::NoSuchAccount => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            Self::InvalidUri => (StatusCode::BAD_REQUEST, "InvalidUri"),
            Self::InvalidName => (StatusCode::BAD_REQUEST, "InvalidResourceName"),
            Self::OutOfRangeName => (StatusCode::BAD_REQUEST, "OutOfRangeInput"),
            Self::QueueAlreadyExists => (StatusCode::CONFLICT, "QueueAlreadyExists"),
            Self::MissingParameter(_) => (StatusCode::BAD_REQUEST, "MissingRequiredQueryParameter"),
            Self::InvalidParameter(_) => (StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
            Self::OutOfRangeParameter(_) => {
                (StatusCode::BAD_REQUEST, "OutOfRangeQueryParameterValue")
            }
            Self::InvalidXml(_) => (StatusCode::BAD_REQUEST, "InvalidXmlDocument"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge"),
            Self::ServerBusy => (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let headers =
            [(header::CONTENT_TYPE.as_str(), "application/xml"), ("x-ms-error-code", code)];
        (status, headers, xml::error(code, &self.to_string())).into_response()
    }
}
