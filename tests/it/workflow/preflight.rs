//! A job that cannot work is refused at submission, with the arithmetic.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::config::Timing;
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp};

#[tokio::test]
async fn preflight_reports_all_problems_at_once() {
    let timing = Timing {
        instances: 1000,
        tasks_in_flight: 10,
        task_timeout: Duration::from_secs(60),
        ..Timing::default()
    };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let parameters = json!({ "stages": [1_000_001, 5], "usual_ms": 10_000, "tasks_per_message": 100,
                             "time_limit_ms": 60_000, "note": "ü".repeat(200_000) });
    let answer = app.submit("probe", parameters).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    let checks: Vec<&str> = answer.body["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["check"].as_str().unwrap())
        .collect();
    assert_eq!(checks, ["payload", "tasks", "duration", "duration", "duration", "connections"]);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.contains("1000001 tasks; at most 1000000 are allowed"), "{message}");
    assert!(message.contains("1000 instance(s)") && message.contains("= 8000"), "{message}");
    let mut connection = app.connection().await;
    let jobs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(&mut connection).await.unwrap();
    assert_eq!(jobs, 0);
}
