//! Paths and bodies as clients and the host write them: case, slashes, byte order marks, requests
//! that are not forwarded.

use axum::http::StatusCode;
use lastlight_engine::transport::sender::QueueRole;
use serde_json::{Value, json};

use crate::harness::{Answer, OfThisApp, TestApp};

/// A request as a host without `enableForwardingHttpRequest` sends it.
async fn described(app: &TestApp, function: &str, method: &str, path: &str, body: Value) -> Answer {
    let request = json!({
        "Data": { "req": {
            "Url": format!("http://localhost:7071{path}"), "Method": method, "Query": {}, "Headers": {}, "Params": {},
            "Identities": [], "Body": body,
        } },
        "Metadata": {},
    });
    app.request("POST", &format!("/{function}"), request.to_string()).await
}

#[tokio::test]
async fn paths_ignore_case_and_a_trailing_slash() {
    let app = TestApp::start().await;
    let submitted = app.request("POST", "/API/Jobs/Submit/hello_world/", r#"{"n": 1}"#).await;
    assert_eq!(submitted.status, StatusCode::OK, "{}", submitted.body);
    let job_id = submitted.body["job_id"].as_str().unwrap();
    for path in [
        format!("/api/Jobs/Status/{job_id}"),
        format!("/api/jobs/status/{job_id}/"),
        format!("/API/JOBS/STATUS/{job_id}?wait=0"),
        format!("/Api/Db/Jobs/{job_id}/"),
        "/api/health/".to_owned(),
        "/api/Db/Tasks/?limit=1".to_owned(),
        "/api/Metrics/Comparison/".to_owned(),
    ] {
        let answer = app.request("GET", &path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
    let wrong_type = app.request("POST", "/api/jobs/submit/Hello_World", "{}").await;
    assert_eq!(
        (wrong_type.status, &wrong_type.body["error"]),
        (StatusCode::BAD_REQUEST, &json!("unknown job type")),
        "a name within an address is as it came"
    );
    let wrong_method = app.request("DELETE", "/api/Health/", "").await;
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/api/healthy", "/api/jobs//status/x", "/api/"] {
        assert_eq!(app.request("GET", path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn unforwarded_paths_ignore_case_and_slash() {
    let app = TestApp::start().await;
    let answer = described(&app, "health", "GET", "/api/Health/", Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["Outputs"]["res"]["statusCode"], "200", "{}", answer.body);
    let comparison =
        described(&app, "metrics_comparison", "GET", "/api/metrics/comparison", Value::Null).await;
    assert_eq!(
        (comparison.status, &comparison.body["Outputs"]["res"]["statusCode"]),
        (StatusCode::OK, &json!("200")),
        "{}",
        comparison.body
    );
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_skipped() {
    let app = TestApp::start().await;
    let plain = app.submit("hello_world", json!({ "n": 2 })).await;
    let marked = app.request("POST", "/api/jobs/submit/hello_world", "\u{feff}{\"n\": 2}").await;
    assert_eq!(marked.status, StatusCode::OK, "{}", marked.body);
    assert_eq!(marked.body["job_id"], plain.body["job_id"]);
    let marked = described(
        &app,
        "submit_job",
        "POST",
        "/api/jobs/submit/hello_world",
        json!("\u{feff}{\"n\": 2}"),
    )
    .await;
    assert_eq!(marked.body["Outputs"]["res"]["statusCode"], "200", "{}", marked.body);
    let order =
        app.request("POST", "/api/monitor/poison", "\u{feff}{\"action\": \"process\"}").await;
    assert_eq!(order.status, StatusCode::OK, "{}", order.body);
    let message = app.queue.take(QueueRole::Jobs).remove(0);
    let delivered = app.deliver("process_queue_job", &format!("\u{feff}{}", message.body)).await;
    assert_eq!(delivered.status, StatusCode::OK, "{}", delivered.body);
    assert_eq!(app.queue.count(QueueRole::Tasks), 2);
}

#[tokio::test]
async fn a_utf_16_body_is_refused_with_its_encoding() {
    let app = TestApp::start().await;
    let utf_16: Vec<u8> = "\u{feff}{\"n\": 2}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let answer = app.request("POST", "/api/jobs/submit/hello_world", utf_16).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.contains("UTF-16") && message.contains("UTF-8"), "{message}");
}
