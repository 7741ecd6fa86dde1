//! Dropping the schema over HTTP: disabled by default, and never by accident.

use axum::{body::Body, http::StatusCode};
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp};

async fn with_schema_admin() -> TestApp {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let router = crate::harness::router_of(&app.controller, true);
    TestApp { router, ..app }
}

#[tokio::test]
async fn schema_administration_is_off_by_default() {
    let app = TestApp::start().await;
    for action in ["nuke", "redeploy"] {
        let path = format!("/api/db/schema/{action}?confirm=yes");
        let answer = app.request("POST", &path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains("ENABLE_SCHEMA_ADMIN=true"));
    }
}

#[tokio::test]
async fn schema_administration_needs_a_confirmation() {
    let app = with_schema_admin().await;
    let job_id = app.submitted("probe", json!({ "stages": [1] })).await;
    for query in ["", "?confirm=", "?confirm=no", "?confirm=YES"] {
        let answer =
            app.request("POST", &format!("/api/db/schema/nuke{query}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.body);
    }
    assert_eq!(
        app.request("GET", "/api/db/schema/nuke?confirm=yes", Body::empty()).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(app.status(&job_id).await["status"], "queued");
}

#[tokio::test]
async fn a_redeploy_restores_a_dropped_schema() {
    let app = with_schema_admin().await;
    let job_id = app.submitted("probe", json!({ "stages": [1] })).await;
    let answer = app.request("POST", "/api/db/schema/nuke?confirm=yes", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let path = format!("/api/jobs/status/{job_id}");
    let missing = app.request("GET", &path, Body::empty()).await;
    assert_eq!(missing.status, StatusCode::SERVICE_UNAVAILABLE, "{}", missing.body);
    let answer = app.request("POST", "/api/db/schema/redeploy?confirm=yes", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.request("GET", &path, Body::empty()).await.status, StatusCode::NOT_FOUND);
    // Removes the message of the deleted job.
    app.queue.take(QueueRole::Jobs);
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}
