//! Claims of many tasks at once: a claim is one row with one lease, and its tasks have no state of
//! their own until they need one. Users notice nothing of that.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RASTER, app_with_tasks, rasters, row};
use crate::harness::{TestApp, TestWorker, quick, with};

const AN_HOUR: Duration = Duration::from_secs(3600);

/// The number of tasks with this state of their own, and of claims.
async fn stored(app: &TestApp, status: &str) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM tasks WHERE status::text = $1), (SELECT count(*) FROM worker_claims)",
    )
    .bind(status)
    .fetch_one(&mut app.connection().await)
    .await
    .unwrap()
}

/// The number of outcomes with this answer.
fn answered(answers: &[Value], answer: &str) -> usize {
    answers.iter().filter(|one| one["answer"] == answer).count()
}

fn completed(task: &Value) -> Value {
    with(task, json!({ "outcome": "completed", "result": 1 }))
}

#[tokio::test]
async fn the_tasks_of_a_large_claim_are_written_once() {
    let (app, job_id) = app_with_tasks(60).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(50).await;
    assert_eq!(tasks.len(), 50);
    assert!(tasks.iter().all(|task| task["attempt"] == 1), "{tasks:?}");
    assert_eq!(stored(&app, "queued").await, (60, 1));
    let answers = worker.finish(tasks.iter().map(completed).collect()).await;
    assert_eq!(answered(&answers, "counted"), answers.len(), "{answers:?}");
    let first = row(&app, &tasks[0]).await;
    assert_eq!((&first["status"], &first["attempt"]), (&json!("completed"), &json!(1)));
    assert!(first["started_at"].is_string() && first["worker_id"].is_string(), "{first}");
    assert_eq!(worker.serve(|_| json!(1)).await, 10);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    app.time_passes(AN_HOUR).await;
    assert_eq!(app.controller.reconcile().await.unwrap(), Default::default());
    assert_eq!(stored(&app, "completed").await, (60, 0), "claims end with their leases");
}

#[tokio::test]
async fn outcomes_count_at_any_process() {
    let (app, job_id) = app_with_tasks(30).await;
    let tasks = TestWorker::of(&app, RASTER).claim(30).await;
    let workflows = rasters();
    let other = workflows.on(&app.url, Default::default(), quick()).await;
    let elsewhere = TestWorker::of(&other, RASTER);
    let outcomes = || tasks[..20].iter().map(completed).collect();
    for _ in 0..2 {
        let answers = elsewhere.finish(outcomes()).await;
        assert_eq!(answered(&answers, "counted"), answers.len(), "{answers:?}");
    }
    // This process gave them away, and does not know that they have ended.
    let worker = TestWorker::of(&app, RASTER);
    let answers = worker.finish(tasks.iter().map(completed).collect()).await;
    assert_eq!(answered(&answers, "counted"), answers.len(), "{answers:?}");
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn the_open_tasks_of_a_dead_claim_are_given_to_another_worker() {
    let (app, job_id) = app_with_tasks(25).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(25).await;
    worker.finish(tasks[..5].iter().map(completed).collect()).await;
    app.controller.reconcile().await.unwrap();
    assert!(worker.claim(25).await.is_empty(), "the lease has not expired");
    app.time_passes(AN_HOUR).await;
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!((report.dead_attempts_readied, report.dead_attempts_resent), (20, 0));
    assert_eq!(worker.beats(&tasks[5], json!({})).await, "lost");
    let answers = worker.finish(tasks.iter().map(completed).collect()).await;
    assert_eq!(answered(&answers, "counted"), 5, "{answers:?}");
    let again = worker.claim(25).await;
    assert_eq!(again.len(), 20);
    assert!(again.iter().all(|task| task["attempt"] == 2), "{again:?}");
    assert_eq!(
        worker.ends(&tasks[6], json!({ "outcome": "failed", "error": "late" })).await,
        "superseded"
    );
    worker.finish(again.iter().map(completed).collect()).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_task_that_still_runs_at_a_heartbeat_has_a_lease_of_its_own() {
    let (app, job_id) = app_with_tasks(20).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(20).await;
    let long = &tasks[7];
    let said = json!({ "progress": 0.5, "message": "reading" });
    assert_eq!(worker.beats(long, said).await, "continue");
    let shown = row(&app, long).await;
    assert_eq!(
        (&shown["status"], &shown["progress"], &shown["attempt"]),
        (&json!("processing"), &json!(0.5), &json!(1)),
    );
    for _ in 0..5 {
        app.time_passes(Duration::from_secs(40)).await;
        assert_eq!(worker.beats(long, json!({})).await, "continue");
    }
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.dead_attempts_readied, 19, "the others are lost");
    assert_eq!(worker.ends(long, json!({ "outcome": "completed", "result": 1 })).await, "counted");
    assert_eq!(worker.serve(|_| json!(1)).await, 19);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn the_log_of_a_task_is_kept_with_its_outcome() {
    let (app, _) = app_with_tasks(12).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(12).await;
    let end = json!({ "outcome": "failed", "error": "no", "error_type": "ValueError", "log_tail": "opened\n" });
    assert_eq!(worker.ends(&tasks[3], end).await, "counted");
    let [job, id] = ["job_id", "task_id"].map(|name| tasks[3][name].as_str().unwrap());
    let whole = app.request("GET", &format!("/api/db/tasks/{job}/{id}"), "").await.body;
    assert_eq!(whole["log"]["text"], "opened\n", "{whole}");
}

#[tokio::test]
async fn attempts_of_a_large_claim_may_be_tried_again_and_given_back() {
    let (app, job_id) = app_with_tasks(15).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(15).await;
    let retry = json!({ "outcome": "retry", "error": "once", "retry_after_seconds": 0 });
    assert_eq!(worker.ends(&tasks[0], retry).await, "counted");
    assert_eq!(worker.ends(&tasks[1], json!({ "outcome": "released" })).await, "counted");
    assert_eq!(worker.ends(&tasks[1], json!({ "outcome": "released" })).await, "counted");
    let again = worker.claim(15).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|task| task["attempt"] == 2), "{again:?}");
    let rest = tasks[2..].iter().chain(&again);
    let answers = worker.finish(rest.map(completed).collect()).await;
    assert_eq!(answered(&answers, "counted"), answers.len(), "{answers:?}");
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn an_attempt_of_a_cancelled_and_retried_job_decides_nothing() {
    let (app, job_id) = app_with_tasks(30).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(20).await;
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    assert_eq!(worker.beats(&tasks[0], json!({})).await, "cancelled");
    assert_eq!(
        worker.ends(&tasks[0], json!({ "outcome": "completed", "result": 0 })).await,
        "superseded"
    );
    let retry = app.control("retry", &job_id).await;
    assert_eq!(retry.status, 200, "{}", retry.body);
    let again = worker.claim(30).await;
    assert_eq!(again.len(), 30);
    assert!(again.iter().all(|task| task["attempt"] == 2), "{again:?}");
    let late = worker.finish(tasks.iter().map(completed).collect()).await;
    assert_eq!(answered(&late, "superseded"), 20, "{late:?}");
    worker.finish(again.iter().map(completed).collect()).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn one_claim_takes_the_tasks_of_many_small_jobs() {
    let (app, _) = app_with_tasks(0).await;
    for number in 0..30 {
        app.submitted("rasters", json!({ "list": [number] })).await;
    }
    app.run_dry().await;
    let worker = TestWorker::of(&app, RASTER);
    assert_eq!(worker.claim(25).await.len(), 25);
    assert_eq!(worker.claim(25).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_heartbeats_outcomes_and_sweeps_at_the_same_time_lose_nothing() {
    let (app, job_id) = app_with_tasks(500).await;
    let workflows = rasters();
    let other = workflows.on(&app.url, Default::default(), quick()).await;
    let workers = (0..12).map(|number| {
        let app = if number % 2 == 0 { &app } else { &other };
        let worker = TestWorker::of(app, RASTER);
        async move {
            let mut random = fastrand::Rng::with_seed(number);
            loop {
                let tasks = worker.claim(random.u16(1..60)).await;
                if tasks.is_empty() {
                    return;
                }
                for task in &tasks {
                    if random.u8(..10) == 0 {
                        worker.beats(task, json!({})).await;
                    }
                }
                let outcome = |task: &Value| match random.u8(..10) {
                    0 => with(task, json!({ "outcome": "released" })),
                    1 => with(
                        task,
                        json!({ "outcome": "retry", "error": "x", "retry_after_seconds": 0 }),
                    ),
                    _ => completed(task),
                };
                let outcomes: Vec<Value> = tasks.iter().map(outcome).collect();
                if random.u8(..4) == 0 {
                    let (_, _) =
                        tokio::join!(worker.finish(outcomes.clone()), worker.finish(outcomes));
                } else {
                    worker.finish(outcomes).await;
                }
            }
        }
    });
    let sweeps = async {
        for _ in 0..20 {
            app.controller.reconcile().await.unwrap();
            other.controller.reconcile().await.unwrap();
        }
    };
    tokio::join!(futures_util::future::join_all(workers), sweeps);
    // A task may have been passed over while others had locked its batch.
    let worker = TestWorker::of(&app, RASTER);
    for _ in 0..10 {
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
        worker.serve(|_| json!(1)).await;
        app.run_dry().await;
    }
    let status = app.status(&job_id).await;
    assert!(["completed", "failed"].contains(&status["status"].as_str().unwrap()), "{status}");
    let (completed, _) = stored(&app, "completed").await;
    let (failed, _) = stored(&app, "failed").await;
    assert_eq!(completed + failed, 500);
    app.assert_consistent(&job_id).await;
}
