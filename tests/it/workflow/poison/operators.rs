//! `monitor/poison`: operators see dead letters, and redrive, discard or give them up.

use axum::http::StatusCode;
use lastlight_engine::{model::ProcessingPath, transport::sender::QueueRole};
use serde_json::{Value, json};

use super::{dead_lettered, order, planned, start};
use crate::harness::TestApp;

async fn monitor(app: &TestApp, query: &str) -> Value {
    let answer = app.request("GET", &format!("/api/monitor/poison{query}"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_user_fails_tasks_of_dead_letters_at_once() {
    let app = start().await;
    let quiet = monitor(&app, "").await;
    assert_eq!((&quiet["action"], &quiet["status"]), (&json!("status_check"), &json!("healthy")));
    assert_eq!(quiet["poison_messages_found"], 0);
    assert_eq!(
        quiet["queues_checked"],
        json!([
            "jobs-poison",
            "tasks-poison",
            "poison",
            "jobs/$DeadLetterQueue",
            "tasks/$DeadLetterQueue",
            "sb-poison"
        ])
    );
    for field in ["last_checked", "request_id", "timestamp"] {
        assert!(quiet[field].is_string(), "{field} in {quiet}");
    }

    let (first, tasks) = planned(&app, json!({ "stages": [2], "round": 1 })).await;
    let second = app.submitted("probe", json!({ "stages": [1], "round": 2 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.queue.put_aside(QueueRole::Tasks, &tasks[0].body);
    app.queue.put_aside(QueueRole::Tasks, &tasks[0].body);
    app.queue.put_aside(QueueRole::Tasks, "not JSON");
    app.queue.put_aside(QueueRole::Jobs, &job.body);
    let seen = monitor(&app, "?peek=2").await;
    assert_eq!(
        (&seen["status"], &seen["poison_messages_found"]),
        (&json!("attention_needed"), &json!(4))
    );
    let details = &seen["queue_details"]["tasks-poison"];
    assert_eq!(
        (&details["poison_messages"], &details["processing_path"]),
        (&json!(3), &json!("queue_storage"))
    );
    assert_eq!(details["messages"].as_array().unwrap().len(), 2);
    assert_eq!(details["messages"][0]["message"], tasks[0].body);
    assert!(seen["queue_details"]["poison"].get("messages").is_none());

    let run = app.request("POST", "/api/monitor/poison", "").await.body;
    assert_eq!(
        (&run["action"], &run["success"]),
        (&json!("process_poison_messages"), &json!(true)),
        "{run}"
    );
    assert_eq!(run["poison_messages_found"], 4);
    assert_eq!((&run["jobs_marked_failed"], &run["tasks_marked_failed"]), (&json!(1), &json!(1)));
    let outcomes: Vec<&Value> =
        run["messages"].as_array().unwrap().iter().map(|message| &message["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "absorbed", "kept_for_review"]);
    assert!(run["processed_at"].is_string() && run["request_id"].is_string());
    let status = app.status(&second).await;
    assert_eq!(status["status"], "failed");
    assert!(status["errorDetails"].as_str().unwrap().contains("an operator gave it up"));
    dead_lettered(&app, "process_queue_task", &tasks[1].body).await;
    assert_eq!(app.status(&first).await["status"], "failed");
    assert_eq!(
        monitor(&app, "").await["poison_messages_found"],
        1,
        "messages kept for review stay"
    );
    app.assert_consistent(&first).await;
}

#[tokio::test]
async fn failing_the_last_task_counts_the_job_too() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [1] })).await;
    app.queue.put_aside(QueueRole::Tasks, &tasks[0].body);
    let run = order(&app, json!({ "action": "process" })).await.body;
    assert_eq!(
        (&run["jobs_marked_failed"], &run["tasks_marked_failed"]),
        (&json!(1), &json!(1)),
        "{run}"
    );
    assert_eq!(app.status(&job_id).await["status"], "failed");
}

#[tokio::test]
async fn a_user_redrives_or_discards_a_dead_letter() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [1, 1] })).await;
    app.queue.put_aside(QueueRole::Tasks, &tasks[0].body);
    for text in [&tasks[0].body, "not JSON"] {
        let reason =
            lastlight_engine::workflow::ControllerError::BadSubmission("for a test".to_owned());
        app.controller
            .dead_letters(ProcessingPath::QueueStorage, &[(text, &reason)], 1)
            .await
            .unwrap();
    }
    let job = json!({ "job_id": job_id, "job_type": "probe", "stage": 1 }).to_string();
    let reason =
        lastlight_engine::workflow::ControllerError::BadSubmission("for a test".to_owned());
    app.controller.dead_letters(ProcessingPath::ServiceBus, &[(&job, &reason)], 1).await.unwrap();
    let seen = monitor(&app, "?peek=32").await;
    let id = |queue: &str, place: usize| {
        seen["queue_details"][queue]["messages"][place]["message_id"].clone()
    };
    let reason = &seen["queue_details"]["poison"]["messages"][0]["reason"];
    assert_eq!(reason, "for a test");

    for (action, queue, place, sent_to) in [
        ("redrive", "tasks-poison", 0, Some("tasks")),
        ("redrive", "poison", 0, Some("tasks")),
        ("redrive", "sb-poison", 0, Some("jobs")),
    ] {
        let message_id = id(queue, place);
        let answer =
            order(&app, json!({ "action": action, "queue": queue, "message_id": message_id }))
                .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(
            (&answer.body["action"], &answer.body["sent_to"]),
            (&json!(action), &json!(sent_to))
        );
        assert_eq!(
            (&answer.body["queue"], &answer.body["message_id"]),
            (&json!(queue), &message_id)
        );
    }
    let again = app.queue.take(QueueRole::Tasks);
    assert!(
        again
            .iter()
            .all(|message| message.body == tasks[0].body && message.correlation_id == job_id)
    );
    assert!(again.len() == 2 && again[0].message_id != again[1].message_id);
    assert_eq!(app.bus.take(QueueRole::Jobs).remove(0).body, job);

    let refused = json!({ "action": "redrive", "queue": "poison", "message_id": id("poison", 1) });
    let answer = order(&app, refused.clone()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .contains("neither a task message (the message is not JSON"),
        "{}",
        answer.body
    );
    let discard = json!({ "action": "discard", "queue": "poison", "message_id": id("poison", 1) });
    let answer = order(&app, discard.clone()).await;
    assert_eq!((answer.status, &answer.body["message"]), (StatusCode::OK, &json!("not JSON")));
    assert_eq!(order(&app, discard).await.status, StatusCode::NOT_FOUND);
    assert_eq!(order(&app, refused).await.status, StatusCode::NOT_FOUND);
    assert_eq!(monitor(&app, "").await["status"], "healthy");
    dead_lettered(&app, "process_queue_task", &again[0].body).await;
    dead_lettered(&app, "process_queue_task", &again[1].body).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_dead_letter_stays_if_its_redrive_fails() {
    let app = start().await;
    let (_, tasks) = planned(&app, json!({ "stages": [1] })).await;
    app.queue.put_aside(QueueRole::Tasks, &tasks[0].body);
    let seen = monitor(&app, "?peek=1").await;
    let message_id = &seen["queue_details"]["tasks-poison"]["messages"][0]["message_id"];
    // The message can be taken, and then the queue becomes unreachable.
    app.queue.goes_down_after(0);
    let redrive = json!({ "action": "redrive", "queue": "tasks-poison", "message_id": message_id });
    let answer = order(&app, redrive.clone()).await;
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("queue unavailable"))
    );
    app.queue.set_down(false);
    assert_eq!(monitor(&app, "").await["poison_messages_found"], 1);
    assert_eq!(order(&app, redrive).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invalid_poison_request_names_the_field() {
    let app = start().await;
    let cases = [
        (
            "{\"action\": \"delete\"}",
            StatusCode::BAD_REQUEST,
            "action must be \"process\", \"redrive\" or \"discard\", not \"delete\"",
        ),
        ("{\"action\": \"redrive\"}", StatusCode::BAD_REQUEST, "queue is missing"),
        (
            "{\"action\": \"discard\", \"queue\": \"poison\"}",
            StatusCode::BAD_REQUEST,
            "message_id is missing",
        ),
        ("{\"acton\": \"discard\"}", StatusCode::BAD_REQUEST, "unknown field `acton`"),
        ("[]", StatusCode::BAD_REQUEST, "cannot be read"),
        ("process", StatusCode::BAD_REQUEST, "cannot be read"),
        (
            "{\"action\": \"discard\", \"queue\": \"tasks\", \"message_id\": \"x\"}",
            StatusCode::BAD_REQUEST,
            "queue must be one of jobs-poison, tasks-poison, poison, jobs/$DeadLetterQueue",
        ),
        (
            "{\"action\": \"discard\", \"queue\": \"poison\", \"message_id\": \"x\"}",
            StatusCode::NOT_FOUND,
            "message_id \"x\" is not in poison",
        ),
    ];
    for (body, status, words) in cases {
        let answer = app.request("POST", "/api/monitor/poison", body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(
            answer.body["message"].as_str().unwrap().contains(words),
            "{body}: {}",
            answer.body
        );
    }
    for query in ["?peek=33", "?peek=-1", "?peek=all", "?peek="] {
        let answer = app.request("GET", &format!("/api/monitor/poison{query}"), "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let words = answer.body["message"].as_str().unwrap();
        assert!(words.contains("peek must be a whole number from 0 to 32"), "{query}: {words}");
    }
    let answer = app.request("DELETE", "/api/monitor/poison", "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_unreadable_queue_hides_no_other_queue() {
    let app = start().await;
    app.queue.put_aside(QueueRole::Tasks, "not JSON");
    app.bus.set_down(true);
    let seen = monitor(&app, "?peek=1").await;
    assert_eq!(
        (&seen["status"], &seen["poison_messages_found"]),
        (&json!("attention_needed"), &json!(1))
    );
    let words = seen["queue_details"]["sb-poison"]["error"].as_str().unwrap();
    assert!(words.contains("cannot be reached"), "{words}");
    let run = order(&app, json!({})).await.body;
    assert_eq!(run["success"], false);
    assert_eq!(run["messages"][0]["outcome"], "kept_for_review");
    assert_eq!(run["errors"].as_array().unwrap().len(), 2, "{run}");
}
