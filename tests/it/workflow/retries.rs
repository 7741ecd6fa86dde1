//! A transient failure is retried after a pause, as often as the task's type allows; a permanent
//! failure is not.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, quick};

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_task_completes_after_two_transient_failures() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters = json!({ "stages": [5, 5], "stumbles": [2], "stumbling_attempts": 2 });
    let job_id = app.submitted("probe", parameters).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    let runs = probe.runs();
    assert_eq!((runs["1/2"], runs["1/1"], runs["2/2"]), (3, 1, 3));
    app.assert_consistent(&job_id).await;
    let audit = app.audit(&job_id).await;
    assert_eq!(audit["stages"][0]["attempts"], 7);
    assert_eq!(audit["stages"][0]["messagesResent"], 2, "{audit}");
}

#[tokio::test]
async fn a_task_fails_after_its_last_attempt() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters = json!({ "stages": [2], "stumbles": [0], "stumbling_attempts": 99 });
    let job_id = app.submitted("probe", parameters).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed");
    let details = status["errorDetails"].as_str().unwrap();
    assert!(details.contains("task 1/0 stumbled in attempt 3 (attempt 3 of 3)"), "{details}");
    assert_eq!(probe.runs()["1/0"], 3);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_permanent_failure_is_not_retried() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "fails": [1] })).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "failed");
    assert_eq!(probe.runs()["1/1"], 1);
}

#[tokio::test]
async fn a_retry_waits_until_it_is_due() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters = json!({ "stages": [1], "stumbles": [0], "stumbling_attempts": 1 });
    let job_id = app.submitted("probe", parameters).await;
    let first = app.planned().await.remove(0);
    app.deliver("process_queue_task", &first.body).await;
    let again = app.queue.take_delayed(QueueRole::Tasks).remove(0);
    assert_ne!(again.message_id, first.message_id, "duplicate detection would drop it");
    assert!(again.delay.unwrap() > Duration::from_millis(1100), "{again:?}");
    // The message that was already delivered, and the new one before it is due, which is postponed
    // so that the test is certain: neither runs the task.
    sqlx::query("UPDATE tasks SET due_at = due_at + interval '1 hour'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    for message in [&first, &again] {
        let answer = app.deliver("process_queue_task", &message.body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert_eq!(probe.runs()["1/0"], 1);
    app.time_passes(2 * AN_HOUR).await;
    app.deliver("process_queue_task", &again.body).await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert_eq!(probe.runs()["1/0"], 2);
}

#[tokio::test]
async fn the_sweep_resends_a_lost_retry_message() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let parameters = json!({ "stages": [1], "stumbles": [0], "stumbling_attempts": 1 });
    let job_id = app.submitted("probe", parameters).await;
    let first = app.planned().await.remove(0);
    app.deliver("process_queue_task", &first.body).await;
    assert_eq!(app.queue.take_delayed(QueueRole::Tasks).len(), 1);
    assert_eq!(app.sweep_until_finished(&job_id).await["status"], "completed");
    assert_eq!(probe.runs()["1/0"], 2);
}

#[tokio::test]
async fn a_task_that_kills_processes_fails_alone() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let parameters = json!({ "stages": [3], "waits": true });
    let job_id = app.submitted("probe", parameters).await;
    let messages = app.planned().await;
    let killer = [messages[1].body.clone()];
    for _ in 1..=3 {
        killed_with(&app, &probe, &killer, 1).await;
        app.time_passes(AN_HOUR).await;
    }
    probe.open_gate();
    for message in &messages {
        app.deliver("process_queue_task", &message.body).await;
    }
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed", "{status}");
    let details = status["errorDetails"].as_str().unwrap();
    assert!(details.contains("none of its 3 attempts finished"), "{details}");
    assert_eq!(status["progress"][0]["completed"], 2);
    assert_eq!(probe.runs()["1/1"], 3, "the fourth claim runs nothing");
    app.assert_consistent(&job_id).await;
}

/// Delivers messages at once and drops everything once this number of tasks run, like a process
/// that is killed with all its tasks.
async fn killed_with(app: &TestApp, probe: &Probe, messages: &[String], running: u32) {
    let before: u32 = probe.runs().values().sum();
    let deliveries = messages.iter().map(|message| app.deliver("process_queue_task", message));
    tokio::select! {
        answers = futures_util::future::join_all(deliveries) => panic!("nothing runs any more: {answers:?}"),
        () = probe.until_runs(before + running) => {}
    }
}

#[tokio::test]
async fn siblings_of_a_killer_task_keep_an_attempt() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "waits": true })).await;
    let mut messages: Vec<String> =
        app.planned().await.into_iter().map(|message| message.body).collect();
    for round in 1..=2 {
        assert!(messages.iter().all(|message| !message.contains("runs_alone")), "round {round}");
        killed_with(&app, &probe, &messages, 2).await;
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
        messages =
            app.queue.take(QueueRole::Tasks).into_iter().map(|message| message.body).collect();
        assert_eq!(messages.len(), 2, "round {round}");
    }
    // Each of them has one attempt left, and runs it alone.
    assert!(messages.iter().all(|message| message.contains("\"runs_alone\":true")));
    killed_with(&app, &probe, &messages, 1).await;
    let runs = probe.runs();
    let (died, waits): (Vec<_>, Vec<_>) =
        ["1/0", "1/1"].into_iter().partition(|task| runs[*task] == 3);
    assert_eq!((died.len(), waits.len()), (1, 1), "{runs:?}");
    app.time_passes(AN_HOUR).await;
    probe.open_gate();
    for message in &messages {
        app.deliver("process_queue_task", message).await;
    }
    let status = app.status(&job_id).await;
    assert_eq!(status["progress"][0]["completed"], 1, "{status}");
    assert_eq!(status["progress"][0]["failed"], 1, "{status}");
    let runs = probe.runs();
    assert_eq!(
        (runs[died[0]], runs[waits[0]]),
        (3, 3),
        "who waited ran its last attempt, who died had none left"
    );
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_task_that_runs_alone_excludes_all_others() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3], "sleeps_ms": 150 })).await;
    let messages = app.planned().await;
    let alone = messages[1].body.replacen('{', "{\"runs_alone\":true,", 1);
    let began = std::time::Instant::now();
    let bodies = [&messages[0].body, &alone, &messages[2].body];
    let answers =
        futures_util::future::join_all(bodies.map(|body| app.deliver("process_queue_task", body)))
            .await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    // One after the other; concurrently they would take as long as one.
    assert!(began.elapsed() >= Duration::from_millis(3 * 150), "{:?}", began.elapsed());
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_task_of_a_coarse_message_is_retried_alone() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters = json!({ "stages": [20], "tasks_per_message": 20, "stumbles": [7], "stumbling_attempts": 1 });
    let job_id = app.submitted("probe", parameters).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    let runs = probe.runs();
    assert_eq!(runs["1/7"], 2);
    assert_eq!(runs.values().sum::<u32>(), 21);
    assert_eq!(app.audit(&job_id).await["stages"][0]["messagesSent"], 2);
}
