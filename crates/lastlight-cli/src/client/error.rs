//! Why there is no answer, as a person wants to hear it: what was asked, what the app said, what to
//! do next.

use std::io;

use reqwest::StatusCode;
use serde_json::Value;

use super::AppAddress;

/// An answer longer than this is not quoted.
const QUOTED: usize = 200;

/// Why a request came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address or the key cannot be used.
    #[error("{0}")]
    Settings(String),
    #[error("{asked}: {address} does not answer: {detail}")]
    Unreachable {
        asked: String,
        address: String,
        /// Why not.
        detail: String,
        /// There is no server at all.
        is_refused: bool,
        /// It is this machine.
        is_here: bool,
    },
    /// Something answered that does not speak as the app does.
    #[error("{asked}: {address} answered with status {status}, and {problem}")]
    NotTheApp {
        asked: String,
        address: String,
        /// With which HTTP status.
        status: u16,
        /// What is odd about it.
        problem: String,
    },
    /// The host wants a key, or another one.
    #[error("{asked}: {address} wants a key that may do this (status {status})")]
    Key {
        asked: String,
        address: String,
        /// 401 or 403.
        status: u16,
    },
    /// The app said no, and why.
    #[error("{asked}: {message}")]
    Refused {
        asked: String,
        /// With which HTTP status.
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

    /// What an answer other than success means.
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
                format!("sends on to {location}")
            }
            _ if text.trim().is_empty() => "an empty body".to_owned(),
            _ => {
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                format!("said: {}", line.chars().take(QUOTED).collect::<String>())
            }
        };
        Self::NotTheApp { asked, address, status: number, problem }
    }

    /// What to do next, where there is something to say.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Settings(_) => return None,
            Self::Unreachable { is_refused: true, is_here: true, .. } => {
                "Is it running? `lastlight local` runs everything on this machine; --url or LASTLIGHT_URL names another app."
            }
            Self::Unreachable { .. } => {
                "Is the address right? --url or LASTLIGHT_URL names the app."
            }
            Self::NotTheApp { status: 502..=504, .. } => {
                "The app behind it is starting, stopped or failing: try again, then look at its log."
            }
            Self::NotTheApp { status: 404, .. } => {
                "There is no such function: the app is older than this command, or the address is another app's."
            }
            Self::NotTheApp { status: 300..=399, .. } => {
                "Use that address with --url or LASTLIGHT_URL."
            }
            Self::NotTheApp { .. } => {
                "Is this lastlight, in a version of about the same age? --url or LASTLIGHT_URL names the app."
            }
            Self::Key { .. } => {
                "Give one with --key or LASTLIGHT_KEY: a function key, or the master key for `poison` (Azure portal: \
                 Function app, App keys)."
            }
            Self::Refused { status: 503, .. } => {
                "Nothing was lost: try again, or ask `GET /api/health` what is wrong."
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

    /// Waiting may help: nobody answered, or a gateway did.
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

/// The innermost cause: the outer ones say "error sending request".
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
    fn the_app_s_own_words_are_what_is_shown() {
        let error = refusal(409, None, r#"{"error":"x","message":"job cannot go on"}"#);
        assert_eq!(error.to_string(), "list: job cannot go on");
        assert!(!error.is_passing());
    }

    #[test]
    fn what_is_not_the_app_is_said_with_what_to_do() {
        let gateway = refusal(502, None, "<html>\n  Bad Gateway</html>");
        assert_eq!(
            gateway.to_string(),
            "list: https://a.example answered with status 502, and said: <html> Bad Gateway</html>"
        );
        assert!(gateway.is_passing() && gateway.remedy().unwrap().contains("try again"));
        let moved = refusal(301, Some("https://b.example/api?code=topsecret"), "");
        assert_eq!(
            moved.to_string(),
            "list: https://a.example answered with status 301, and sends on to https://b.example/api"
        );
        let key = refusal(401, None, "");
        assert!(key.to_string().contains("wants a key"), "{key}");
        assert!(key.remedy().unwrap().contains("LASTLIGHT_KEY"));
    }
}
