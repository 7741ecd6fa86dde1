//! HTTP functions as invoked by a host without `enableForwardingHttpRequest`: the request is
//! described in `Data.req`, and the response is returned in `Outputs.res`. The request is rebuilt
//! and passed to the usual router.

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State, rejection::BytesRejection},
    http::{
        HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, CONTENT_LENGTH},
    },
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tower::ServiceExt;

use super::{ApiError, Trigger, functions};
use crate::{
    invocation::{self, HttpRequestData},
    workflow::ControllerError,
};

pub(super) async fn handle(
    State(api): State<Router>,
    Path(function): Path<String>,
    method: Method,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let is_known = functions()
        .iter()
        .any(|known| known.name == function && matches!(known.trigger, Trigger::Http { .. }));
    if !is_known {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not found",
            format!("there is no function {:?}", function.chars().take(80).collect::<String>()),
        ));
    }
    if method != Method::POST {
        let refused = ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed",
            format!("{method} is not allowed on /{function}; the host posts invocations to it"),
        );
        let mut response = refused.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(response);
    }
    let described = invocation::http_request(&body?).map_err(ControllerError::from)?;
    let request = request(described).map_err(|problem| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad invocation",
            format!("Data.req is not a request: {problem}"),
        )
    })?;
    let response = match api.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", error.to_string())
    })?;
    Ok(invocation::http_answer(parts.status, &parts.headers, &body))
}

fn request(described: HttpRequestData) -> Result<Request, String> {
    let url = url::Url::parse(&described.url)
        .map_err(|error| format!("Url {:?}: {error}", described.url))?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let body = match described.body {
        Value::Null => String::new(),
        Value::String(text) => text,
        // The host has already parsed a JSON body.
        parsed => parsed.to_string(),
    };
    let mut request = axum::http::Request::builder()
        .method(described.method.as_str())
        .uri(target.parse::<Uri>().map_err(|error| error.to_string())?);
    for (name, values) in &described.headers {
        let first = values.as_array().and_then(|values| values.first()).unwrap_or(values);
        if let Some(value) = first.as_str()
            && !name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str())
        {
            request = request.header(name.as_str(), value);
        }
    }
    request.body(Body::from(body)).map_err(|error| error.to_string())
}
