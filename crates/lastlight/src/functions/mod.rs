//! One file a function folder, of the same name: decode what the host sent, call the controller,
//! answer. The router is the table of contents. Triggers know no SQL and no queue.

mod addresses;
mod app_metrics;
mod body;
mod cancel_job;
mod cursor;
mod dashboard;
mod db_debug_all;
mod db_enums_diagnostic;
mod db_functions_test;
mod db_stats;
mod deliver;
mod error;
mod folders;
mod get_job_audit;
mod get_job_status;
mod health;
mod job_types;
mod live;
mod metrics;
mod metrics_comparison;
mod monitor_poison;
mod not_forwarded;
mod openapi;
mod pause_job;
mod process_queue_job;
mod process_queue_job_poison;
mod process_queue_task;
mod process_queue_task_poison;
mod process_sb_job;
mod process_sb_job_dead_letter;
mod process_sb_task;
mod process_sb_task_dead_letter;
mod prometheus_text;
mod query;
mod query_job;
mod query_job_tasks;
mod query_jobs;
mod query_tasks;
mod reconcile;
mod request_metrics;
mod resume_job;
mod retry_job;
mod schema_nuke;
mod schema_redeploy;
mod submit_job;
mod table;
mod time_limit;
mod views;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task_local;
use tower::ServiceExt;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    config::Prices,
    model::{JobId, Timestamp, TraceParent, clock, timestamp},
    telemetry,
    workflow::{Controller, ControllerError},
};
pub use error::ApiError;
pub use folders::{FolderDifferences, compare_folders, write_folders};
pub use openapi::openapi_document;
pub use table::{Function, Key, Trigger, functions};

/// A submission's body may have this many bytes.
pub const LARGEST_SUBMISSION: usize = 1024 * 1024;

/// An invocation's body may have this many bytes: a batch of 256 messages of the largest size,
/// encoded twice. Those of this app have 20 KiB at most.
const LARGEST_INVOCATION: usize = 160 * 1024 * 1024;

/// What every trigger gets.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Where all triggers end.
    pub controller: Controller,
    /// The environment's name, for `health`.
    pub environment: Arc<str>,
    /// The schema may be dropped over HTTP.
    pub allows_schema_admin: bool,
    pub prices: Arc<Prices>,
}

/// Everything that the handler answers: `/api/…` is forwarded by the host as it came, `/<function>`
/// is the host's own.
pub fn router(app: AppState) -> Router {
    let request_metrics = Arc::new(request_metrics::RequestMetrics::default());
    let limit = app.controller.longest_invocation();
    let (http, triggered): (Vec<&Function>, Vec<&Function>) =
        functions().iter().partition(|function| matches!(function.trigger, Trigger::Http { .. }));
    let api = routed(&http)
        .route("/", get(alive))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(body::within_bounds))
        .layer(Extension(Arc::clone(&request_metrics)))
        // Here, since a request that was described comes in this way too.
        .layer(middleware::from_fn(with_readable_path))
        .with_state(app.clone());
    let triggered = routed(&triggered)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_INVOCATION))
        .with_state(app);
    // The HTTP functions in the form in which a host that does not forward sends them.
    let described = Router::new()
        .route("/{function}", any(not_forwarded::handle))
        .layer(DefaultBodyLimit::max(LARGEST_INVOCATION))
        .layer(middleware::from_fn(with_readable_path))
        .with_state(addressed(api.clone()));
    let all = api
        .merge(triggered)
        .merge(described)
        .layer(middleware::from_fn_with_state(limit, time_limit::within))
        .layer(middleware::from_fn_with_state(request_metrics, request_metrics::count))
        .layer(middleware::from_fn(with_request_id));
    addressed(all)
}

/// A router of the addresses of these functions.
fn routed(functions: &[&Function]) -> Router<AppState> {
    let addresses = functions.iter().flat_map(|function| function.addresses);
    addresses.fold(Router::new(), |router, address| router.route(address.path, (address.methods)()))
}

/// The same, for addresses as the host matches them.
fn addressed(router: Router) -> Router {
    let addresses: Arc<[&str]> = functions()
        .iter()
        .flat_map(|function| function.addresses)
        .map(|address| address.path)
        .filter(|path| path.starts_with(addresses::PREFIX))
        .collect();
    Router::new().fallback_service(
        router.map_request(move |request| addresses::as_routed(request, &addresses)),
    )
}

/// The host takes any answer on `/` for "ready".
async fn alive() -> Json<Value> {
    Json(json!({ "name": "lastlight", "version": env!("CARGO_PKG_VERSION"), "status": "alive" }))
}

/// A path names things in UTF-8, or it names nothing.
async fn with_readable_path(request: Request, next: Next) -> Response {
    if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        return ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad path",
            format!("the path is not UTF-8: {}", shown_path(&request)),
        )
        .into_response();
    }
    next.run(request).await
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method not allowed",
        format!("{} is not allowed on {}", request.method(), shown_path(&request)),
    )
}

async fn not_found(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not found",
        format!(
            "there is no {}; GET /api/openapi.json lists what there is, and GET /api/dashboard is the page for people",
            shown_path(&request)
        ),
    )
}

/// The beginning of the path, so that an error is never as large as its cause.
fn shown_path(request: &Request) -> String {
    request.uri().path().chars().take(200).collect()
}

task_local! {
    static REQUEST_ID: Arc<str>;
}

const INVOCATION_ID: HeaderName = HeaderName::from_static("x-azure-functions-invocationid");

/// The host's invocation id is the request's; without a host it gets one of its own.
async fn with_request_id(request: Request, next: Next) -> Response {
    let id: Arc<str> = match request.headers().get(INVOCATION_ID).map(HeaderValue::to_str) {
        Some(Ok(id)) if (1..=100).contains(&id.len()) => Arc::from(id),
        _ => Arc::from(uuid::Uuid::new_v4().to_string()),
    };
    // The host asks for it all day.
    if request.uri().path() == "/" {
        return REQUEST_ID.scope(id, next.run(request)).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("not found", |path| path.as_str());
    let trace = caller_trace(request.headers());
    let span = tracing::info_span!(
        "invocation",
        otel.name = route,
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        http.response.status_code = Empty,
        function = route.trim_start_matches('/'),
        invocation_id = &*id,
        delivery_count = Empty,
        trace_id = trace.as_ref().map(TraceParent::trace_id),
    );
    telemetry::join(&span, trace);
    let answering = async move {
        let response = next.run(request).await;
        Span::current().record("http.response.status_code", response.status().as_u16());
        response
    };
    REQUEST_ID.scope(id, answering.instrument(span)).await
}

/// The trace that the caller says it is in. What is not one, or is there twice, is ignored as the
/// W3C says.
fn caller_trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    value.to_str().ok().and_then(TraceParent::read)
}

/// Adds what every answer has: `request_id` and `timestamp`.
fn stamped(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        let id = REQUEST_ID.try_with(|id| id.to_string()).unwrap_or_default();
        fields.insert("request_id".to_owned(), Value::String(id));
        fields.insert("timestamp".to_owned(), Value::String(timestamp::write(clock::now())));
    }
    body
}

/// An answer with what every answer has.
#[derive(Debug, Serialize)]
struct Stamped<T> {
    #[serde(flatten)]
    body: T,
    request_id: String,
    timestamp: Timestamp,
}

/// A typed answer of the HTTP functions.
fn stamped_answer(status: StatusCode, body: impl Serialize) -> Response {
    let request_id = REQUEST_ID.try_with(|id| id.to_string()).unwrap_or_default();
    let timestamp = Timestamp(clock::now());
    let stamped = Stamped { body, request_id, timestamp };
    written(status, &stamped)
}

/// An answer as JSON. One that cannot be written is a failure of ours, whatever it was to be.
fn written(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => ApiError::from(ControllerError::Unwritten(error.to_string())).into_response(),
    }
}

/// The job that a path names.
fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse()
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "bad job id", format!("{error}")))
}

/// An answer of the HTTP functions.
fn answer(status: StatusCode, body: Value) -> Response {
    (status, HeaderMap::new(), Json(stamped(body))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Unwritable;

    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("a fault of ours"))
        }
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_written_is_a_failure_of_ours_and_not_of_the_client() {
        let response = stamped_answer(StatusCode::OK, Unwritable);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "internal error", "{body}");
    }
}
