//! The REST endpoint, path style: `/<account>/<queue>/messages/…`.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    super::{BrokerError, Faults, faults::Verdict},
    StorageQueues,
    auth::{Signed, StorageAccount},
    engine::Created,
    xml::{self, Shape},
};

/// Seven days, the service's own.
const DEFAULT_TIME_TO_LIVE: i64 = 7 * 24 * 60 * 60;
const LONGEST_VISIBILITY: i64 = 7 * 24 * 60 * 60;
const DEFAULT_VISIBILITY: i64 = 30;
/// A message of the largest size in its XML.
const LARGEST_REQUEST: usize = 1024 * 1024;

#[derive(Clone)]
struct Context {
    queues: StorageQueues,
    account: StorageAccount,
    faults: Faults,
}

/// The endpoint over `queues`.
pub fn router(queues: StorageQueues, account: StorageAccount, faults: Faults) -> Router {
    Router::new().fallback(handle).with_state(Context {
        queues,
        account,
        faults,
    })
}

type Query = BTreeMap<String, String>;

/// An answer that is not success: status, code, message.
struct Refusal(StatusCode, &'static str, String);

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let (status, code) = match &error {
            BrokerError::QueueNotFound { .. } => (StatusCode::NOT_FOUND, "QueueNotFound"),
            BrokerError::MessageNotFound { .. } => (StatusCode::NOT_FOUND, "MessageNotFound"),
            BrokerError::PopReceiptMismatch | BrokerError::LockLost => {
                (StatusCode::BAD_REQUEST, "PopReceiptMismatch")
            }
            BrokerError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge"),
        };
        Self(status, code, error.to_string())
    }
}

async fn handle(State(context): State<Context>, request: Request) -> Response {
    context.faults.delay().await;
    let (parts, body) = request.into_parts();
    let version = parts.headers.get("x-ms-version").cloned();
    let mut response = match to_bytes(body, LARGEST_REQUEST).await {
        Ok(body) => route(
            &context,
            &parts.method,
            parts.uri.path(),
            parts.uri.query(),
            &parts.headers,
            &body,
        ),
        Err(_) => Err(Refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestBodyTooLarge",
            "The request body is too large.".to_owned(),
        )),
    }
    .unwrap_or_else(|Refusal(status, code, message)| {
        let headers = [("content-type", "application/xml"), ("x-ms-error-code", code)];
        (status, headers, xml::error(code, &message)).into_response()
    });
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert("x-ms-request-id", id);
    }
    headers.insert(
        "x-ms-version",
        version.unwrap_or(HeaderValue::from_static("2025-11-05")),
    );
    response
}

fn route(
    context: &Context,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Refusal> {
    let query: Query = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
        .collect();
    let signed = Signed {
        method,
        path,
        query: &query,
        headers,
        body_length: body.len(),
    };
    if !context.account.admits(&signed) {
        return Err(Refusal(
            StatusCode::FORBIDDEN,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of the Authorization header is formed \
             correctly including the signature."
                .to_owned(),
        ));
    }
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let queues = &context.queues;
    match (parts.as_slice(), method) {
        ([account, ..], _) if *account != context.account.name => Err(Refusal(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            format!("there is no account {account:?}"),
        )),
        ([_], &Method::GET) if said(&query, "comp") == "list" => list(context, &query),
        ([_, queue], method) => of_queue(queues, queue, method, &query, headers),
        ([_, queue, "messages"], &Method::POST) => put(context, queue, &query, body),
        ([_, queue, "messages"], &Method::GET) => get(queues, queue, &query),
        ([_, queue, "messages"], &Method::DELETE) => {
            queues.clear(queue)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        ([_, queue, "messages", id], &Method::DELETE) => {
            queues.delete(queue, id, required(&query, "popreceipt")?)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        ([_, queue, "messages", id], &Method::PUT) => update(queues, queue, id, &query, body),
        _ => Err(Refusal(
            StatusCode::BAD_REQUEST,
            "InvalidUri",
            "there is no such operation".to_owned(),
        )),
    }
}

fn list(context: &Context, query: &Query) -> Result<Response, Refusal> {
    let prefix = said(query, "prefix");
    let names: Vec<String> = context
        .queues
        .queue_names()
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .collect();
    Ok(as_xml(
        StatusCode::OK,
        xml::queues(&format!("/{}", context.account.name), &names),
    ))
}

fn of_queue(
    queues: &StorageQueues,
    queue: &str,
    method: &Method,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let is_metadata = said(query, "comp") == "metadata";
    match *method {
        Method::PUT if is_metadata => {
            queues.set_metadata(queue, metadata(headers))?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Method::PUT => {
            check_name(queue)?;
            match queues.create_with_metadata(queue, metadata(headers)) {
                Created::Now => Ok(StatusCode::CREATED.into_response()),
                Created::Before => Ok(StatusCode::NO_CONTENT.into_response()),
                Created::BeforeWithOtherMetadata => Err(Refusal(
                    StatusCode::CONFLICT,
                    "QueueAlreadyExists",
                    "The specified queue already exists.".to_owned(),
                )),
            }
        }
        Method::DELETE => {
            queues.delete_queue(queue)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Method::GET | Method::HEAD if is_metadata => {
            let mut response = StatusCode::OK.into_response();
            let count = queues.counts(queue)?;
            response
                .headers_mut()
                .insert("x-ms-approximate-messages-count", HeaderValue::from(count));
            for (name, value) in queues.metadata(queue)? {
                let name = HeaderName::try_from(format!("x-ms-meta-{name}"));
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                    response.headers_mut().insert(name, value);
                }
            }
            Ok(response)
        }
        _ => Err(Refusal(
            StatusCode::BAD_REQUEST,
            "InvalidUri",
            "there is no such operation".to_owned(),
        )),
    }
}

fn put(context: &Context, queue: &str, query: &Query, body: &Bytes) -> Result<Response, Refusal> {
    let delay = number(query, "visibilitytimeout", 0, 0, LONGEST_VISIBILITY)?;
    let lives = number(query, "messagettl", DEFAULT_TIME_TO_LIVE, -1, i64::from(i32::MAX))?;
    let text = message_text(body)?;
    let verdict = context.faults.judge(1);
    match verdict {
        Verdict::Throttle | Verdict::Refuse => {
            return Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServerBusy",
                "The server is busy.".to_owned(),
            ));
        }
        Verdict::Go | Verdict::StoreAndLoseAnswer => {}
    }
    let lives = u64::try_from(lives).ok().map(Duration::from_secs);
    let message = context
        .queues
        .put(queue, text, Duration::from_secs(delay.unsigned_abs()), lives)?;
    if verdict == Verdict::StoreAndLoseAnswer {
        return Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "the answer was lost on request".to_owned(),
        ));
    }
    Ok(as_xml(StatusCode::CREATED, xml::messages(&[message], Shape::Put)))
}

fn get(queues: &StorageQueues, queue: &str, query: &Query) -> Result<Response, Refusal> {
    let count = number(query, "numofmessages", 1, 1, 32)?;
    let count = usize::try_from(count).unwrap_or(1);
    if said(query, "peekonly").eq_ignore_ascii_case("true") {
        return Ok(as_xml(
            StatusCode::OK,
            xml::messages(&queues.peek(queue, count)?, Shape::Peeked),
        ));
    }
    let visibility = number(
        query,
        "visibilitytimeout",
        DEFAULT_VISIBILITY,
        1,
        LONGEST_VISIBILITY,
    )?;
    let received = queues.receive(queue, count, Duration::from_secs(visibility.unsigned_abs()))?;
    Ok(as_xml(StatusCode::OK, xml::messages(&received, Shape::Received)))
}

fn update(
    queues: &StorageQueues,
    queue: &str,
    id: &str,
    query: &Query,
    body: &Bytes,
) -> Result<Response, Refusal> {
    required(query, "visibilitytimeout")?;
    let visibility = number(query, "visibilitytimeout", 0, 0, LONGEST_VISIBILITY)?;
    let receipt = required(query, "popreceipt")?;
    let text = if body.is_empty() {
        None
    } else {
        Some(message_text(body)?)
    };
    let message = queues.update(
        queue,
        id,
        receipt,
        Duration::from_secs(visibility.unsigned_abs()),
        text,
    )?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if let Ok(receipt) = HeaderValue::from_str(&message.pop_receipt) {
        headers.insert("x-ms-popreceipt", receipt);
    }
    if let Ok(time) = HeaderValue::from_str(&xml::http_time(message.next_visible_time)) {
        headers.insert("x-ms-time-next-visible", time);
    }
    Ok(response)
}

fn message_text(body: &Bytes) -> Result<String, Refusal> {
    xml::message_text(body).map_err(|problem| Refusal(StatusCode::BAD_REQUEST, "InvalidXmlDocument", problem))
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            Some((
                name.as_str().strip_prefix("x-ms-meta-")?.to_owned(),
                value.to_str().ok()?.to_owned(),
            ))
        })
        .collect()
}

fn said<'a>(query: &'a Query, name: &str) -> &'a str {
    query.get(name).map(String::as_str).unwrap_or_default()
}

fn required<'a>(query: &'a Query, name: &str) -> Result<&'a str, Refusal> {
    query.get(name).map(String::as_str).ok_or_else(|| {
        Refusal(
            StatusCode::BAD_REQUEST,
            "MissingRequiredQueryParameter",
            format!("A query parameter that's mandatory for this request is not specified: {name}."),
        )
    })
}

fn number(query: &Query, name: &str, default: i64, min: i64, max: i64) -> Result<i64, Refusal> {
    let Some(text) = query.get(name) else {
        return Ok(default);
    };
    let out_of_range = || {
        Refusal(
            StatusCode::BAD_REQUEST,
            "OutOfRangeQueryParameterValue",
            format!(
                "One of the query parameters specified in the request URI is outside the permissible range: {name}."
            ),
        )
    };
    let number: i64 = text.parse().map_err(|_| {
        Refusal(
            StatusCode::BAD_REQUEST,
            "InvalidQueryParameterValue",
            format!("Value for one of the query parameters specified in the request URI is invalid: {name}."),
        )
    })?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(out_of_range())
    }
}

fn check_name(queue: &str) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (3..=63).contains(&queue.len())
        && queue.chars().all(is_allowed)
        && !queue.starts_with('-')
        && !queue.ends_with('-')
        && !queue.contains("--")
    {
        return Ok(());
    }
    Err(Refusal(
        StatusCode::BAD_REQUEST,
        "InvalidResourceName",
        "The specified resource name contains invalid characters.".to_owned(),
    ))
}

fn as_xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
