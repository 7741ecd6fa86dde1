//! `GET /api/dashboard`: the page for people, and `GET /api/dashboard/{file}`: what it is made of.
//! The files are in the binary (`crates/lastlight/src/dashboard`), so there is nothing to install,
//! and nobody else is asked for anything. The page holds no data: it asks the API, with the key of
//! whoever looks at it. Nothing here knows jobs or the database.

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

/// Everything that is served, by name: what is not in this list does not exist.
const FILES: &[(&str, &str)] = files![
    "index.html",
    "icon.svg",
    "base.css",
    "shell.css",
    "parts.css",
    "views.css",
    "theme.js",
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
    "job.js",
    "stages.js",
    "tasks.js",
    "submit.js",
    "compare.js",
    "poison.js",
    "health.js",
];

/// Scripts and styles from here alone, and none that stand in the page; no form, frame or base
/// leads elsewhere; and the browser refuses to make markup of text, so that data stays text.
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
    // Kept, and asked about each time: a new version of the app is a new page at once.
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

/// The beginning of the content's hash, as an entity tag.
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

/// The page with a slash behind its name: its addresses are relative, and stand one step deeper. A
/// redirect would do, but the host may follow it by itself.
pub(super) async fn page_in_folder(headers: HeaderMap) -> Result<Response, ApiError> {
    served(PAGE_IN_FOLDER, &headers)
}

fn served(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = SERVED.iter().find(|file| file.name == name).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown file",
            format!(
                "the dashboard has no file {:?}; the page is GET /api/dashboard",
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

/// The browser has this version. A proxy that compresses makes the tag a weak one.
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
        .path("file", json!({ "type": "string", "enum": names }), "Its name.")
        .answers_text(&["text/html", "text/css", "text/javascript", "image/svg+xml"])
        .refuses(&[StatusCode::NOT_FOUND, StatusCode::NOT_MODIFIED])
}
