//! One file a function folder, of the same name: decode what the host sent, call the controller, answer.
//! The router is the table of contents. Triggers know no SQL and no queue.

mod addresses;
mod answered;
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
mod exposition;
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
mod query;
mod query_job;
mod query_job_tasks;
mod query_jobs;
mod query_tasks;
mod reconcile;
mod resume_job;
mod retry_job;
mod schema_nuke;
mod schema_redeploy;
mod shared_figures;
mod shown;
mod submit_job;
mod time_limit;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
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
pub use openapi::openapi_document;

/// A submission's body may have this many bytes.
pub const LARGEST_SUBMISSION: usize = 1024 * 1024;

/// An invocation's body may have this many bytes: a batch of 256 messages of the largest size, encoded twice. Those of this app
/// have 20 KiB at most.
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
    /// What messages cost.
    pub prices: Arc<Prices>,
}

/// An address of the API.
struct Endpoint {
    /// With the prefix that the host's routes have.
    path: &'static str,
    /// What it answers to.
    methods: MethodRouter<AppState>,
    /// Each method, with the name of its operation and what its trigger says of it.
    operations: &'static [(&'static str, &'static str, Describe)],
}

type Describe = fn(&mut openapi::Schemas) -> openapi::Operation;

/// The API: the router and its description are both made of this.
fn endpoints() -> Vec<Endpoint> {
    fn at(
        path: &'static str,
        methods: MethodRouter<AppState>,
        operations: &'static [(&'static str, &'static str, Describe)],
    ) -> Endpoint {
        Endpoint {
            path,
            methods,
            operations,
        }
    }
    macro_rules! endpoint {
        ($path:literal, $method:ident $trigger:ident) => {
            at(
                $path,
                $method($trigger::handle),
                &[(
                    stringify!($method),
                    stringify!($trigger),
                    $trigger::operation,
                )],
            )
        };
    }
    vec![
        endpoint!("/api/jobs/submit/{job_type}", post submit_job),
        endpoint!("/api/jobs/types", get job_types),
        endpoint!("/api/jobs/status/{job_id}", get get_job_status),
        endpoint!("/api/jobs/audit/{job_id}", get get_job_audit),
        endpoint!("/api/jobs/cancel/{job_id}", post cancel_job),
        endpoint!("/api/jobs/retry/{job_id}", post retry_job),
        endpoint!("/api/jobs/pause/{job_id}", post pause_job),
        endpoint!("/api/jobs/resume/{job_id}", post resume_job),
        endpoint!("/api/db/jobs", get query_jobs),
        endpoint!("/api/db/jobs/{job_id}", get query_job),
        endpoint!("/api/db/tasks", get query_tasks),
        endpoint!("/api/db/tasks/{job_id}", get query_job_tasks),
        endpoint!("/api/db/stats", get db_stats),
        endpoint!("/api/db/enums/diagnostic", get db_enums_diagnostic),
        endpoint!("/api/db/functions/test", get db_functions_test),
        endpoint!("/api/db/debug/all", get db_debug_all),
        endpoint!("/api/db/schema/nuke", post schema_nuke),
        endpoint!("/api/db/schema/redeploy", post schema_redeploy),
        endpoint!("/api/metrics/comparison", get metrics_comparison),
        endpoint!("/api/health", get health),
        endpoint!("/api/live", get live),
        endpoint!("/api/metrics", get metrics),
        endpoint!("/api/openapi.json", get openapi),
        at(
            "/api/monitor/poison",
            get(monitor_poison::look).post(monitor_poison::order),
            &[
                ("get", "monitor_poison", monitor_poison::operation_of_look),
                ("post", "settle_poison", monitor_poison::operation_of_order),
            ],
        ),
        at(
            "/api/dashboard",
            get(dashboard::page),
            &[("get", "dashboard", dashboard::operation)],
        ),
        at("/api/dashboard/", get(dashboard::page_in_folder), &[]),
        at(
            "/api/dashboard/{file}",
            get(dashboard::file),
            &[("get", "dashboard_file", dashboard::operation_of_file)],
        ),
    ]
}

/// Everything that the handler answers: `/api/…` is forwarded by the host as it came, `/<function>` is the host's own.
pub fn router(app: AppState) -> Router {
    let answered = Arc::new(answered::Answered::default());
    let limit = app.controller.longest_invocation();
    let routed = Router::new();
    let api = endpoints()
        .into_iter()
        .fold(routed, |router, endpoint| {
            router.route(endpoint.path, endpoint.methods)
        })
        .route("/", get(alive))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(body::within_bounds))
        .layer(Extension(Arc::clone(&answered)))
        // Here, since a request that was described comes in this way too.
        .layer(middleware::from_fn(with_readable_path))
        .with_state(app.clone());
    let functions = Router::new()
        .route("/process_queue_job", post(process_queue_job::handle))
        .route("/process_queue_task", post(process_queue_task::handle))
        .route("/process_sb_job", post(process_sb_job::handle))
        .route("/process_sb_task", post(process_sb_task::handle))
        .route(
            "/process_queue_job_poison",
            post(process_queue_job_poison::handle),
        )
        .route(
            "/process_queue_task_poison",
            post(process_queue_task_poison::handle),
        )
        .route(
            "/process_sb_job_dead_letter",
            post(process_sb_job_dead_letter::handle),
        )
        .route(
            "/process_sb_task_dead_letter",
            post(process_sb_task_dead_letter::handle),
        )
        .route("/reconcile", post(reconcile::handle))
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
        .merge(functions)
        .merge(described)
        .layer(middleware::from_fn_with_state(limit, time_limit::within))
        .layer(middleware::from_fn_with_state(answered, answered::count))
        .layer(middleware::from_fn(with_request_id));
    addressed(all)
}

/// The same, for addresses as the host matches them.
fn addressed(router: Router) -> Router {
    let addresses: Arc<[&str]> = endpoints().iter().map(|endpoint| endpoint.path).collect();
    Router::new()
        .fallback_service(router.map_request(move |request| addresses::as_routed(request, &addresses)))
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
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("not found", |path| path.as_str());
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

/// The trace that the caller says it is in. What is not one, or is there twice, is ignored as the W3C says.
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
        fields.insert(
            "timestamp".to_owned(),
            Value::String(timestamp::write(clock::now())),
        );
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
    let stamped = Stamped {
        body,
        request_id,
        timestamp,
    };
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
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "internal error", "{body}");
    }
}
