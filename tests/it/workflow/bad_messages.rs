//! Invariant 5: a message that cannot be processed blocks nothing and is never lost.

use axum::http::StatusCode;
use lastlight_engine::{model::messages::TaskReference, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, TestApp};

const JOB: &str = "83b3132f96c4a33d568f94fbc9db66f7870f8ca7a8294b3cbc9326190d8e0f5d";

#[tokio::test]
async fn invalid_job_messages_fail_with_a_reason() {
    let app = TestApp::start().await;
    app.submitted("hello_world", json!({ "n": 10 })).await;
    let message = |change: serde_json::Value| {
        let mut message = json!({ "job_id": JOB, "job_type": "hello_world", "stage": 1 });
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        message.to_string()
    };
    let cases = [
        ("not json at all".to_owned(), StatusCode::BAD_REQUEST, "not JSON"),
        ("{\"job_id\": ".to_owned(), StatusCode::BAD_REQUEST, "not JSON"),
        ("null".to_owned(), StatusCode::BAD_REQUEST, "must be a JSON object, not null"),
        (
            // This is not an empty batch of messages.
            "[]".to_owned(),
            StatusCode::BAD_REQUEST,
            "must be a JSON object, not an array",
        ),
        (
            json!({ "job_type": "hello_world", "stage": 1 }).to_string(),
            StatusCode::BAD_REQUEST,
            "lacks job_id",
        ),
        (
            message(json!({ "job_id": "12" })),
            StatusCode::BAD_REQUEST,
            "job_id must be 64 hexadecimal digits, not \"12\"",
        ),
        (
            message(json!({ "stage": 0 })),
            StatusCode::BAD_REQUEST,
            "stage must be a whole number from 1 to 100, not 0",
        ),
        (
            message(json!({ "parameters": [] })),
            StatusCode::BAD_REQUEST,
            "parameters must be an object",
        ),
        (message(json!({ "retry_count": 11 })), StatusCode::BAD_REQUEST, "retry_count must be"),
        (
            message(json!({ "timestamp": "yesterday" })),
            StatusCode::BAD_REQUEST,
            "timestamp must be",
        ),
        (
            message(json!({ "job_type": "goodbye_world" })),
            StatusCode::BAD_REQUEST,
            "no job type \"goodbye_world\"",
        ),
        (
            message(json!({ "job_type": "sb_hello_world" })),
            StatusCode::BAD_REQUEST,
            "its type is \"hello_world\"",
        ),
        (message(json!({ "job_id": "a".repeat(64) })), StatusCode::NOT_FOUND, "there is no job"),
        (message(json!({ "stage": 2 })), StatusCode::CONFLICT, "stage 2 has not begun"),
    ];
    for (text, status, words) in cases {
        let answer = app.deliver("process_queue_job", &text).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.body);
        assert!(
            answer.body["message"].as_str().unwrap().contains(words),
            "{text}: {}",
            answer.body
        );
    }
    // The job is not affected.
    app.run_dry().await;
    assert_eq!(app.status(JOB).await["status"], "completed");
    // A message of an earlier stage is no error: redelivery is normal.
    assert_eq!(app.deliver("process_queue_job", &message(json!({}))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn invalid_task_messages_fail_with_a_reason() {
    let app = TestApp::start().await;
    app.submitted("hello_world", json!({ "n": 1 })).await;
    let job_id = app.queue.take(QueueRole::Jobs).remove(0).correlation_id;
    let message = |change: serde_json::Value| {
        let mut message = json!({
            "task_id": format!("{}-s1-greet-0", &job_id[..8]), "parent_job_id": job_id, "job_type": "hello_world",
            "task_type": "hello_world_greeting", "stage": 1, "task_index": "greet-0",
        });
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        message.to_string()
    };
    let cases = [
        (message(json!({ "task_id": null })), StatusCode::BAD_REQUEST, "lacks task_id"),
        (
            message(json!({ "task_id": "x".repeat(101) })),
            StatusCode::BAD_REQUEST,
            "task_id must be text of 1 to 100",
        ),
        (message(json!({ "task_index": 7 })), StatusCode::BAD_REQUEST, "task_index must be"),
        (message(json!({ "job_type": "tile" })), StatusCode::BAD_REQUEST, "no job type \"tile\""),
        (
            message(json!({ "parent_job_id": "b".repeat(64) })),
            StatusCode::NOT_FOUND,
            "there is no job",
        ),
        (
            message(json!({ "task_id": "nobody" })),
            StatusCode::NOT_FOUND,
            "has no task \"nobody\" in stage 1",
        ),
    ];
    for (text, status, words) in cases {
        let answer = app.deliver("process_queue_task", &text).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.body);
        assert!(
            answer.body["message"].as_str().unwrap().contains(words),
            "{text}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_bad_message_in_a_batch_is_dead_lettered() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3, "use_service_bus": true })).await;
    let tasks = app.planned_over_bus().await;
    let batch = [&tasks[0].body, "this is not JSON", &tasks[1].body, &tasks[2].body];
    let answer = app.deliver_many("process_sb_task", &batch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 3);
    let aside = app.bus.take(QueueRole::Poison);
    assert_eq!(aside.len(), 1);
    let kept: serde_json::Value = serde_json::from_str(&aside[0].body).unwrap();
    assert_eq!(kept["message"], "this is not JSON");
    assert!(kept["reason"].as_str().unwrap().contains("not JSON"));
}

#[tokio::test]
async fn a_non_text_item_of_a_batch_is_dead_lettered() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 1, "use_service_bus": true })).await;
    let task = app.planned_over_bus().await.remove(0);
    let body = json!({ "Data": { "msg": [7, task.body, null] } });
    let answer = app.request("POST", "/process_sb_task", body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 1);
    let aside = app.bus.take(QueueRole::Poison);
    let kept = aside.iter().map(|message| {
        serde_json::from_str::<serde_json::Value>(&message.body).unwrap()["message"].clone()
    });
    assert_eq!(kept.collect::<Vec<_>>(), ["7", "null"]);
}

#[tokio::test]
async fn a_batch_comes_again_if_dead_lettering_fails() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 1, "use_service_bus": true })).await;
    let task = app.planned_over_bus().await.remove(0);
    app.bus.set_down(true);
    let answer = app.deliver_many("process_sb_task", &[&task.body, "bad"]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    app.bus.set_down(false);
    assert_eq!(
        app.deliver_many("process_sb_task", &[&task.body, "bad"]).await.status,
        StatusCode::OK
    );
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 1);
    assert_eq!(app.bus.count(QueueRole::Poison), 1);
}

#[tokio::test]
async fn a_body_that_is_not_an_invocation_is_refused() {
    let app = TestApp::start().await;
    for (body, words) in [
        ("", "not an invocation"),
        ("[]", "not an invocation"),
        ("{\"Data\": 1}", "not an invocation"),
        ("{\"Data\": {\"other\": \"x\"}}", "lacks the binding \"msg\""),
        ("{\"Data\": {\"msg\": 7}}", "Data.msg must be text"),
    ] {
        let answer = app.request("POST", "/process_queue_task", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            answer.body["message"].as_str().unwrap().contains(words),
            "{body}: {}",
            answer.body
        );
    }
    assert_eq!(app.request("POST", "/no_such_function", "{}").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.request("GET", "/process_queue_task", "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[test]
fn a_message_of_the_python_app_is_decoded() {
    let text = json!({
        "task_id": "83b3132f-s1-greet-0", "parent_job_id": JOB.to_uppercase(), "job_type": "hello_world",
        "task_type": "hello_world_greeting", "stage": 1, "task_index": "greet_0", "parameters": {"deep": {"er": []}},
        "parent_task_id": null, "retry_count": 0, "timestamp": "2026-11-23T19:00:01+02:00", "heartbeat": "unknown field",
    });
    let reference = TaskReference::decode(&text.to_string()).unwrap();
    assert_eq!(reference.job_id.as_str(), JOB);
}
