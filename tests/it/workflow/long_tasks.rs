//! Long tasks: no invocation stays open for tasks that could also start in another one, none is
//! open longer than the host's timeout, and a message that only waited costs its task nothing.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{StreamExt, stream::FuturesUnordered};
use lastlight_engine::{
    config::Timing,
    transport::sender::{OutgoingMessage, QueueRole},
};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, quick};

/// One task at a time, and a host that ends the process after 8 seconds: a task waits in an
/// invocation for up to 2 seconds.
fn narrow() -> Timing {
    Timing {
        function_timeout: Duration::from_secs(8),
        tasks_in_flight: 1,
        lease: Duration::from_secs(10),
        lost_after: Duration::from_secs(60),
        ..quick()
    }
}

/// Status, attempt, whether a new message is due or on its way, and the number of redeliveries, of
/// each task in order.
async fn tasks(app: &TestApp) -> Vec<(String, i16, bool, i16)> {
    sqlx::query_as(
        "SELECT status::text, attempt::smallint, next_send_at IS NOT NULL, COALESCE(poisoned, 0)::smallint
         FROM tasks ORDER BY task_id",
    )
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap()
}

async fn deferred(app: &TestApp) -> usize {
    let tasks = tasks(app).await;
    for (status, attempt, _, _) in tasks.iter().filter(|(_, _, due, _)| *due) {
        assert_eq!((status.as_str(), *attempt), ("pending_queue", 0));
    }
    tasks.iter().filter(|(_, _, due, _)| *due).count()
}

/// The job finishes with one attempt per task.
async fn ends_in_first_attempts(app: &TestApp, job_id: &str) {
    app.controller.send_deferred_in_background();
    let status = app.run_until_finished(job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    for (status, attempt, due, redelivered) in tasks(app).await {
        assert_eq!((status.as_str(), attempt, due, redelivered), ("completed", 1, false, 0));
    }
    app.assert_consistent(job_id).await;
}

/// The bodies of messages.
fn bodies(messages: &[OutgoingMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn tasks_without_a_permit_lose_no_attempt() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), narrow()).await;
    let job_id = app
        .submitted("probe", json!({ "stages": [4], "sleeps_ms": 2500, "use_service_bus": true }))
        .await;
    let messages = app.planned_over_bus().await;
    let answer = app.deliver_many("process_sb_task", &bodies(&messages)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(deferred(&app).await, 3, "one ran, and the others are answered");
    assert_eq!(app.status(&job_id).await["progress"][0]["open"], 3);
    ends_in_first_attempts(&app, &job_id).await;
    assert!(probe.ledger.lock().unwrap().values().all(|runs| *runs == 1));
}

#[tokio::test]
async fn waiting_tasks_do_not_delay_the_answer() {
    let app = TestApp::with_probe(Probe::default(), narrow()).await;
    let job_id = app
        .submitted("probe", json!({ "stages": [4], "sleeps_ms": 2500, "tasks_per_message": 4 }))
        .await;
    let messages = app.planned().await;
    assert_eq!(messages.len(), 1);
    let answer = app.deliver("process_queue_task", &messages[0].body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(deferred(&app).await, 3);
    ends_in_first_attempts(&app, &job_id).await;
}

#[tokio::test]
async fn deferred_tasks_of_dead_processes_are_sent() {
    let url = crate::harness::new_database_url().await;
    let gone = TestApp::on(&url, probes(), narrow()).await;
    let job_id = gone.submitted("probe", json!({ "stages": [3], "sleeps_ms": 2500 })).await;
    let messages = gone.planned().await;
    gone.deliver_each("process_queue_task", &messages).await;
    assert_eq!(deferred(&gone).await, 2);
    drop(gone);
    let app = TestApp::on(&url, probes(), Timing::default()).await;
    let answer = app.deliver("reconcile", "{}").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.queue.count(QueueRole::Tasks), 2);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
}

fn probes() -> lastlight_engine::job::erased::Catalog {
    Probe::default().add_to(catalog())
}

#[tokio::test]
async fn a_slow_plan_continues_in_another_invocation() {
    let app = TestApp::with_probe(Probe::default(), narrow()).await;
    let job_id = app.submitted("probe", json!({ "stages": [250], "plan_sleeps_ms": 20 })).await;
    let mut invocations = 0;
    let mut planned = 0;
    loop {
        let job = app.queue.take(QueueRole::Jobs);
        let Some(job) = job.first() else { break };
        let answer = app.deliver("process_queue_job", &job.body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let rows = tasks(&app).await.len();
        assert!(rows > planned, "each invocation gets further");
        planned = rows;
        invocations += 1;
    }
    assert_eq!(planned, 250);
    assert!(invocations > 1, "five seconds do not fit into two");
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_dead_letter_of_a_deferred_task_is_ignored() {
    let app = TestApp::with_probe(Probe::default(), narrow()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "sleeps_ms": 2500 })).await;
    let messages = app.planned().await;
    let deliveries =
        messages.iter().map(|message| app.deliver("process_queue_task", &message.body));
    futures_util::future::join_all(deliveries).await;
    assert_eq!(deferred(&app).await, 1);
    let before = tasks(&app).await;
    for message in &messages {
        let answer = app.deliver("process_queue_task_poison", &message.body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert_eq!(
        app.queue.count(QueueRole::Tasks),
        0,
        "a deferred task gets a new message in any case"
    );
    assert_eq!(tasks(&app).await, before);
    ends_in_first_attempts(&app, &job_id).await;
}

#[tokio::test]
async fn a_dead_letter_that_only_waited_is_not_counted() {
    let app = TestApp::with_probe(Probe::default(), narrow()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "use_service_bus": true })).await;
    let mut messages = app.planned_over_bus().await;
    // More often than a message is redelivered whose deliveries failed.
    for _ in 0..8 {
        assert_eq!(messages.len(), 1);
        // As long as ten locks.
        let mut waited: Value = serde_json::from_str(&messages[0].body).unwrap();
        let ago = time::OffsetDateTime::now_utc() - Duration::from_secs(120);
        waited["timestamp"] = json!(lastlight_engine::model::timestamp::write_naive(ago));
        let answer = app.deliver("process_sb_task_dead_letter", &waited.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(deferred(&app).await, 1);
        let answer = app.deliver("reconcile", "{}").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        messages = app.bus.take(QueueRole::Tasks);
        // As if that message had waited as long.
        let mut connection = app.connection().await;
        connection.execute("UPDATE tasks SET next_send_at = NULL").await.unwrap();
    }
    app.deliver_many("process_sb_task", &bodies(&messages)).await;
    ends_in_first_attempts(&app, &job_id).await;
}

#[tokio::test]
async fn an_attempt_ends_within_the_host_timeout() {
    let timing = Timing { function_timeout: Duration::from_secs(2), max_attempts: 1, ..narrow() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "sleeps_ms": 60_000 })).await;
    let messages = app.planned().await;
    let answer = app.deliver("process_queue_task", &messages[0].body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let error: String =
        sqlx::query_scalar("SELECT error_details FROM tasks WHERE parent_job_id = $1")
            .bind(&job_id)
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
    let seconds: f64 = error
        .split_once("the attempt took longer than ")
        .and_then(|(_, rest)| rest.split_once(" s"))
        .expect(&error)
        .0
        .parse()
        .unwrap();
    assert!(seconds < 2.0, "{error}");
    assert!(error.contains("functionTimeout in host.json"), "{error}");
}

#[tokio::test]
async fn a_slow_request_ends_within_the_host_timeout() {
    let timing = Timing { function_timeout: Duration::from_secs(1), ..narrow() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    app.submitted("probe", json!({ "stages": [1] })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let mut connection = app.connection().await;
    connection.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let answer = app.deliver("process_queue_job", &job.body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert_eq!(answer.body["error"], "took too long", "{}", answer.body);
}

#[tokio::test]
async fn tasks_without_memory_lose_no_attempt() {
    let probe = Probe::default();
    let timing = Timing {
        function_timeout: Duration::from_secs(24),
        // Half of the memory is for inputs, which take twice their size in memory: enough for two
        // of these tasks.
        memory: 16 * 1024 * 1024,
        ..quick()
    };
    let app = TestApp::with_probe(probe.clone(), timing).await;
    let job_id = app
        .submitted("probe", json!({ "stages": [6], "waits": true, "parameter_bytes": 1_500_000 }))
        .await;
    let messages = app.planned().await;
    let mut running: FuturesUnordered<_> =
        messages.iter().map(|message| app.deliver("process_queue_task", &message.body)).collect();
    // The other two tasks wait at the gate.
    for _ in 0..4 {
        let answer = running.next().await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert_eq!(app.controller.process_metrics().tasks_deferred, 4);
    probe.open_gate();
    while let Some(answer) = running.next().await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    app.controller.send_deferred_in_background();
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status:.2000}");
    let attempts: Vec<i16> =
        sqlx::query_scalar("SELECT attempt - COALESCE(attempts_forgiven, 0)::smallint FROM tasks")
            .fetch_all(&mut app.connection().await)
            .await
            .unwrap();
    assert_eq!(attempts, [1; 6], "each counts one attempt, that which ran it");
    assert!(probe.ledger.lock().unwrap().values().all(|runs| *runs == 1));
    app.assert_consistent(&job_id).await;
}
