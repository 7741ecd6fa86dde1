//! HTTP at the local Functions host: which callers are allowed, and what the real host does with a
//! request before the handler gets it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::header, response::IntoResponse};
use lastlight_local::{
    broker::{Endpoint, ServiceBus, StorageQueues},
    host::{self, HandlerCommand, HostOptions, LogSink, RunningHost},
};
use reqwest::{Client, Method, Response, StatusCode, redirect::Policy};
use serde_json::json;

use crate::local::host::Files;

/// The request targets that reached the handler.
type Seen = Arc<Mutex<Vec<String>>>;

struct Bed {
    host: RunningHost,
    seen: Seen,
    client: Client,
    _handler: Endpoint,
    _files: Files,
}

impl Bed {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let host_json = json!({
            "version": "2.0",
            "customHandler": { "description": { "defaultExecutablePath": "handler" }, "enableForwardingHttpRequest": true },
        });
        let route = json!({ "type": "httpTrigger", "name": "req", "route": "jobs/{id}", "methods": ["get", "post"] });
        let timer = json!({ "type": "timerTrigger", "name": "timer", "schedule": "0 0 0 1 1 *" });
        let files = Files::new(&host_json, &[("jobs", route), ("sweep", timer)]);
        let seen = Seen::default();
        let router = Router::new().fallback(handled).with_state(Arc::clone(&seen));
        let handler = Endpoint::start("test handler", 0, router).await.unwrap();
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let host = host::start(HostOptions {
            app_root: files.path().to_owned(),
            known_functions: BTreeMap::new(),
            port: 0,
            settings: settings.collect::<BTreeMap<_, _>>(),
            handler: HandlerCommand::Running { port: handler.address().port() },
            storage: StorageQueues::new(),
            service_bus: ServiceBus::new(),
            log: LogSink::new(|_| ()),
        })
        .await
        .unwrap();
        Self {
            host,
            seen,
            client: Client::builder().redirect(Policy::none()).build().unwrap(),
            _handler: handler,
            _files: files,
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.host.base_url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body("{}").send().await.unwrap()
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn handled(
    State(seen): State<Seen>,
    request: axum::extract::Request,
) -> axum::response::Response {
    let target = request.uri().to_string();
    if target == "/" {
        return ().into_response();
    }
    seen.lock().unwrap().push(target.clone());
    if target.ends_with("/moved") {
        return (axum::http::StatusCode::FOUND, [(header::LOCATION, "/api/jobs/here")])
            .into_response();
    }
    axum::Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null })).into_response()
}

#[tokio::test]
async fn foreign_web_pages_cannot_call_the_local_host() {
    let bed = Bed::start(&[]).await;
    let foreign: [&[(&str, &str)]; 4] = [
        &[("origin", "https://evil.example"), ("content-type", "text/plain")],
        &[("origin", "null")],
        &[("host", "evil.example")],
        &[("host", "localhost.evil.example:7071")],
    ];
    for headers in foreign {
        for (method, path) in [
            (Method::POST, "/api/jobs/7"),
            (Method::GET, "/api/jobs/7"),
            (Method::POST, "/admin/functions/sweep"),
            (Method::DELETE, "/admin/local/messages"),
        ] {
            let answer = bed.ask(method, path, headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{headers:?} {path}");
            let words = answer.text().await.unwrap();
            assert!(
                words.contains(headers[0].1) && words.contains("LASTLIGHT_LOCAL_HOSTS"),
                "{words}"
            );
        }
    }
    assert_eq!(bed.seen(), [""; 0]);
    let port = bed.host.base_url().rsplit_once(':').unwrap().1.to_owned();
    for headers in [
        vec![],
        vec![("origin", format!("http://127.0.0.1:{port}"))],
        vec![("origin", "http://localhost:3000".to_owned()), ("host", format!("localhost:{port}"))],
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = bed.ask(Method::POST, "/api/jobs/7", &headers).await;
        assert_eq!(answer.status(), StatusCode::OK, "{headers:?}");
    }
    assert_eq!(bed.seen().len(), 3);
    bed.host.stop().await;
}

#[tokio::test]
async fn a_setting_allows_further_host_names() {
    let bed = Bed::start(&[("LASTLIGHT_LOCAL_HOSTS", "gis-box.lan, maps.example")]).await;
    for (headers, status) in [
        ([("host", "gis-box.lan:7071"), ("origin", "https://maps.example")], StatusCode::OK),
        ([("host", "gis-box.lan"), ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
    ] {
        let answer = bed.ask(Method::POST, "/api/jobs/7", &headers).await;
        assert_eq!(answer.status(), status, "{headers:?}");
    }
    bed.host.stop().await;
}

#[tokio::test]
async fn requests_are_routed_as_the_real_host_does() {
    let bed = Bed::start(&[]).await;
    for (path, passed_on) in [
        ("/API/Jobs/aB/", "/API/Jobs/aB/"),
        ("/api/jobs/7?a=1&b=x%20y", "/api/jobs/7?a=1&b=x%20y"),
        ("/api/jobs/7?a=1&b=2&a=3", "/api/jobs/7?a=1%2C3&b=2"),
    ] {
        let answer = bed.ask(Method::GET, path, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(bed.seen(), [passed_on]);
    }
    let moved = bed.ask(Method::GET, "/api/jobs/moved", &[]).await;
    assert_eq!(
        (moved.status(), moved.headers()["location"].to_str().unwrap()),
        (StatusCode::FOUND, "/api/jobs/here"),
        "a redirect is the client's to follow"
    );
    assert_eq!(bed.seen(), ["/api/jobs/moved"]);
    bed.host.stop().await;
}

#[tokio::test]
async fn a_body_without_content_length_is_refused() {
    let bed = Bed::start(&[]).await;
    let body =
        reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("{}")]));
    let url = format!("{}/api/jobs/7", bed.host.base_url());
    let answer = bed.client.post(url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().await.unwrap().contains("Content-Length"));
    assert_eq!(bed.seen(), [""; 0]);
    bed.host.stop().await;
}
