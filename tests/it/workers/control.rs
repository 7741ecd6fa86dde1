//! Cancelling, retrying and deleting jobs whose tasks are at workers.

use std::time::Duration;

use serde_json::json;

use super::{RASTER, app_with_tasks};
use crate::harness::TestWorker;

const AN_HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_tasks_of_a_cancelled_job_are_stopped_and_not_given_away() {
    let (app, job_id) = app_with_tasks(5).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(2).await;
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    assert!(worker.claim(5).await.is_empty());
    assert_eq!(worker.beats(&tasks[0], json!({})).await, "cancelled");
    let outcome = json!({ "outcome": "completed", "result": 1 });
    assert_eq!(worker.ends(&tasks[0], outcome).await, "superseded");
    assert_eq!(worker.ends(&tasks[1], json!({ "outcome": "released" })).await, "superseded");
    assert!(worker.claim(5).await.is_empty());
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled");
    assert_eq!(status["progress"][0]["skipped"], 5, "{status}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retried_job_gives_its_open_tasks_to_workers_again() {
    let (app, job_id) = app_with_tasks(5).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(3).await;
    assert_eq!(
        worker.ends(&tasks[0], json!({ "outcome": "completed", "result": 1 })).await,
        "counted"
    );
    let failed = json!({ "outcome": "failed", "error": "no", "error_type": "ValueError" });
    assert_eq!(worker.ends(&tasks[1], failed).await, "counted");
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    let retry = app.control("retry", &job_id).await;
    assert_eq!(retry.status, 200, "{}", retry.body);
    assert_eq!(worker.beats(&tasks[2], json!({})).await, "lost");
    assert_eq!(worker.serve(|_| json!(1)).await, 4);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    app.time_passes(AN_HOUR).await;
    assert_eq!(app.controller.reconcile().await.unwrap(), Default::default());
}

#[tokio::test]
async fn an_idle_queue_of_workers_gives_the_sweep_nothing_to_do() {
    let (app, job_id) = app_with_tasks(150).await;
    for _ in 0..3 {
        app.time_passes(AN_HOUR).await;
        assert_eq!(app.controller.reconcile().await.unwrap(), Default::default());
    }
    let worker = TestWorker::of(&app, RASTER);
    assert_eq!(worker.serve(|_| json!(1)).await, 150);
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_paused_job_gives_out_the_tasks_of_its_stage() {
    let (app, job_id) = app_with_tasks(3).await;
    assert_eq!(app.control("pause", &job_id).await.status, 200);
    let worker = TestWorker::of(&app, RASTER);
    assert_eq!(worker.serve(|_| json!(1)).await, 3);
    assert_eq!(app.status(&job_id).await["status"], "completed");
}
