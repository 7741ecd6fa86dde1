//! The handler `http_call`, against a service on this machine.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use futures_util::stream;
use lastlight_engine::{
    builtin::{self, HttpCalls},
    config::{Env, HttpCallAllow},
    job::{TaskError, erased::Catalog},
};
use serde_json::{Value, json};

use super::calls::Calling;

const SETTING: &str = "LASTLIGHT_HTTP_CALL_ALLOW";

/// A request that the service has got.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// A service that notes its requests and answers by their path.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<Seen>>>);

impl Service {
    async fn start() -> (Self, SocketAddr) {
        let service = Self::default();
        let router = Router::new().route("/{*path}", any(answer)).with_state(service.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

async fn answer(
    State(service): State<Service>,
    Path(path): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers.get("x-key").map(|key| key.to_str().unwrap().to_owned());
    service.0.lock().unwrap().push(Seen { method, uri, headers, body });
    let json = [(header::CONTENT_TYPE, "application/problem+json; charset=utf-8")];
    match path.as_str() {
        "json" => (json, r#"{"tiles":[1,null,2.5]}"#).into_response(),
        "broken" => (json, "{\"tiles\":").into_response(),
        "created" => {
            let location = [(header::LOCATION, "/jobs/7"), (header::SET_COOKIE, "a=b")];
            (StatusCode::CREATED, location, "made").into_response()
        }
        "empty" => StatusCode::NO_CONTENT.into_response(),
        "moved" => {
            let location = "https://elsewhere.example/a?sig=topsecret1";
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        "unchanged" => StatusCode::NOT_MODIFIED.into_response(),
        "busy" => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "120")], "later").into_response()
        }
        "down" => (StatusCode::SERVICE_UNAVAILABLE, "restarting").into_response(),
        "wrong" => (StatusCode::UNPROCESSABLE_ENTITY, "x".repeat(2000)).into_response(),
        "repeats" => (StatusCode::BAD_REQUEST, format!("your key {key:?} is bad")).into_response(),
        "exact" => "x".repeat(1024 * 1024).into_response(),
        "endless" => {
            let chunks =
                stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 4096])));
            Body::from_stream(chunks).into_response()
        }
        "endless_failure" => {
            let chunks =
                stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 4096])));
            (StatusCode::BAD_REQUEST, Body::from_stream(chunks)).into_response()
        }
        "silent" => std::future::pending().await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A catalog whose calls may reach these addresses.
fn allowing(addresses: &str) -> Catalog {
    let mut env = Env::from_pairs([(SETTING, addresses)]);
    let allow = HttpCallAllow::from_env(&mut env);
    env.finish().unwrap();
    builtin::add_to(Catalog::default(), HttpCalls::new(allow))
}

/// The service, and a way to call it.
struct World {
    service: Service,
    address: SocketAddr,
    catalog: Catalog,
}

impl World {
    async fn start() -> Self {
        let (service, address) = Service::start().await;
        Self { service, address, catalog: allowing(&format!("http://{address}")) }
    }

    /// Calls a path of the service, with further parameters.
    async fn call(&self, path: &str, further: Value) -> Result<Value, TaskError> {
        let mut parameters = json!({ "url": format!("http://{}/{path}", self.address) });
        parameters.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        Calling::default().value(&self.catalog, "http_call", &parameters).await
    }

    async fn permanent(&self, path: &str, further: Value) -> String {
        match self.call(path, further).await {
            Err(TaskError::Permanent(reason)) => self.without_address(&reason),
            other => panic!("not a permanent failure: {other:?}"),
        }
    }

    async fn transient(&self, path: &str, further: Value) -> String {
        match self.call(path, further).await {
            Err(TaskError::Transient(reason)) => self.without_address(&reason),
            other => panic!("not a transient failure: {other:?}"),
        }
    }

    fn without_address(&self, text: &str) -> String {
        text.replace(&self.address.to_string(), "service")
    }
}

#[tokio::test]
async fn a_service_gets_the_body_and_its_answer_is_the_result() {
    let world = World::start().await;
    let result = world
        .call(
            "json?a=b",
            json!({ "json": { "n": 1 }, "headers": { "X-Key": "k" }, "_run_id": "r" }),
        )
        .await;
    assert_eq!(
        result,
        Ok(json!({
            "status": 200,
            "headers": { "content-type": "application/problem+json; charset=utf-8" },
            "body": { "tiles": [1, null, 2.5] },
        }))
    );
    let seen = world.service.seen().remove(0);
    assert_eq!((seen.method, seen.uri.to_string()), (Method::POST, "/json?a=b".to_owned()));
    assert_eq!(seen.body, "{\"n\":1}");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["x-key"], "k");
}

#[tokio::test]
async fn other_bodies_are_text_or_nothing() {
    let world = World::start().await;
    let created = world.call("created", json!({ "method": "put", "json": null })).await.unwrap();
    assert_eq!(
        created["headers"],
        json!({
            "content-type": "text/plain; charset=utf-8", "location": "/jobs/7"
        })
    );
    assert_eq!((&created["status"], &created["body"]), (&json!(201), &json!("made")));
    let seen = world.service.seen().remove(0);
    assert_eq!((seen.method, seen.body.len()), (Method::PUT, 0));
    assert_eq!(seen.headers.get("content-type"), None);
    let empty = world.call("empty", json!({ "method": "GET" })).await.unwrap();
    assert_eq!((&empty["status"], &empty["body"]), (&json!(204), &Value::Null));
}

#[tokio::test]
async fn all_attempts_at_a_task_have_one_idempotency_key() {
    let world = World::start().await;
    let parameters = json!({ "url": format!("http://{}/json", world.address) });
    for (job_id, task_id, attempt) in
        [("job-1", "t", 1), ("job-1", "t", 2), ("job-2", "t", 1), ("job-1", "u", 1)]
    {
        let calling =
            Calling { job_id, task_id: task_id.to_owned(), attempt, ..Calling::default() };
        calling.value(&world.catalog, "http_call", &parameters).await.unwrap();
    }
    let seen = world.service.seen();
    let keys: Vec<_> = seen.iter().map(|seen| &seen.headers["idempotency-key"]).collect();
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0] != keys[2] && keys[0] != keys[3] && keys[2] != keys[3], "{keys:?}");
    let key = keys[0].to_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(key).unwrap().to_string(), key);
}

#[tokio::test]
async fn a_busy_service_or_one_that_is_down_is_called_again() {
    let world = World::start().await;
    assert_eq!(
        world.transient("busy", json!({})).await,
        "POST http://service/busy: status 429 Too Many Requests, Retry-After: 120: later"
    );
    assert_eq!(
        world.transient("down", json!({})).await,
        "POST http://service/down: status 503 Service Unavailable: restarting"
    );
    let silent = world.transient("silent", json!({ "timeout_seconds": 0.1 })).await;
    assert!(silent.starts_with("POST http://service/silent: no response in time"), "{silent}");
    // No process listens on a port that was free a moment ago.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    let gone = Calling::default().value(&allowing(&url), "http_call", &json!({ "url": url })).await;
    assert!(
        matches!(&gone, Err(TaskError::Transient(reason)) if reason.contains("no connection")),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_service_that_refuses_is_not_called_again() {
    let world = World::start().await;
    assert_eq!(
        world.permanent("wrong", json!({})).await,
        format!("POST http://service/wrong: status 422 Unprocessable Entity: {}", "x".repeat(500))
    );
    assert_eq!(
        world.permanent("nowhere", json!({ "method": "DELETE" })).await,
        "DELETE http://service/nowhere: status 404 Not Found"
    );
    let broken = world.permanent("broken", json!({})).await;
    assert!(
        broken.contains("the body is not the JSON that its content type says: EOF"),
        "{broken}"
    );
}

#[tokio::test]
async fn the_statuses_that_are_expected_are_the_success() {
    let world = World::start().await;
    let missing = world.call("nowhere", json!({ "expect": [200, 404] })).await.unwrap();
    assert_eq!(missing["status"], 404);
    let busy = world.call("busy", json!({ "expect": [429] })).await.unwrap();
    assert_eq!(busy["headers"]["retry-after"], "120");
    let moved = world.call("moved", json!({ "expect": [302] })).await.unwrap();
    assert_eq!(moved["status"], 302);
    assert_eq!(
        world.permanent("created", json!({ "expect": [200] })).await,
        "POST http://service/created: status 201 Created: made"
    );
}

#[tokio::test]
async fn redirects_are_named_and_not_followed() {
    let world = World::start().await;
    assert_eq!(
        world.permanent("moved", json!({})).await,
        "POST http://service/moved: status 302 Found points to https://elsewhere.example/a, and redirects are not followed"
    );
    assert_eq!(
        world.permanent("unchanged", json!({})).await,
        "POST http://service/unchanged: status 304 Not Modified points to nowhere, and redirects are not followed"
    );
    assert_eq!(world.service.seen().len(), 2);
}

#[tokio::test]
async fn a_large_body_is_not_read_to_its_end() {
    let world = World::start().await;
    let exact = world.call("exact", json!({})).await.unwrap();
    assert_eq!(exact["body"].as_str().map(str::len), Some(1024 * 1024));
    assert_eq!(
        world.permanent("endless", json!({})).await,
        "POST http://service/endless: status 200 OK, with a body of more than 1048576 bytes, which is too large for a result"
    );
    let failure = world.permanent("endless_failure", json!({})).await;
    assert!(failure.ends_with(&format!("400 Bad Request: {}", "x".repeat(500))), "{failure}");
}

#[tokio::test]
async fn only_allowed_addresses_are_called() {
    let world = World::start().await;
    let address = world.address;
    let parameters = json!({ "url": format!("http://{address}/json?sig=topsecret1") });
    let app = lastlight_engine::App::new();
    let call = async |catalog: &Catalog, parameters: &Value| {
        let result = Calling::default().value(catalog, "http_call", parameters).await;
        result.unwrap_err()
    };
    assert_eq!(
        call(&app.catalog(), &parameters).await,
        TaskError::permanent(
            "handler http_call: url: no address may be called: the setting LASTLIGHT_HTTP_CALL_ALLOW, which lists those \
             that may, is not set"
        )
    );
    let catalog = allowing(&format!("http://{address}/v1, https://api.example.com"));
    assert_eq!(
        call(&catalog, &parameters).await,
        TaskError::permanent(format!(
            "handler http_call: url: http://{address}/json may not be called: the setting LASTLIGHT_HTTP_CALL_ALLOW allows \
             http://{address}/v1/, https://api.example.com/"
        ))
    );
    for (url, problem) in [
        (format!("http://u:topsecret1@{address}/v1/a"), "it has a user or a password"),
        ("topsecret1".to_owned(), "it cannot be parsed: relative URL without a base"),
        (format!("http://{address}/v1/../json"), "may not be called"),
        ("https://api.example.com:444/topsecret1".replace("topsecret1", "a"), "may not be called"),
    ] {
        let error = call(&catalog, &json!({ "url": url })).await.to_string();
        assert!(error.contains(problem) && !error.contains("topsecret1"), "{url}: {error}");
    }
    assert_eq!(world.service.seen().len(), 0);
}

#[tokio::test]
async fn parameters_of_a_call_that_are_not_allowed_are_named() {
    let world = World::start().await;
    for (further, problem) in [
        (
            json!({ "method": "CONNECT" }),
            "method: \"CONNECT\" is not one of GET, HEAD, POST, PUT, PATCH, DELETE",
        ),
        (json!({ "timeout_seconds": 0 }), "timeout_seconds: 0 is not from 0.1 to 3600"),
        (json!({ "expect": [] }), "expect: it must have at least one status"),
        (json!({ "expect": [99] }), "expect: 99 is not a status from 200 to 599"),
        (json!({ "headers": "a" }), "headers: they must be an object with texts"),
        (json!({ "headers": { "a b": "c" } }), "headers: \"a b\" is not the name of a header"),
        (
            json!({ "headers": { "Host": "evil.example" } }),
            "headers: host is set by the handler and cannot be chosen",
        ),
        (
            json!({ "headers": { "Idempotency-Key": "1" } }),
            "headers: idempotency-key is set by the handler and cannot be chosen",
        ),
        (
            json!({ "headers": { "x-key": "a\r\nhost: topsecret1" } }),
            "headers: the value of x-key must be a text without line breaks and control characters",
        ),
        (json!({ "headers": { "a": "b", "A": "c" } }), "headers: a is given twice"),
        (
            json!({ "body": "x" }),
            "body: unknown field `body`, expected one of `method`, `url`, `json`, `headers`, `timeout_seconds`, `expect`",
        ),
    ] {
        assert_eq!(world.permanent("json", further).await, format!("handler http_call: {problem}"));
    }
    assert_eq!(world.service.seen().len(), 0);
}

#[tokio::test]
async fn keys_are_not_in_errors_and_not_in_the_log() {
    let world = World::start().await;
    let calling = Calling::default();
    let url = format!("http://{}/repeats?code=topsecret1", world.address);
    let parameters = json!({ "url": url, "headers": { "x-key": "topsecret2" } });
    let error = calling.value(&world.catalog, "http_call", &parameters).await.unwrap_err();
    assert_eq!(
        world.without_address(error.reason()),
        "POST http://service/repeats: status 400 Bad Request: (the response repeats a credential and is not shown)"
    );
    let log = calling.notes.take_changed().unwrap().log_tail.unwrap();
    let log = world.without_address(&log);
    assert!(log.starts_with("POST http://service/repeats, Idempotency-Key "), "{log}");
    assert!(log.ends_with("\nstatus 400 Bad Request\n") && !log.contains("topsecret"), "{log}");
}
