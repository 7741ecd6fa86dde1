//! The request of a call, checked: its address against the settings, its headers against those that
//! a caller may not choose.

use std::{fmt, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    super::{
        parameters::{number, refused, within},
        reference::ParameterReference,
    },
    NAME,
};
use crate::{
    config::{HttpCallAllow, Secret, endpoint::without_query},
    job::TaskError,
    transport::http::describe,
};

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The header with the same value for all attempts at a task.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that say how a message is sent or to whom, or that this handler sets.
const NOT_TO_CHOOSE: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const DEFAULT_SECONDS: f64 = 60.0;
const LEAST_SECONDS: f64 = 0.1;
const MOST_SECONDS: f64 = 3600.0;

/// A value with fewer characters is not searched for in texts that are shown: it would be found
/// everywhere.
const SHORTEST_SECRET: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    #[serde(default = "post")]
    method: String,
    url: String,
    /// The body. Null is no body.
    json: Option<Value>,
    /// Read by hand: serde's messages show values, and these may be keys.
    headers: Option<Value>,
    #[serde(default = "default_seconds", deserialize_with = "number")]
    timeout_seconds: f64,
    expect: Option<Vec<u16>>,
}

pub(super) fn reference() -> Vec<ParameterReference> {
    let methods = METHODS.map(|method| format!("`{method}`")).join(", ");
    vec![
        ParameterReference::required(
            "url",
            "an address without a user, below one that the setting allows".to_owned(),
            "What is called.",
        ),
        ParameterReference::optional("method", methods, post(), "The method."),
        ParameterReference::optional(
            "json",
            "any value".to_owned(),
            "",
            "The body, sent as JSON. Without it, or with null, none is sent.",
        ),
        ParameterReference::optional(
            "headers",
            "a mapping of names to texts".to_owned(),
            "",
            "Headers of the request, but none that says how it is sent.",
        ),
        ParameterReference::optional(
            "timeout_seconds",
            format!("a number from {LEAST_SECONDS} to {MOST_SECONDS}"),
            default_seconds(),
            "How long the call may take.",
        ),
        ParameterReference::optional(
            "expect",
            "a list of statuses from 200 to 599".to_owned(),
            "200 to 299",
            "The statuses that are a success.",
        ),
    ]
}

fn post() -> String {
    "POST".to_owned()
}

fn default_seconds() -> f64 {
    DEFAULT_SECONDS
}

/// A call that may be made. Its display is its method and its URL, without query.
pub(super) struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    timeout: Duration,
    /// The statuses that are a success; none: those from 200 to 299.
    expect: Option<Vec<StatusCode>>,
}

impl Call {
    /// Checks the parameters.
    ///
    /// # Errors
    /// A permanent failure that names the parameter and what is allowed.
    pub(super) fn checked(given: Parameters, allow: &HttpCallAllow) -> Result<Self, TaskError> {
        let url = checked_url(&given.url, allow)?;
        let mut headers = checked_headers(given.headers)?;
        let body = match given.json {
            None | Some(Value::Null) => None,
            Some(json) => {
                let body = serde_json::to_vec(&json).map_err(|e| refused(NAME, "json", e))?;
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(body)
            }
        };
        let bounds = [LEAST_SECONDS, MOST_SECONDS];
        let seconds = within(NAME, "timeout_seconds", given.timeout_seconds, bounds)?;
        Ok(Self {
            method: checked_method(&given.method)?,
            url,
            headers,
            body,
            timeout: Duration::from_secs_f64(seconds),
            expect: given.expect.map(checked_statuses).transpose()?,
        })
    }

    /// The request.
    pub(super) fn request(&self, client: &reqwest::Client, key: &str) -> reqwest::RequestBuilder {
        let request = client
            .request(self.method.clone(), self.url.clone())
            .timeout(self.timeout)
            .headers(self.headers.clone())
            .header(IDEMPOTENCY_KEY, key);
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }

    /// Whether the call has succeeded with this status.
    pub(super) fn expects(&self, status: StatusCode) -> bool {
        match &self.expect {
            Some(expected) => expected.contains(&status),
            None => status.is_success(),
        }
    }

    /// The failure of a call without an answer. It may have reached the service.
    pub(super) fn unanswered(&self, error: &reqwest::Error) -> TaskError {
        TaskError::Transient(format!("{self}: {}", describe(error)))
    }

    /// Where the service points from this URL, without query; `None` if that is no address.
    pub(super) fn pointed_at(&self, location: &str) -> Option<String> {
        self.url.join(location).ok().map(|url| without_query(&url))
    }

    /// The values of the request that may be keys: those of its query and of its headers.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let is_plain = |name: &HeaderName| [ACCEPT, CONTENT_TYPE].contains(name);
        let in_headers = self.headers.iter().filter(|(name, _)| !is_plain(name));
        let in_headers = in_headers.filter_map(|(_, value)| value.to_str().ok()).map(str::to_owned);
        let in_query = self.url.query_pairs().map(|(_, value)| value.into_owned());
        in_headers
            .chain(in_query)
            .filter(|value| value.chars().count() >= SHORTEST_SECRET)
            .map(Secret::new)
            .collect()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, without_query(&self.url))
    }
}

fn checked_method(given: &str) -> Result<Method, TaskError> {
    let found = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(given));
    found.ok_or_else(|| {
        let shown: String = given.chars().take(20).collect();
        let allowed = METHODS.map(|method| method.to_string()).join(", ");
        refused(NAME, "method", format_args!("{shown:?} is not one of {allowed}"))
    })
}

fn checked_url(given: &str, allow: &HttpCallAllow) -> Result<Url, TaskError> {
    let setting = HttpCallAllow::SETTING;
    if allow.is_empty() {
        return Err(refused(
            NAME,
            "url",
            format_args!(
                "no address may be called: the setting {setting}, which lists those that may, is not set"
            ),
        ));
    }
    // The text is not shown: it may have a key in any place.
    let url = Url::parse(given)
        .map_err(|error| refused(NAME, "url", format_args!("it cannot be parsed: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            NAME,
            "url",
            "it has a user or a password; send them in a header instead",
        ));
    }
    if !allow.allows(&url) {
        return Err(refused(
            NAME,
            "url",
            format_args!(
                "{} may not be called: the setting {setting} allows {allow}",
                without_query(&url)
            ),
        ));
    }
    Ok(url)
}

fn checked_headers(given: Option<Value>) -> Result<HeaderMap, TaskError> {
    let refused = |problem: &str| refused(NAME, "headers", problem);
    let given: Map<String, Value> = match given {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(refused("they must be an object with texts")),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let shown: String = name.chars().take(40).collect();
            refused(&format!("{shown:?} is not the name of a header"))
        })?;
        if NOT_TO_CHOOSE.contains(&header.as_str()) || header.as_str().starts_with("proxy-") {
            return Err(refused(&format!("{header} is set by the handler and cannot be chosen")));
        }
        let text = value.as_str().and_then(|text| HeaderValue::from_str(text).ok());
        let Some(mut text) = text else {
            return Err(refused(&format!(
                "the value of {header} must be a text without line breaks and control characters"
            )));
        };
        // Not shown by `Debug`, and not kept in the tables of HTTP/2.
        text.set_sensitive(true);
        if headers.insert(header.clone(), text).is_some() {
            return Err(refused(&format!("{header} is given twice")));
        }
    }
    Ok(headers)
}

fn checked_statuses(given: Vec<u16>) -> Result<Vec<StatusCode>, TaskError> {
    let refused = |problem: String| refused(NAME, "expect", problem);
    if given.is_empty() {
        return Err(refused("it must have at least one status".to_owned()));
    }
    let checked = |status: u16| match status {
        200..=599 => StatusCode::from_u16(status).map_err(|error| refused(error.to_string())),
        _ => Err(refused(format!("{status} is not a status from 200 to 599"))),
    };
    given.into_iter().map(checked).collect()
}

/// The key of a task: a UUID, since services limit the length. It is made of both ids, because a
/// task's id alone has only a part of its job's, and two tasks with one key would be one call.
pub(super) fn idempotency_key(job_id: &str, task_id: &str) -> String {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(job_id)
        .chain_update([0])
        .chain_update(task_id)
        .finalize()
        .into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
