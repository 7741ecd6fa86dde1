//! A job is one trace: the caller's trace context is in every message, over both paths, whoever
//! sends the message and however often.

use axum::{body::Body, http::Request};
use lastlight_engine::{
    model::{TraceParent, messages::TaskMessage},
    transport::sender::{OutgoingMessage, QueueRole},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Mailbox, OfThisApp, TestApp, catalog, quick};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn submit_with(app: &TestApp, parameters: Value, headers: &[&str]) {
    let mut request = Request::post("/api/jobs/submit/hello_world");
    for header in headers {
        request = request.header("traceparent", *header);
    }
    let request = request.body(Body::from(parameters.to_string())).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// The trace of a message: its body and, for Service Bus, its property agree.
fn trace_of(message: &OutgoingMessage) -> TraceParent {
    let body: Value = serde_json::from_str(&message.body).unwrap();
    let said = TraceParent::read(body["traceparent"].as_str().expect("the body says it")).unwrap();
    assert_eq!(message.trace, Some(said));
    said
}

async fn deliver_all(
    app: &TestApp,
    mailbox: &Mailbox,
    function: &str,
    role: QueueRole,
) -> Vec<TraceParent> {
    let messages = mailbox.take(role);
    for message in &messages {
        assert_eq!(app.deliver(function, &message.body).await.status, 200);
    }
    messages.iter().map(trace_of).collect()
}

#[tokio::test]
async fn messages_carry_the_trace_of_their_submission() {
    let app = TestApp::start().await;
    for (bus, tasks_per_message) in [(false, 1), (true, 1), (false, 10), (true, 10)] {
        let (mailbox, job, task) = match bus {
            false => (&app.queue, "process_queue_job", "process_queue_task"),
            true => (&app.bus, "process_sb_job", "process_sb_task"),
        };
        let parameters =
            json!({ "n": 30, "use_service_bus": bus, "tasks_per_message": tasks_per_message });
        submit_with(&app, parameters, &[CALLER]).await;
        let mut traces = Vec::new();
        for _stage in 1..=2 {
            traces.extend(deliver_all(&app, mailbox, job, QueueRole::Jobs).await);
            traces.extend(deliver_all(&app, mailbox, task, QueueRole::Tasks).await);
        }
        assert_eq!(traces.len(), 2 + 2 * 30 / tasks_per_message);
        for trace in traces {
            assert_eq!((trace.trace_id(), trace.is_sampled()), (TRACE, true));
        }
    }
}

#[tokio::test]
async fn a_missing_or_invalid_traceparent_is_replaced() {
    let app = TestApp::start().await;
    let bad = CALLER.to_uppercase();
    let cases: [&[&str]; 5] = [&[], &["nonsense"], &[&bad], &[CALLER, CALLER], &[""]];
    let mut seen = Vec::new();
    for (number, headers) in cases.into_iter().enumerate() {
        submit_with(&app, json!({ "n": number + 1 }), headers).await;
        let trace = trace_of(&app.queue.take(QueueRole::Jobs)[0]);
        assert_ne!(trace.trace_id(), TRACE);
        seen.push(trace.trace_id().to_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn a_repeated_submission_keeps_the_first_trace() {
    let app = TestApp::start().await;
    app.queue.set_down(true);
    submit_with(&app, json!({ "n": 2 }), &[CALLER]).await;
    submit_with(&app, json!({ "n": 2 }), &[&CALLER.replace("4bf9", "aaaa")]).await;
    app.queue.set_down(false);
    sqlx::query("UPDATE outbox SET next_send_at = now()")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.controller.reconcile().await.unwrap();
    assert_eq!(trace_of(&app.queue.take(QueueRole::Jobs)[0]).trace_id(), TRACE);
}

#[tokio::test]
async fn messages_sent_again_stay_in_the_trace() {
    let app = TestApp::with(catalog(), quick()).await;
    submit_with(&app, json!({ "n": 3 }), &[CALLER]).await;
    let tasks = app.planned().await;
    assert_eq!(tasks.len(), 3);
    // All of them are lost; reconcile sends them again.
    app.time_passes(quick().lost_after * 2).await;
    app.controller.reconcile().await.unwrap();
    let again = app.queue.take(QueueRole::Tasks);
    assert_eq!(again.len(), 3);
    for message in tasks.iter().chain(&again) {
        assert_eq!(trace_of(message).trace_id(), TRACE);
    }
}

#[tokio::test]
async fn an_invalid_traceparent_stops_no_message() {
    let app = TestApp::start().await;
    submit_with(&app, json!({ "n": 4 }), &[CALLER]).await;
    let bad = [json!("nonsense"), json!(7), json!({ "a": [] }), Value::Null];
    for (message, bad) in app.planned().await.iter().zip(bad) {
        let mut body: Value = serde_json::from_str(&message.body).unwrap();
        body["traceparent"] = bad;
        let Ok(TaskMessage::One(read)) = TaskMessage::decode(&body.to_string()) else {
            panic!("{body}");
        };
        assert_eq!(read.trace, None);
        assert_eq!(app.deliver("process_queue_task", &body.to_string()).await.status, 200);
    }
    assert_eq!(app.queue.count(QueueRole::Jobs), 1, "the stage ended");
}

#[tokio::test]
async fn a_job_stored_without_a_trace_still_runs() {
    let app = TestApp::start().await;
    submit_with(&app, json!({ "n": 2 }), &[]).await;
    sqlx::query("UPDATE jobs SET traceparent = NULL")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    for message in app.planned().await {
        assert!(!message.body.contains("traceparent"));
        assert_eq!(message.trace, None);
    }
}
