//! The functions of the app, one file per function folder, with the same name. Each decodes the
//! host's request, calls the controller and responds. They use neither SQL nor queues directly.

mod addresses;
mod app_metrics;
mod body;
mod bulk_jobs;
mod bulk_operation;
mod cancel_job;
mod change_tasks;
mod claim_tasks;
mod cursor;
mod dashboard;
mod db_debug_all;
mod db_enums_diagnostic;
mod db_functions_test;
mod db_stats;
mod decide_gate;
mod delete_job;
mod deliver;
mod error;
mod finish_tasks;
mod fire_schedules;
mod folders;
mod get_job_audit;
mod get_job_events;
mod get_job_status;
mod health;
mod heartbeat_tasks;
mod job_filters;
mod job_types;
mod json_fields;
mod list_notifications;
mod list_workers;
mod live;
mod metrics;
mod metrics_comparison;
mod monitor_poison;
mod not_forwarded;
mod openapi;
mod pause_job;
mod pause_schedule;
mod process_queue_job;
mod process_queue_job_poison;
mod process_queue_task;
mod process_queue_task_poison;
mod process_sb_job;
mod process_sb_job_dead_letter;
mod process_sb_task;
mod process_sb_task_dead_letter;
mod prometheus_text;
mod purge_jobs;
mod query;
mod query_job;
mod query_job_tasks;
mod query_jobs;
mod query_task;
mod query_tasks;
mod reconcile;
mod request_metrics;
mod resubmit_job;
mod resume_job;
mod resume_schedule;
mod retry_job;
mod retry_notifications;
mod retry_tasks;
mod run_schedule;
mod schedule;
mod schedules;
mod schema_nuke;
mod schema_redeploy;
mod skip_tasks;
mod stop_bulk;
mod submit_job;
mod table;
mod time_limit;
mod user_request;

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
    queries::Queries,
    telemetry,
    workflow::{Controller, ControllerError},
};
pub use error::ApiError;
pub use folders::{FolderDifferences, compare_folders, write_folders};
pub use openapi::openapi_document;
pub use table::{Function, Key, Trigger, functions};

/// Maximum size of a submission's body, in bytes.
pub const LARGEST_SUBMISSION: usize = 1024 * 1024;

/// Maximum size of an invocation's body, in bytes: a batch of 256 messages of the largest size,
/// encoded twice. Messages of this app have at most 20 KiB.
const LARGEST_INVOCATION: usize = 160 * 1024 * 1024;

/// The state that every function gets.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The controller that every function calls.
    pub controller: Controller,
    /// The reads.
    pub queries: Queries,
    /// The name of the environment, for `health`.
    pub environment: Arc<str>,
    /// Whether the schema may be dropped over HTTP.
    pub allows_schema_admin: bool,
    pub prices: Arc<Prices>,
}

/// The router of the handler: `/api/…` for requests that the host forwards unchanged, `/<function>`
/// for the host's invocations.
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
        // On this router, since requests that the host does not forward pass through it too.
        .layer(middleware::from_fn(with_readable_path))
        .with_state(app.clone());
    let triggered = routed(&triggered)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_INVOCATION))
        .with_state(app);
    // The HTTP functions as invoked by a host that does not forward requests.
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

/// A router for the addresses of these functions.
fn routed(functions: &[&Function]) -> Router<AppState> {
    let addresses = functions.iter().flat_map(|function| function.addresses);
    addresses.fold(Router::new(), |router, address| router.route(address.path, (address.methods)()))
}

/// Makes the router match addresses as the host does.
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

/// The host takes any response on `/` as "ready".
async fn alive() -> Json<Value> {
    Json(json!({ "name": "lastlight", "version": env!("CARGO_PKG_VERSION"), "status": "alive" }))
}

/// Rejects paths that are not UTF-8.
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
            "there is no {}; GET /api/openapi.json lists the API, and GET /api/dashboard is the web dashboard",
            shown_path(&request)
        ),
    )
}

/// The first 200 characters of the path, so that error messages stay short.
fn shown_path(request: &Request) -> String {
    request.uri().path().chars().take(200).collect()
}

task_local! {
    static REQUEST_ID: Arc<str>;
}

const INVOCATION_ID: HeaderName = HeaderName::from_static("x-azure-functions-invocationid");

/// Uses the host's invocation id as the request id; a request without one gets a new id.
async fn with_request_id(request: Request, next: Next) -> Response {
    let id: Arc<str> = match request.headers().get(INVOCATION_ID).map(HeaderValue::to_str) {
        Some(Ok(id)) if (1..=100).contains(&id.len()) => Arc::from(id),
        _ => Arc::from(uuid::Uuid::new_v4().to_string()),
    };
    // Without a span: the host polls this path.
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

/// The caller's trace context. A malformed or repeated `traceparent` is ignored, as the W3C
/// specification requires.
fn caller_trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    value.to_str().ok().and_then(TraceParent::read)
}

/// Adds the fields of every response: `request_id` and `timestamp`.
fn stamped(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        let id = REQUEST_ID.try_with(|id| id.to_string()).unwrap_or_default();
        fields.insert("request_id".to_owned(), Value::String(id));
        fields.insert("timestamp".to_owned(), Value::String(timestamp::write(clock::now())));
    }
    body
}

/// A response body with the fields of every response.
#[derive(Debug, Serialize)]
struct Stamped<T> {
    #[serde(flatten)]
    body: T,
    request_id: String,
    timestamp: Timestamp,
}

/// A typed response of the HTTP functions.
fn stamped_answer(status: StatusCode, body: impl Serialize) -> Response {
    let request_id = REQUEST_ID.try_with(|id| id.to_string()).unwrap_or_default();
    let timestamp = Timestamp(clock::now());
    let stamped = Stamped { body, request_id, timestamp };
    written(status, &stamped)
}

/// A JSON response. A body that cannot be serialized is a 500, whatever `status` is.
fn written(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => ApiError::from(ControllerError::Unwritten(error.to_string())).into_response(),
    }
}

/// Parses the job id of a path.
fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse()
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "bad job id", format!("{error}")))
}

/// A response of the HTTP functions.
fn answer(status: StatusCode, body: Value) -> Response {
    (status, HeaderMap::new(), Json(stamped(body))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Unwritable;

    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("cannot be serialized"))
        }
    }

    #[tokio::test]
    async fn an_unserializable_response_is_an_internal_error() {
        let response = stamped_answer(StatusCode::OK, Unwritable);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "internal error", "{body}");
    }
}
