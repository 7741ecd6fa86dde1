//! The dashboard: all of its files come from the binary, it loads nothing external, and browsers
//! get a policy that enforces this.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::json;
use tower::ServiceExt;

use crate::harness::{OfThisApp, TestApp};

struct Got {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn ask(router: &Router, method: &str, path: &str, tag: Option<&str>) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    let request = request.body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Got {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// The quoted texts that follow `before`.
fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|part| part.split_once(['"', '\'']).map(|(name, _)| name))
        .collect()
}

/// The page and every file that it refers to, by name, as a browser loads them.
async fn loaded(router: &Router) -> BTreeMap<String, Got> {
    let page = ask(router, "GET", "/api/dashboard", None).await;
    let mut wanted: Vec<String> = ["href=\"", "src=\""]
        .iter()
        .flat_map(|before| named(&page.text, before))
        .filter(|address| !address.starts_with('#'))
        .map(|address| {
            let file = address.strip_prefix("dashboard/");
            file.unwrap_or_else(|| panic!("the page leads to {address}, which is not its own"))
                .to_owned()
        })
        .collect();
    let mut found = BTreeMap::from([("index.html".to_owned(), page)]);
    while let Some(name) = wanted.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let file = ask(router, "GET", &format!("/api/dashboard/{name}"), None).await;
        assert_eq!(file.status, StatusCode::OK, "{name}: {}", file.text);
        wanted.extend(named(&file.text, " from './").into_iter().map(str::to_owned));
        found.insert(name, file);
    }
    found
}

#[tokio::test]
async fn the_binary_contains_every_dashboard_file() {
    let app = TestApp::start().await;
    let files = loaded(&app.router).await;
    let served: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/lastlight-engine/src/dashboard");
    let written: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(served, written.iter().map(String::as_str).collect());
    for (name, file) in &files {
        let media_type = match name.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is a .{other}?"),
        };
        assert_eq!(file.header("content-type"), media_type, "{name}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{name}");
    }
}

#[tokio::test]
async fn the_dashboard_loads_nothing_external() {
    let app = TestApp::start().await;
    let files = loaded(&app.router).await;
    let policy = files["index.html"].header("content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|part| part == rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(files["index.html"].header("referrer-policy"), "no-referrer");
    for (name, file) in &files {
        assert_eq!(file.header("content-security-policy"), policy, "{name}");
        // The namespace of SVG is a name and not an address.
        let text = file.text.replace("http://www.w3.org/2000/svg", "");
        for elsewhere in ["http://", "https://", "url(//", "@import", "src=\"//"] {
            assert!(!text.contains(elsewhere), "{name} leads elsewhere: {elsewhere}");
        }
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!text.contains(markup), "{name} uses {markup}");
        }
    }
    let page = &files["index.html"].text;
    assert!(!page.contains("style=") && !page.contains("<style"), "styles of its own");
    assert_eq!(page.matches("<script").count(), page.matches("<script ").count());
    let is_handler = |rest: &str| {
        let name = rest.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| name.chars().all(|letter| letter.is_ascii_lowercase()))
    };
    assert!(!page.split(" on").skip(1).any(is_handler), "handlers in the page");
}

#[tokio::test]
async fn an_unchanged_file_is_answered_with_304() {
    let app = TestApp::start().await;
    for path in ["/api/dashboard", "/api/dashboard/main.js"] {
        let first = ask(&app.router, "GET", path, None).await;
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(first.header("cache-control"), "no-cache");
        let tag = first.header("etag").to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"old\", {tag}")] {
            let again = ask(&app.router, "GET", path, Some(&known)).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.text, "");
            assert_eq!(again.header("etag"), tag);
        }
        let changed = ask(&app.router, "GET", path, Some("\"another\"")).await;
        assert_eq!(changed.status, StatusCode::OK);
        let head = ask(&app.router, "HEAD", path, None).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.header("etag"), tag);
        let post = ask(&app.router, "POST", path, None).await;
        assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn an_unlisted_dashboard_file_answers_404() {
    let app = TestApp::start().await;
    for name in ["mod.rs", "main.js.map", "..%2Flib.rs", "%2Fetc%2Fpasswd", "MAIN.JS", "a/b", "%00"]
    {
        for method in ["GET", "HEAD"] {
            let path = format!("/api/dashboard/{name}");
            let got = ask(&app.router, method, &path, None).await;
            assert_eq!(got.status, StatusCode::NOT_FOUND, "{method} {name}");
        }
    }
    let unknown = ask(&app.router, "GET", "/api/dashboard/other.js", None).await;
    assert!(
        unknown.text.contains("GET /api/dashboard"),
        "it says where the page is: {}",
        unknown.text
    );
}

#[tokio::test]
async fn a_trailing_slash_serves_the_same_page() {
    let app = TestApp::start().await;
    let page = ask(&app.router, "GET", "/api/dashboard", None).await;
    let in_folder = ask(&app.router, "GET", "/api/dashboard/", None).await;
    assert_eq!(in_folder.status, StatusCode::OK);
    assert_eq!(in_folder.header("content-type"), page.header("content-type"));
    let addresses = named(&in_folder.text, "src=\"");
    assert!(!addresses.is_empty());
    for address in addresses {
        let file = ask(&app.router, "GET", &format!("/api/dashboard/{address}"), None).await;
        assert_eq!(file.status, StatusCode::OK, "{address}");
    }
    assert_eq!(in_folder.text, page.text.replace("\"dashboard/", "\""));
}

#[tokio::test]
async fn a_non_forwarding_host_gets_the_dashboard() {
    let app = TestApp::start().await;
    for (url, media_type) in [
        ("http://localhost/api/dashboard", "text/html; charset=utf-8"),
        ("http://localhost/api/dashboard/main.js", "text/javascript; charset=utf-8"),
    ] {
        let invocation = json!({
            "Data": { "req": { "Url": url, "Method": "GET", "Query": {}, "Headers": {}, "Params": {} } },
            "Metadata": {},
        });
        let answer = app.request("POST", "/dashboard", invocation.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let described = &answer.body["Outputs"]["res"];
        assert_eq!(described["statusCode"], "200");
        assert_eq!(described["headers"]["content-type"], media_type);
        let path = url.trim_start_matches("http://localhost");
        assert_eq!(described["body"], ask(&app.router, "GET", path, None).await.text);
    }
}
