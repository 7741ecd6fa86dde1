//! `GET /api/dashboard`: the web dashboard, and `GET /api/dashboard/{file}`: its files. The files
//! are embedded in the binary (`crates/lastlight-engine/src/dashboard`), so there is nothing to install
//! and nothing is loaded from other servers. The page holds no data: it calls the API with the
//! user's key. This module knows neither jobs nor the database.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use serde_json::json;

use super::{
    ApiError,
    openapi::{Operation, Schemas},
};

const PAGE: &str = "index.html";
const PAGE_IN_FOLDER: &str = "";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../dashboard/", $name)))),+]
    };
}

/// All files that are served, by name.
const FILES: &[(&str, &str)] = files![
    "index.html",
    "icon.svg",
    "base.css",
    "shell.css",
    "parts.css",
    "views.css",
    "graph.css",
    "theme.js",
    "timeline.js",
    "main.js",
    "router.js",
    "api.js",
    "exact.js",
    "poll.js",
    "dom.js",
    "format.js",
    "icons.js",
    "parts.js",
    "json.js",
    "charts.js",
    "shortcuts.js",
    "jobs.js",
    "bulk.js",
    "find.js",
    "job.js",
    "stages.js",
    "nodes.js",
    "graph.js",
    "layout.js",
    "states.js",
    "node.js",
    "gate.js",
    "definition.js",
    "tabs.js",
    "tasks.js",
    "submit.js",
    "compare.js",
    "poison.js",
    "workers.js",
    "schedules.js",
    "health.js",
];

/// Allows scripts and styles from this origin only, none of them inline; no form, frame or base
/// leads to another origin; and the browser refuses to turn text into markup, so that data stays
/// text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // Cached, but revalidated each time, so that a new version of the app is visible immediately.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

struct File {
    name: &'static str,
    text: Cow<'static, str>,
    tag: String,
}

static SERVED: LazyLock<Vec<File>> = LazyLock::new(|| {
    let file = |name, text: Cow<'static, str>| File { name, tag: tag(&text), text };
    let in_folder = FILES
        .iter()
        .filter(|(name, _)| *name == PAGE)
        .map(|(_, text)| file(PAGE_IN_FOLDER, text.replace("\"dashboard/", "\"").into()));
    FILES.iter().map(|&(name, text)| file(name, text.into())).chain(in_folder).collect()
});

/// An entity tag: the beginning of the SHA-256 hash of the content.
fn tag(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let digits: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

pub(super) async fn page(headers: HeaderMap) -> Result<Response, ApiError> {
    served(PAGE, &headers)
}

pub(super) async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    served(&name, &headers)
}

/// The page at the address with a trailing slash, where its relative links start one level deeper.
/// Not a redirect, since the host may follow it itself.
pub(super) async fn page_in_folder(headers: HeaderMap) -> Result<Response, ApiError> {
    served(PAGE_IN_FOLDER, &headers)
}

fn served(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = SERVED.iter().find(|file| file.name == name).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown file",
            format!(
                "the dashboard has no file {:?}; open GET /api/dashboard",
                name.chars().take(80).collect::<String>()
            ),
        )
    })?;
    let tag = [(header::ETAG, file.tag.clone())];
    if is_known(headers, &file.tag) {
        return Ok((StatusCode::NOT_MODIFIED, tag, HEADERS).into_response());
    }
    let media_type = [(header::CONTENT_TYPE, media_type(file.name))];
    Ok((StatusCode::OK, tag, HEADERS, media_type, &*file.text).into_response())
}

/// Whether the browser has this version. A compressing proxy makes the tag weak (`W/`).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) | None => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    Operation::new().answers_text(&["text/html"]).refuses(&[StatusCode::NOT_MODIFIED])
}

pub(super) fn operation_of_file(_: &mut Schemas) -> Operation {
    let names: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
    Operation::new()
        .path("file", json!({ "type": "string", "enum": names }), "The name of the file.")
        .answers_text(&["text/html", "text/css", "text/javascript", "image/svg+xml"])
        .refuses(&[StatusCode::NOT_FOUND, StatusCode::NOT_MODIFIED])
}
