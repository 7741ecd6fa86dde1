//! Payloads of the real host, answered according to its contract.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{OfThisApp, TestApp};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/host/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test]
async fn every_host_payload_is_answered_per_contract() {
    let app = TestApp::start().await;
    let succeeded = json!({ "Outputs": {}, "Logs": [], "ReturnValue": null });
    let submitted = app.request("POST", "/submit_job", fixture("http_not_forwarded")).await;
    assert_eq!(submitted.status, StatusCode::OK);
    let described = &submitted.body["Outputs"]["res"];
    assert_eq!(described["statusCode"], "200");
    let body: Value = serde_json::from_str(described["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["status"], "created");
    for (name, function) in [
        ("queue_job", "process_queue_job"),
        ("queue_task", "process_queue_task"),
        ("queue_task_documented_shape", "process_queue_task"),
        ("queue_task_redelivered", "process_queue_task"),
        ("sb_job", "process_sb_job"),
        ("sb_task_one", "process_sb_task"),
        ("sb_task_many", "process_sb_task"),
        ("timer", "reconcile"),
    ] {
        for delivery in ["first", "second"] {
            let answer = app.request("POST", &format!("/{function}"), fixture(name)).await;
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{name}, {delivery} delivery: {}",
                answer.body
            );
            assert_eq!(answer.body, succeeded, "{name}");
        }
    }
    let status = app.status(body["job_id"].as_str().unwrap()).await;
    assert_eq!(status["progress"][0]["completed"], 7, "greet_0 to greet_6: {status}");
}

#[tokio::test]
async fn a_payload_of_an_unknown_job_answers_json_404() {
    let app = TestApp::start().await;
    for (name, function) in
        [("queue_job", "process_queue_job"), ("sb_task_many", "process_sb_task")]
    {
        let answer = app.request("POST", &format!("/{function}"), fixture(name)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
        assert_eq!(answer.body["error"], "unknown job");
    }
}

#[tokio::test]
async fn unforwarded_requests_get_the_same_errors() {
    let app = TestApp::start().await;
    let bad = fixture("http_not_forwarded").replace("{\\\"n\\\":10}", "{\\\"n\\\":0}");
    let answer = app.request("POST", "/submit_job", bad).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["Outputs"]["res"]["statusCode"], "400");
}

#[tokio::test]
async fn an_unreadable_unforwarded_path_is_refused() {
    let app = TestApp::start().await;
    let bad = fixture("http_not_forwarded").replace("submit/hello_world", "submit/%FF");
    let answer = app.request("POST", "/submit_job", bad).await;
    let described = &answer.body["Outputs"]["res"];
    assert_eq!(described["statusCode"], "400", "{}", answer.body);
    let body: Value = serde_json::from_str(described["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["error"], "bad path");
}

#[tokio::test]
async fn a_405_answer_names_the_allowed_methods() {
    let app = TestApp::start().await;
    for (path, allowed) in [
        ("/process_queue_task", "POST"),
        ("/submit_job", "POST"),
        ("/api/jobs/submit/hello_world", "POST"),
        ("/api/monitor/poison", "GET,HEAD,POST"),
    ] {
        let request = Request::builder().method("PUT").uri(path).body(Body::empty());
        let response = app.router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()["allow"], allowed, "{path}");
    }
}
