//! The status of a job: the progress of its stages, and long polls that wait for a change.

use std::time::{Duration, Instant};

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, Probe, TestApp, quick};

/// A long poll of 30 seconds that is answered within this time did not wait for its timeout.
const LONG_BEFORE_30_SECONDS: Duration = Duration::from_secs(25);

async fn wait(app: &TestApp, job_id: &str, seconds: u32) -> (Value, Duration) {
    let began = Instant::now();
    let path = format!("/api/jobs/status/{job_id}?wait={seconds}");
    let answer = app.request("GET", &path, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    (answer.body, began.elapsed())
}

#[tokio::test]
async fn progress_has_counts_rate_and_remaining_time() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [10, 1] })).await;
    let tasks = app.planned().await;
    let begun = app.status(&job_id).await["progress"][0].clone();
    assert_eq!((&begun["taskType"], &begun["planned"]), (&json!("probe"), &json!(true)));
    assert_eq!((&begun["open"], &begun["ratePerSecond"]), (&json!(10), &Value::Null));
    for task in tasks.iter().take(4) {
        app.deliver("process_queue_task", &task.body).await;
    }
    let going = app.status(&job_id).await["progress"][0].clone();
    assert_eq!((&going["completed"], &going["open"]), (&json!(4), &json!(6)));
    let (rate, eta) =
        (going["ratePerSecond"].as_f64().unwrap(), going["etaSeconds"].as_f64().unwrap());
    assert!(rate > 0.0 && (eta * rate - 6.0).abs() < 0.1, "{going}");
    assert_eq!(going["finishedAt"], Value::Null);
    for task in tasks.iter().skip(4) {
        app.deliver("process_queue_task", &task.body).await;
    }
    let status = app.run_until_finished(&job_id).await;
    let over = &status["progress"][0];
    assert_eq!((&over["etaSeconds"], &over["open"]), (&json!(0.0), &json!(0)));
    assert!(over["finishedAt"].is_string());
}

#[tokio::test]
async fn a_long_poll_ends_on_a_change_or_its_timeout() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    let (_, took) = wait(&app, &job_id, 1).await;
    assert!(took >= Duration::from_secs(1), "nothing happened: {took:?}");

    let happens = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.planned().await
    };
    let ((status, took), tasks) =
        futures_util::future::join(wait(&app, &job_id, 30), happens).await;
    assert!(took < LONG_BEFORE_30_SECONDS, "{took:?}");
    assert_eq!(status["status"], "processing");

    for task in &tasks {
        app.deliver("process_queue_task", &task.body).await;
    }
    app.run_dry().await;
    let (status, took) = wait(&app, &job_id, 30).await;
    assert_eq!(status["status"], "completed");
    assert!(took < LONG_BEFORE_30_SECONDS, "a finished job is not waited for: {took:?}");

    for (query, said) in [("wait=31", "31"), ("wait=-1", "-1"), ("wait=soon", "soon")] {
        let path = format!("/api/jobs/status/{job_id}?{query}");
        let answer = app.request("GET", &path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let message = answer.body["message"].as_str().unwrap();
        assert!(
            message.contains("wait must be a whole number from 0 to 30") && message.contains(said),
            "{message}"
        );
    }
    let unknown = format!("/api/jobs/status/{}?wait=5", "0".repeat(64));
    let answer = app.request("GET", &unknown, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn changes_between_polls_are_answered_at_once() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    let mut shown = app.status(&job_id).await;
    let tasks = app.planned().await;
    for task in &tasks[..2] {
        // No poll is waiting while it happens.
        let seen = shown["version"].as_str().unwrap();
        let began = Instant::now();
        let path = format!("/api/jobs/status/{job_id}?wait=30&seen={seen}");
        let answer = app.request("GET", &path, Body::empty()).await;
        assert!(began.elapsed() < LONG_BEFORE_30_SECONDS, "a change was missed: {shown}");
        assert_ne!(answer.body["version"], shown["version"]);
        shown = answer.body;
        app.deliver("process_queue_task", &task.body).await;
    }
    let version = app.status(&job_id).await["version"].clone();
    assert_eq!(version, app.status(&job_id).await["version"], "nothing has happened");
    let path = format!("/api/jobs/status/{job_id}?wait=1&seen={}", version.as_str().unwrap());
    let began = Instant::now();
    app.request("GET", &path, Body::empty()).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "nothing happened");

    let path = format!("/api/jobs/status/{job_id}?wait=1&seen=yesterday");
    let answer = app.request("GET", &path, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.body["message"],
        "seen must be the version of an earlier response, 16 lower-case hex digits, not \"yesterday\""
    );
}

#[tokio::test]
async fn long_polls_hold_no_database_connection() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1] })).await;
    // Many times the size of the pool, and longer than the timeout for a connection.
    let waiters = futures_util::future::join_all((0..200).map(|_| wait(&app, &job_id, 30)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        // The status is answered with 200 while all of them still wait.
        app.status(&job_id).await;
        app.planned().await
    };
    let (waited, tasks) = futures_util::future::join(waiters, meanwhile).await;
    assert_eq!((waited.len(), tasks.len()), (200, 1));
}

#[tokio::test]
async fn a_job_has_the_workflow_file_that_it_was_made_from() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let of_code = app.submitted("probe", json!({ "stages": [1] })).await;
    let of_file = app.submitted("probe", json!({ "stages": [2] })).await;
    let id = "a".repeat(64);
    let source = "workflow: probe\nversion: 3 # as written\n";
    let mut database = app.connection().await;
    sqlx::query(
        "INSERT INTO definitions (definition_id, name, version, source) VALUES ($1, 'probe', 3, $2)",
    )
    .bind(&id)
    .bind(source)
    .execute(&mut database)
    .await
    .unwrap();
    sqlx::query("UPDATE jobs SET definition_id = $1 WHERE job_id = $2")
        .bind(&id)
        .bind(&of_file)
        .execute(&mut database)
        .await
        .unwrap();
    let read = async |job_id: &str| {
        let path = format!("/api/db/jobs/{job_id}");
        app.request("GET", &path, Body::empty()).await.body
    };
    let definition = &read(&of_file).await["definition"];
    assert_eq!(*definition, json!({ "name": "probe", "version": 3, "source": source }));
    let answer = read(&of_code).await;
    assert!(answer.get("definition").is_none(), "a job type made in code has none: {answer}");
}
