//! Requests of workers that are wrong are refused with the field, its value and what is allowed.

use serde_json::json;

use super::app_with_tasks;

#[tokio::test]
async fn a_wrong_request_is_refused_with_its_field() {
    let (app, _) = app_with_tasks(0).await;
    let job_id = "0".repeat(64);
    let attempt = json!({ "job_id": job_id, "stage": 1, "task_id": "t", "attempt": 1 });
    let mut late = attempt.clone();
    late["attempt"] = json!(0);
    for (what, body, said) in [
        ("claim", json!({ "handlers": ["a"] }), "worker_id is missing"),
        (
            "claim",
            json!({ "worker_id": "", "handlers": ["a"] }),
            "worker_id must be text of 1 to 100",
        ),
        ("claim", json!({ "worker_id": "w" }), "handlers is missing"),
        (
            "claim",
            json!({ "worker_id": "w", "handlers": [] }),
            "handlers must be a list of 1 to 100",
        ),
        ("claim", json!({ "worker_id": "w", "handlers": ["a", 5] }), "handlers[1] must be text"),
        (
            "claim",
            json!({ "worker_id": "w", "handlers": ["a"], "max": 101 }),
            "from 1 to 100, not 101",
        ),
        (
            "claim",
            json!({ "worker_id": "w", "handlers": ["a"], "wait_seconds": 26 }),
            "wait_seconds must be a number from 0 to 25, not 26",
        ),
        ("claim", json!({ "worker_id": "w", "handlers": ["a"], "wait": 1 }), "unknown field wait"),
        ("claim", json!([]), "not an object"),
        ("heartbeat", json!({ "worker_id": "w" }), "tasks is missing"),
        (
            "heartbeat",
            json!({ "worker_id": "w", "tasks": [1] }),
            "tasks[0] must be an object, not 1",
        ),
        ("heartbeat", json!({ "worker_id": "w", "tasks": [late] }), "tasks[0].attempt must be"),
        (
            "heartbeat",
            json!({ "worker_id": "w", "tasks": [attempt, { "job_id": job_id }] }),
            "tasks[1].stage is missing",
        ),
        (
            "finish",
            json!({ "worker_id": "w", "outcomes": [] }),
            "outcomes must be a list of 1 to 100",
        ),
        ("finish", json!({ "outcomes": [attempt] }), "worker_id is missing"),
    ] {
        let address = format!("/api/workers/{what}");
        let answer = app.request("POST", &address, body.to_string()).await;
        assert_eq!(answer.status, 400, "{what} {body}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(said), "{what} {body}: {message}");
    }
    for (body, said) in [("", "the body is empty"), ("{", "not JSON"), ("\u{feff}nope", "not JSON")]
    {
        let answer = app.request("POST", "/api/workers/finish", body.to_owned()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(said), "{}", answer.body);
    }
}

#[tokio::test]
async fn each_outcome_is_refused_for_itself() {
    let (app, _) = app_with_tasks(0).await;
    let attempt = json!({ "job_id": "0".repeat(64), "stage": 1, "task_id": "t", "attempt": 1 });
    let with = |field: &str, value: serde_json::Value| {
        let mut outcome = attempt.clone();
        outcome["outcome"] = json!("retry");
        outcome[field] = value;
        outcome
    };
    let outcomes = json!([
        with("outcome", json!("completed")),
        with("retry_after_seconds", json!(-1)),
        with("error", json!({})),
        with("why", json!("x")),
        with("stage", json!(0)),
        "text",
        with("error", json!("fine")),
    ]);
    let body = json!({ "worker_id": "w", "outcomes": outcomes }).to_string();
    let answer = app.request("POST", "/api/workers/finish", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answers = answer.body["outcomes"].as_array().unwrap();
    let said = [
        "outcomes[0].result is missing",
        "outcomes[1].retry_after_seconds must be a number from 0 to 518400, not -1",
        "outcomes[2].error must be text, not {}",
        "unknown field outcomes[3].why",
        "outcomes[4].stage must be a whole number from 1 to 100, not 0",
        "outcomes[5] must be an object, not \"text\"",
    ];
    for (answer, said) in answers.iter().zip(said) {
        assert_eq!(answer["answer"], "invalid");
        assert!(answer["error"].as_str().unwrap().contains(said), "{answer}");
    }
    assert_eq!(answers[6]["answer"], "unknown", "{}", answers[6]);
}

#[tokio::test]
async fn a_body_of_more_than_8_mib_is_refused_with_the_limit() {
    let (app, _) = app_with_tasks(0).await;
    let body = format!("{{\"worker_id\": \"w\", \"x\": \"{}\"}}", "x".repeat(9 * 1024 * 1024));
    let answer = app.request("POST", "/api/workers/finish", body.clone()).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains("8388608"), "{}", answer.body);
    let answer = app.request("POST", "/api/workers/claim", body).await;
    assert!(answer.body["message"].as_str().unwrap().contains("1048576"), "{}", answer.body);
}
