//! HTTP triggers: requests are forwarded to the handler unchanged, or described in `Data.req`.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::delete,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Binding, Function, FunctionApp,
    callers::{self, Callers},
    client::{HOST_VERSION, Handler, Ready},
    process::Process,
    route,
};
use crate::broker::{ServiceBus, StorageQueues, delete_all_messages};

/// Maximum size of a body in bytes, as in the real host.
const LARGEST_BODY: usize = 100 * 1024 * 1024;

#[derive(Clone)]
struct Context {
    app: Arc<FunctionApp>,
    handler: Arc<OnceLock<Handler>>,
    storage: StorageQueues,
    service_bus: ServiceBus,
}

/// Attaches the handler to a router that is served already.
pub(super) struct Door(Arc<OnceLock<Handler>>, Handler);

impl Door {
    pub(super) fn attach(self, process: &Arc<Process>) -> Handler {
        let handler = self.1.attach(process);
        self.0.get_or_init(|| handler.clone()).clone()
    }
}

pub(super) fn router(
    app: Arc<FunctionApp>,
    storage: StorageQueues,
    service_bus: ServiceBus,
    callers: Callers,
) -> (Door, Router) {
    let handler = Arc::new(OnceLock::new());
    let door = Door(Arc::clone(&handler), Handler::new(app.function_timeout));
    (
        door,
        Router::new()
            .route("/admin/local/messages", delete(lose_everything))
            .fallback(handle)
            .layer(middleware::from_fn_with_state(callers, callers::of_this_machine))
            .with_state(Context { app, handler, storage, service_bus }),
    )
}

/// An addition to the real host: deletes all messages, to show that a queue message is only a hint.
async fn lose_everything(State(context): State<Context>) -> Response {
    let queues = delete_all_messages(&context.storage, &context.service_bus);
    axum::Json(json!({ "deleted_all_messages_of": queues })).into_response()
}

async fn handle(State(context): State<Context>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(function) = parts.uri.path().strip_prefix("/admin/functions/") {
        if parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json"))
        {
            tracing::warn!(
                "in Azure this requires the master key, Content-Type: application/json, and a body such as {{\"input\": \"\"}}"
            );
        }
        return start_by_hand(&context, &parts.method, function);
    }
    let Some((function, binding, template)) = find(&context.app, &parts.method, parts.uri.path())
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(handler) = context.handler.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the handler is starting").into_response();
    };
    // The real host copies the header but creates no content, which its own client then rejects
    // (`HttpRequestExtensions.cs`).
    if parts.headers.contains_key(header::TRANSFER_ENCODING)
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        let problem = "the Functions host accepts no chunked body: send it with its length, in Content-Length";
        return (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response();
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let ready = handler.ready().await;
    let answering = async {
        if context.app.forwards_http {
            return forward(&ready, parts.method, &parts.uri, &parts.headers, body).await;
        }
        let path = without_prefix(&context.app, parts.uri.path()).unwrap_or_default();
        let parameters = route::parameters(template, path);
        describe(
            &ready,
            function,
            binding,
            &parts.method,
            &parts.uri,
            &parts.headers,
            &body,
            parameters,
        )
        .await
    };
    match ready.in_time(&function.name, answering).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let problem = format!("the handler did not answer: {error}");
            (StatusCode::BAD_GATEWAY, problem).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// `POST /admin/functions/<name>` runs a timer function now, as in the real host; it answers before
/// the function has run.
fn start_by_hand(context: &Context, method: &Method, name: &str) -> Response {
    let function = context.app.functions.iter().find(|function| function.name == name);
    let (Some(handler), Some(Function { trigger: Binding::Timer { binding, .. }, .. })) =
        (context.handler.get(), function)
    else {
        return (StatusCode::NOT_FOUND, format!("there is no timer function {name:?}"))
            .into_response();
    };
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let now = time::OffsetDateTime::now_utc();
    let payload = super::payload::timer(name, binding, now, now, false);
    let (handler, name) = (handler.clone(), name.to_owned());
    tokio::spawn(async move {
        if let Err(error) = handler.invoke(&name, payload).await {
            tracing::warn!(function = name, %error, "invocation failed");
        }
    });
    StatusCode::ACCEPTED.into_response()
}

fn without_prefix<'a>(app: &FunctionApp, path: &'a str) -> Option<&'a str> {
    let path = path.trim_start_matches('/');
    if app.route_prefix.is_empty() {
        return Some(path);
    }
    let (prefix, rest) = path.split_at_checked(app.route_prefix.len())?;
    if !prefix.eq_ignore_ascii_case(&app.route_prefix) {
        return None;
    }
    rest.strip_prefix('/').or(rest.is_empty().then_some(rest))
}

fn find<'a>(
    app: &'a FunctionApp,
    method: &Method,
    path: &str,
) -> Option<(&'a Function, &'a str, &'a str)> {
    let path = without_prefix(app, path)?;
    app.functions
        .iter()
        .filter_map(|function| match &function.trigger {
            Binding::Http { binding, route: template, methods }
                if methods.is_empty()
                    || methods.iter().any(|allowed| allowed == method.as_str()) =>
            {
                Some((route::fit(template, path)?, (function, binding.as_str(), template.as_str())))
            }
            _ => None,
        })
        .max_by_key(|(literals, _)| *literals)
        .map(|(_, found)| found)
}

async fn forward(
    handler: &Ready<'_>,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> reqwest::Result<Response> {
    let target = match uri.query() {
        Some(query) => format!("{}?{}", uri.path(), joined(query)),
        None => uri.path().to_owned(),
    };
    let mut headers = end_to_end(headers);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Azure-Functions-Host/4.1037.0.0"));
    headers.insert("x-azure-functions-hostversion", HeaderValue::from_static(HOST_VERSION));
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert("x-azure-functions-invocationid", id);
    }
    let answer = handler
        .client
        .request(method, format!("{}{target}", handler.address()))
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = end_to_end(answer.headers());
    *response.body_mut() = Body::from(answer.bytes().await?);
    Ok(response)
}

/// The query as the host rebuilds it from a dictionary: repeated values of a name are joined with
/// commas.
fn joined(query: &str) -> String {
    let mut values: Vec<(Cow<'_, str>, String)> = Vec::new();
    let mut is_repeated = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if let Some((_, values)) = values.iter_mut().find(|(known, _)| *known == name) {
            is_repeated = true;
            values.push(',');
            values.push_str(&value);
        } else {
            values.push((name, value.into_owned()));
        }
    }
    if is_repeated {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(values).finish()
    } else {
        query.to_owned()
    }
}

/// The headers without those that apply to a single connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::UPGRADE,
        header::TE,
        header::HOST,
    ];
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

#[expect(clippy::too_many_arguments, reason = "a description contains all parts of a request")]
async fn describe(
    handler: &Ready<'_>,
    function: &Function,
    binding: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    parameters: Vec<(String, String)>,
) -> reqwest::Result<Response> {
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
    let listed: Map<String, Value> =
        headers.iter().map(|(name, value)| (name.to_string(), json!([text(value)]))).collect();
    let host =
        headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
    let query = joined(uri.query().unwrap_or_default());
    let query: Map<String, Value> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), Value::from(value)))
        .collect();
    let payload = json!({
        "Data": { binding: {
            "Url": format!("http://{host}{uri}"),
            "Method": method.as_str(),
            "Query": query,
            "Headers": listed,
            "Params": parameters.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>(),
            "Identities": [],
            "Body": String::from_utf8_lossy(body),
        }},
        "Metadata": { "sys": { "MethodName": function.name } },
    });
    let answer = handler
        .client
        .post(format!("{}/{}", handler.address(), function.name))
        .header(header::CONTENT_TYPE, "application/json")
        .body(payload.to_string())
        .send()
        .await?;
    let status = answer.status();
    let body = answer.bytes().await?;
    let described = serde_json::from_slice::<Value>(&body).ok();
    let Some(answer) = described.as_ref().and_then(|answer| answer.pointer("/Outputs/res")) else {
        let status = if status.is_success() { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        return Ok((status, body).into_response());
    };
    let status = answer["statusCode"]
        .as_str()
        .and_then(|code| code.parse().ok())
        .or_else(|| answer["statusCode"].as_u64().and_then(|code| u16::try_from(code).ok()))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK);
    let mut response =
        (status, answer["body"].as_str().unwrap_or_default().to_owned()).into_response();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Some(Ok(value))) = (name, value.as_str().map(HeaderValue::from_str))
            && name != header::CONTENT_LENGTH
        {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
