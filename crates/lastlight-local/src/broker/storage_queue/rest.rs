//! The REST endpoint, path style: `/<account>/<queue>/messages/…`. It authenticates the caller,
//! finds the operation and sets the headers of every answer; [`super::answers`] carries out the
//! operation.

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, request::Parts},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    super::Faults,
    StorageAccount, StorageQueues,
    answers::{self, Context},
    auth::Signed,
    operation::{Operation, Query},
    refusal::Refusal,
};

/// Maximum size of a request, in bytes: a message of the maximum size in XML, with every character
/// escaped.
const LARGEST_REQUEST: usize = 1024 * 1024;

/// The version for a client that sends none; the newest that Azurite 3.35 supports.
const VERSION: HeaderValue = HeaderValue::from_static("2025-11-05");
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-ms-version");
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// The routes of the endpoint for `queues`.
pub fn router(queues: StorageQueues, account: StorageAccount, faults: Faults) -> Router {
    Router::new().fallback(handle).with_state(Context { queues, account, faults })
}

async fn handle(State(context): State<Context>, request: Request) -> Response {
    context.faults.delay().await;
    let (mut parts, body) = request.into_parts();
    let result = match to_bytes(body, LARGEST_REQUEST).await {
        Ok(body) => answer(&context, &parts, &body),
        Err(_) => Err(Refusal::BodyTooLarge),
    };
    let mut response = result.unwrap_or_else(Refusal::into_response);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    headers.insert(VERSION_HEADER, parts.headers.remove(VERSION_HEADER).unwrap_or(VERSION));
    if let Some(id) = parts.headers.remove(CLIENT_REQUEST_ID_HEADER) {
        headers.insert(CLIENT_REQUEST_ID_HEADER, id);
    }
    response
}

fn answer(context: &Context, parts: &Parts, body: &Bytes) -> Result<Response, Refusal> {
    let query: Query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
        .collect();
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let path = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(context.account.name.as_str()))
        .filter(|path| path.is_empty() || path.starts_with('/'))
        .ok_or(Refusal::NoSuchAccount)?;
    let operation = Operation::of(&parts.method, path, &query)?;
    let signed = Signed {
        method: &parts.method,
        path: parts.uri.path(),
        query: &query,
        headers: &parts.headers,
        body_length: body.len(),
    };
    context.account.check(&signed, operation.right())?;
    answers::answer(context, operation, &query, parts, body)
}
