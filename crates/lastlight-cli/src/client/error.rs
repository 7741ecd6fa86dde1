//! Errors of the client, as users see them: the request, the app's answer, and a remedy.

use std::io;

use reqwest::StatusCode;
use serde_json::Value;

use super::AppAddress;

/// Maximum number of characters of an answer that an error quotes.
const QUOTED: usize = 200;

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address or the key is invalid.
    #[error("{0}")]
    Settings(String),
    #[error("{asked}: {address} does not answer: {detail}")]
    Unreachable {
        asked: String,
        address: String,
        detail: String,
        /// The connection was refused: there is no server.
        is_refused: bool,
        /// The address is on this machine.
        is_here: bool,
    },
    /// Something other than the app answered.
    #[error("{asked}: {address} answered with status {status}: {problem}")]
    NotTheApp {
        asked: String,
        address: String,
        /// HTTP status.
        status: u16,
        /// What is unexpected in the answer.
        problem: String,
    },
    /// The host requires a key, or a different one.
    #[error("{asked}: {address} requires a key that permits this (status {status})")]
    Key {
        asked: String,
        address: String,
        /// 401 or 403.
        status: u16,
    },
    /// The app refused the request and gave a reason.
    #[error("{asked}: {message}")]
    Refused {
        asked: String,
        /// HTTP status.
        status: u16,
        message: String,
        document: Value,
    },
}

impl ClientError {
    pub(super) fn unreachable(asked: &str, address: &AppAddress, error: &reqwest::Error) -> Self {
        let cause = last_cause(error);
        let is_refused =
            io_error(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        let detail = if error.is_timeout() {
            "no answer in time".to_owned()
        } else if is_refused {
            "connection refused".to_owned()
        } else {
            cause
        };
        Self::Unreachable {
            asked: asked.to_owned(),
            address: address.to_string(),
            detail,
            is_refused,
            is_here: address.is_this_machine(),
        }
    }

    /// The error for an answer with a status other than success.
    pub(super) fn refusal(
        asked: &str,
        address: &AppAddress,
        status: StatusCode,
        location: Option<String>,
        text: &str,
    ) -> Self {
        let asked = asked.to_owned();
        let number = status.as_u16();
        let document: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(message) = document.get("message").and_then(Value::as_str) {
            return Self::Refused { asked, status: number, message: message.to_owned(), document };
        }
        let address = address.to_string();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Self::Key { asked, address, status: number };
        }
        let problem = match location {
            Some(location) if status.is_redirection() => {
                let location = location.split(['?', '#']).next().unwrap_or_default();
                format!("it redirects to {location}")
            }
            _ if text.trim().is_empty() => "the body is empty".to_owned(),
            _ => {
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                line.chars().take(QUOTED).collect()
            }
        };
        Self::NotTheApp { asked, address, status: number, problem }
    }

    /// What the user can do, if known.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Settings(_) => return None,
            Self::Unreachable { is_refused: true, is_here: true, .. } => {
                "Is the app running? `lastlight local` runs one on this machine; --url or LASTLIGHT_URL selects another app."
            }
            Self::Unreachable { .. } => {
                "Is the address right? --url or LASTLIGHT_URL selects the app."
            }
            Self::NotTheApp { status: 502..=504, .. } => {
                "The app is starting, stopped or failing: try again, then look at its log."
            }
            Self::NotTheApp { status: 404, .. } => {
                "There is no such function: the app is older than this command, or the address belongs to another app."
            }
            Self::NotTheApp { status: 300..=399, .. } => {
                "Use that address with --url or LASTLIGHT_URL."
            }
            Self::NotTheApp { .. } => {
                "Is this a lastlight app of about the same version? --url or LASTLIGHT_URL selects the app."
            }
            Self::Key { .. } => {
                "Pass one with --key or LASTLIGHT_KEY: a function key, or the master key for `poison` (Azure portal: \
                 Function app, App keys)."
            }
            Self::Refused { status: 503, .. } => {
                "Nothing was lost: try again; `GET /api/health` shows what is wrong."
            }
            Self::Refused { status: 500, document, .. } => {
                return document
                    .get("request_id")
                    .and_then(Value::as_str)
                    .map(|id| format!("The app's log has the reason under request_id {id}."));
            }
            Self::Refused { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// Whether waiting may help: there was no answer, or a gateway answered.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::NotTheApp { status, .. } | Self::Refused { status, .. } => {
                matches!(status, 502..=504)
            }
            Self::Settings(_) | Self::Key { .. } => false,
        }
    }
}

fn io_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The innermost cause: the outer ones only say "error sending request".
fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, location: Option<&str>, text: &str) -> ClientError {
        let address = "https://a.example".parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        ClientError::refusal("list", &address, status, location.map(str::to_owned), text)
    }

    #[test]
    fn the_message_of_the_app_is_shown() {
        let error = refusal(409, None, r#"{"error":"x","message":"job cannot go on"}"#);
        assert_eq!(error.to_string(), "list: job cannot go on");
        assert!(!error.is_passing());
    }

    #[test]
    fn answers_of_other_servers_have_a_remedy() {
        let gateway = refusal(502, None, "<html>\n  Bad Gateway</html>");
        assert_eq!(
            gateway.to_string(),
            "list: https://a.example answered with status 502: <html> Bad Gateway</html>"
        );
        assert!(gateway.is_passing() && gateway.remedy().unwrap().contains("try again"));
        let moved = refusal(301, Some("https://b.example/api?code=topsecret"), "");
        assert_eq!(
            moved.to_string(),
            "list: https://a.example answered with status 301: it redirects to https://b.example/api"
        );
        let key = refusal(401, None, "");
        assert!(key.to_string().contains("requires a key"), "{key}");
        assert!(key.remedy().unwrap().contains("LASTLIGHT_KEY"));
    }
}
