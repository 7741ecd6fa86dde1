//! How attempts of workers end: each outcome counts once, and policies decide what comes next.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RASTER, app_with, app_with_tasks, row};
use crate::harness::{TestWorker, with};

/// Longer than every lease and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

fn completed() -> Value {
    json!({ "outcome": "completed", "result": { "success": true } })
}

#[tokio::test]
async fn an_outcome_that_is_said_again_counts_once() {
    let (app, job_id) = app_with_tasks(2).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(2).await;
    assert_eq!(worker.ends(&tasks[0], completed()).await, "counted");
    assert_eq!(worker.ends(&tasks[0], completed()).await, "counted");
    // The same attempt twice in one request.
    let twice = vec![with(&tasks[1], completed()), with(&tasks[1], completed())];
    let answers = worker.finish(twice).await;
    assert!(answers.iter().all(|answer| answer["answer"] == "counted"), "{answers:?}");
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    assert_eq!(worker.ends(&tasks[1], completed()).await, "counted", "after the job, too");
}

#[tokio::test]
async fn one_bad_outcome_does_not_keep_others_from_counting() {
    let (app, job_id) = app_with_tasks(100).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(100).await;
    let mut outcomes: Vec<Value> = tasks.iter().map(|task| with(task, completed())).collect();
    outcomes[41]["outcome"] = json!("done");
    let answers = worker.finish(outcomes).await;
    let counted = answers.iter().filter(|answer| answer["answer"] == "counted").count();
    assert_eq!(counted, 99);
    assert_eq!(answers[41]["answer"], "invalid");
    assert_eq!(answers[41]["task_id"], tasks[41]["task_id"]);
    assert_eq!(
        answers[41]["error"],
        "outcomes[41].outcome must be \"completed\", \"failed\", \"retry\", \"released\", not \"done\""
    );
    assert_eq!(app.status(&job_id).await["status"], "processing");
    assert_eq!(worker.ends(&tasks[41], completed()).await, "counted");
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_after_a_pause() {
    let (app, _) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let first = worker.claim(1).await.remove(0);
    let failed = json!({ "outcome": "failed", "error": "no tile", "error_type": "HTTPError" });
    assert_eq!(worker.ends(&first, failed.clone()).await, "counted");
    assert_eq!(worker.ends(&first, failed).await, "counted", "said again");
    let task = row(&app, &first).await;
    assert_eq!((&task["status"], &task["attempt"]), (&json!("retrying"), &json!(1)), "{task}");
    assert_eq!(task["error_details"], "HTTPError: no tile");
    app.time_passes(AN_HOUR).await;
    let second = worker.claim(1).await.remove(0);
    assert_eq!(second["attempt"], 2);
    assert_eq!(worker.ends(&first, completed()).await, "superseded");
    assert_eq!(worker.ends(&second, completed()).await, "counted");
    assert_eq!(row(&app, &first).await["status"], "completed");
}

#[tokio::test]
async fn a_retry_names_its_own_pause_and_attempts_run_out() {
    let (app, job_id) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let retry = json!({ "outcome": "retry", "error": "later", "retry_after_seconds": 1800 });
    for attempt in 1..=3 {
        let task = worker.claim(1).await.remove(0);
        assert_eq!(task["attempt"], attempt);
        assert_eq!(worker.ends(&task, retry.clone()).await, "counted");
        app.time_passes(Duration::from_secs(600)).await;
        assert!(worker.claim(1).await.is_empty(), "the pause is not over");
        app.time_passes(AN_HOUR).await;
    }
    let task = worker.claim(1).await.remove(0);
    assert_eq!(worker.ends(&task, retry).await, "counted");
    let task = row(&app, &task).await;
    assert_eq!(task["status"], "failed", "{task}");
    assert_eq!(task["error_details"], "later (attempt 4 of 4)");
    assert_eq!(app.status(&job_id).await["status"], "failed");
}

#[tokio::test]
async fn an_error_that_no_attempt_changes_fails_the_task_at_once() {
    let (app, _) = app_with_tasks(3).await;
    let worker = TestWorker::of(&app, RASTER);
    for (task, kind) in worker.claim(3).await.iter().zip([
        "ValueError",
        "Permanent",
        "azure.core.ResourceNotFoundError",
    ]) {
        let failed = json!({ "outcome": "failed", "error": "wrong", "error_type": kind });
        assert_eq!(worker.ends(task, failed).await, "counted");
        let task = row(&app, task).await;
        assert_eq!(task["status"], "failed");
        assert_eq!(task["error_details"], format!("{kind}: wrong"));
    }
}

#[tokio::test]
async fn a_handler_may_answer_that_it_failed() {
    let (app, _) = app_with_tasks(2).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(2).await;
    let answer = |kind: &str| {
        let result = json!({ "success": false, "error": "no", "error_type": kind });
        json!({ "outcome": "completed", "result": result })
    };
    assert_eq!(worker.ends(&tasks[0], answer("ValueError")).await, "counted");
    assert_eq!(row(&app, &tasks[0]).await["status"], "failed");
    assert_eq!(worker.ends(&tasks[1], answer("TimeoutError")).await, "counted");
    assert_eq!(row(&app, &tasks[1]).await["status"], "retrying");
}

#[tokio::test]
async fn the_policy_of_a_node_decides_how_often_it_is_tried() {
    let app = app_with(
        "workflow: one\nnodes:\n  a:\n    {type: task, handler: raster, timeout_seconds: 90, retry: {max_attempts: 2}}\n",
    )
    .await;
    let job_id = app.submitted("one", json!({})).await;
    app.run_dry().await;
    let worker = TestWorker::of(&app, RASTER);
    for _ in 0..2 {
        let task = worker.claim(1).await.remove(0);
        assert_eq!(task["timeout_seconds"], 90.0, "{task}");
        let failed = json!({ "outcome": "failed", "error": "no" });
        assert_eq!(worker.ends(&task, failed).await, "counted");
        app.time_passes(AN_HOUR).await;
    }
    assert!(worker.claim(1).await.is_empty());
    assert_eq!(app.status(&job_id).await["status"], "failed");
}

#[tokio::test]
async fn a_released_task_is_ready_at_once_and_its_attempt_does_not_count() {
    let (app, job_id) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    for attempt in 1..=9 {
        let task = worker.claim(1).await.remove(0);
        assert_eq!(task["attempt"], attempt);
        assert_eq!(worker.ends(&task, json!({ "outcome": "released" })).await, "counted");
        assert_eq!(worker.ends(&task, json!({ "outcome": "released" })).await, "counted");
    }
    let task = worker.claim(1).await.remove(0);
    let retry = json!({ "outcome": "retry", "error": "once", "retry_after_seconds": 0 });
    assert_eq!(worker.ends(&task, retry).await, "counted");
    assert_eq!(row(&app, &task).await["status"], "retrying", "it is the first that counts");
    worker.serve(|_| json!(1)).await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn an_attempt_whose_worker_died_is_followed_by_another() {
    let (app, job_id) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let mut last = Value::Null;
    for attempt in 1..=4 {
        let task = worker.claim(1).await.remove(0);
        assert_eq!(task["attempt"], attempt);
        assert!(worker.claim(1).await.is_empty());
        app.time_passes(AN_HOUR).await;
        let report = app.controller.reconcile().await.unwrap();
        assert_eq!((report.dead_attempts_readied, report.dead_attempts_resent), (1, 0));
        assert_eq!(worker.beats(&task, json!({})).await, "lost");
        last = task;
    }
    assert_eq!(worker.ends(&last, completed()).await, "superseded");
    assert!(worker.claim(1).await.is_empty(), "four attempts died, and there is no fifth");
    let task = row(&app, &last).await;
    let reason = task["error_details"].as_str().unwrap();
    assert!(reason.starts_with("none of its 4 attempts finished"), "{reason}");
    assert_eq!(app.status(&job_id).await["status"], "failed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn heartbeats_keep_an_attempt_alive() {
    let (app, _) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let task = worker.claim(1).await.remove(0);
    for _ in 0..5 {
        app.time_passes(Duration::from_secs(40)).await;
        assert_eq!(worker.beats(&task, json!({})).await, "continue");
        app.controller.reconcile().await.unwrap();
    }
    let said = json!({ "progress": 0.5, "message": "reading", "log_tail": "opened\n" });
    assert_eq!(worker.beats(&task, said).await, "continue");
    let shown = row(&app, &task).await;
    assert_eq!(
        (&shown["progress"], &shown["message"]),
        (&json!(0.5), &json!("reading")),
        "{shown}"
    );
    assert_eq!(worker.beats(&task, json!({ "progress": 0.75 })).await, "continue");
    let shown = row(&app, &task).await;
    assert_eq!((&shown["progress"], &shown["message"]), (&json!(0.75), &json!("reading")));
    let mut end = completed();
    end["log_tail"] = json!(format!("{}the end", "x".repeat(100_000)));
    assert_eq!(worker.ends(&task, end).await, "counted");
    let path = format!("/api/db/tasks/{}/{}", text(&task["job_id"]), text(&task["task_id"]));
    let whole = app.request("GET", &path, "").await.body;
    let log = whole["log"]["text"].as_str().unwrap();
    assert!(log.len() == 64 * 1024 && log.ends_with("the end"), "{} bytes", log.len());
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn results_that_cannot_be_stored_fail_their_task_with_the_reason() {
    let (app, _) = app_with_tasks(4).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(4).await;
    let results = [
        format!("\"{}\"", "x".repeat(2 * 1024 * 1024)),
        format!("{}{}", "[".repeat(100), "]".repeat(100)),
        r#""half of a character: \ud800""#.to_owned(),
        "1e999".to_owned(),
    ];
    let reasons =
        ["the result has", "nested 100 deep", "the result cannot be stored", "number out of range"];
    for ((task, result), reason) in tasks.iter().zip(results).zip(reasons) {
        let outcome = with(task, json!({ "outcome": "completed", "result": null })).to_string();
        let outcome = outcome.replace("\"result\":null", &format!("\"result\":{result}"));
        let body = format!("{{\"worker_id\":\"w\",\"outcomes\":[{outcome}]}}");
        let answer = app.request("POST", "/api/workers/finish", body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["outcomes"][0]["answer"], "counted", "{}", answer.body);
        let shown = row(&app, task).await;
        assert_eq!(shown["status"], "failed", "{shown}");
        assert!(text(&shown["error_details"]).contains(reason), "{shown}");
    }
}

#[tokio::test]
async fn an_error_may_have_any_text() {
    let (app, _) = app_with_tasks(2).await;
    let worker = TestWorker::of(&app, RASTER);
    let tasks = worker.claim(2).await;
    let outcome = json!({ "outcome": "failed", "error": "E", "error_type": "ValueError" });
    let outcome = with(&tasks[0], outcome).to_string();
    let outcome = outcome.replace("\"E\"", r#""a\u0000b\ud800c""#);
    let body = format!("{{\"worker_id\":\"w\",\"outcomes\":[{outcome}]}}");
    let answer = app.request("POST", "/api/workers/finish", body).await;
    assert_eq!(answer.body["outcomes"][0]["answer"], "counted", "{}", answer.body);
    assert_eq!(row(&app, &tasks[0]).await["error_details"], "ValueError: a\u{fffd}b\u{fffd}c");
    let long =
        json!({ "outcome": "failed", "error": "é".repeat(100_000), "error_type": "ValueError" });
    assert_eq!(worker.ends(&tasks[1], long).await, "counted");
    let reason = text(&row(&app, &tasks[1]).await["error_details"]).to_owned();
    assert!(reason.chars().count() < 10_000 && reason.ends_with("bytes)"), "{}", reason.len());
}

#[tokio::test]
async fn a_result_must_be_what_the_stage_of_a_job_type_returns() {
    use crate::harness::{OfThisApp, TestApp};
    let app = TestApp::start().await;
    app.submitted("hello_world", json!({ "n": 1, "use_workers": true })).await;
    app.run_dry().await;
    let worker = TestWorker::of(&app, &["hello_world_greeting"]);
    let task = worker.claim(1).await.remove(0);
    let outcome = json!({ "outcome": "completed", "result": { "greeting": 5 } });
    assert_eq!(worker.ends(&task, outcome).await, "counted");
    let task = row(&app, &task).await;
    assert_eq!(task["status"], "failed", "{task}");
    assert!(text(&task["error_details"]).contains("greeting"), "{task}");
}

#[tokio::test]
async fn attempts_that_do_not_exist_are_unknown() {
    let (app, _) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let mut task = worker.claim(1).await.remove(0);
    task["task_id"] = json!("no such task");
    assert_eq!(worker.ends(&task, completed()).await, "unknown");
    assert_eq!(worker.beats(&task, json!({})).await, "lost");
}

#[tokio::test]
async fn the_reason_of_a_retry_is_cut_like_any_other() {
    let (app, _) = app_with_tasks(1).await;
    let worker = TestWorker::of(&app, RASTER);
    let task = worker.claim(1).await.remove(0);
    let error = "x".repeat(100_000);
    let retry = json!({ "outcome": "retry", "error": error, "retry_after_seconds": 60 });
    assert_eq!(worker.ends(&task, retry).await, "counted");
    let reason = text(&row(&app, &task).await["error_details"]).to_owned();
    assert!(reason.len() < 10_000 && reason.ends_with("(100000 bytes)"), "{}", reason.len());
}
