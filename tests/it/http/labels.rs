//! Labels of a submission: they are kept with the job, shown wherever it is, and no part of its identity.

use axum::{body::Body, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use lastlight_engine::job::{Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError};
use schemars::JsonSchema;

use crate::harness::{OfThisApp, TestApp, quick};

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.request("GET", path, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn labels_are_shown_wherever_the_job_is() {
    let app = TestApp::start().await;
    let labels = json!({ "team": "roads", "stage": "tëst" });
    let answer = app.submit("hello_world", json!({ "n": 2, "labels": labels })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["labels"], labels);
    assert!(answer.body.get("warnings").is_none(), "{}", answer.body);
    assert!(answer.body["parameters"].get("labels").is_none(), "they are no parameter");
    let job_id = answer.body["job_id"].as_str().unwrap();
    app.run_until_finished(job_id).await;
    assert_eq!(app.status(job_id).await["labels"], labels);
    assert_eq!(get(&app, &format!("/api/db/jobs/{job_id}")).await["job"]["labels"], labels);
    assert_eq!(get(&app, "/api/db/jobs").await["jobs"][0]["labels"], labels);
    assert_eq!(get(&app, "/api/db/jobs?label.team=roads").await["jobs"][0]["labels"], labels);
}

#[tokio::test]
async fn labels_are_no_part_of_the_identity() {
    let app = TestApp::start().await;
    let plain = app.submitted("hello_world", json!({ "n": 2 })).await;
    let other = app.submitted("hello_world", json!({ "n": 3, "labels": { "team": "a" } })).await;
    let message = app.planned().await.remove(0).body;
    assert!(!message.contains("labels") && !message.contains("team"), "{message}");

    let again = app.submit("hello_world", json!({ "n": 2, "labels": { "team": "b" } })).await.body;
    assert_eq!(again["job_id"], plain.as_str());
    assert!(again.get("labels").is_none(), "the first submission had none: {again}");
    assert!(
        again["message"].as_str().unwrap().contains("keeps the labels of its first"),
        "{again}"
    );
    let again = app.submit("hello_world", json!({ "n": 3, "labels": { "team": "b" } })).await.body;
    assert_eq!((&again["job_id"], &again["labels"]), (&json!(other), &json!({ "team": "a" })));
    let again = app.submit("hello_world", json!({ "n": 3, "labels": null })).await.body;
    assert_eq!((&again["job_id"], &again["labels"]), (&json!(other), &json!({ "team": "a" })));
    assert!(!again["message"].as_str().unwrap().contains("keeps the labels"), "{again}");
    assert!(app.status(&plain).await.get("labels").is_none());
    assert!(get(&app, "/api/db/jobs?label.team=b").await["jobs"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn bad_labels_are_refused_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let body = |labels: Value| json!({ "n": 1, "labels": labels }).to_string();
    let many: serde_json::Map<_, _> =
        (0..17).map(|number| (format!("k{number}"), json!("v"))).collect();
    for (body, said) in [
        (body(json!({ "k".repeat(1024): "v" })), "1 to 63 of a-z, 0-9, '.', '_' and '-'"),
        (body(json!({ "a\0b": "v" })), r#"not "a\0b""#),
        (body(json!({ "a": "x\0y" })), r#"labels.a must be text of 1 to 256 characters"#),
        (body(json!({ "a": "v".repeat(257) })), "labels.a must be text of 1 to 256 characters"),
        (body(json!({ "a": "" })), "not \"\""),
        (body(json!({ "a": { "b": "c" } })), r#"not {"b":"c"}"#),
        (body(json!({ "A": "v" })), "not \"A\""),
        (body(Value::Object(many)), "labels must be at most 16 texts, not 17"),
        (
            body(json!([])),
            "labels must be an object of texts, such as {\"team\": \"roads\"}, not []",
        ),
        (body(json!(true)), "not true"),
        (r#"{"n": 1, "labels": {"a": "1", "a": "2"}}"#.into(), "labels has the key \"a\" twice"),
        (r#"{"n": 1, "labels": {"a": "1", "\u0061": "1"}}"#.into(), "has the key \"a\" twice"),
        (r#"{"labels": {"a": "1"}, "n": 1, "labels": {}}"#.into(), "labels is given twice"),
        (r#"{"n": 1, "labels": {"a": "\ud800"}}"#.into(), "the body is not JSON"),
    ] {
        let answer = app.request("POST", "/api/jobs/submit/hello_world", body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(said) && message.len() < 500, "{body}: {message}");
    }
    assert!(get(&app, "/api/db/jobs").await["jobs"].as_array().unwrap().is_empty());
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Tagged {
    labels: Vec<String>,
}

impl Job for Tagged {
    const NAME: &'static str = "tagged";
    type Last = Tags;
}

struct Tags;

impl Stage for Tags {
    const NAME: &'static str = "tags";
    type Job = Tagged;
    type Previous = Start;
    type Task = String;
    type Output = String;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<String> {
        Plan::of(context.job.labels.clone(), |label| (format!("tag-{label}"), label))
    }

    async fn run(_: TaskContext<Self>, label: String) -> Result<String, TaskError> {
        Ok(label)
    }

    fn fold(count: &mut u64, _: String) {
        *count += 1;
    }
}

#[tokio::test]
async fn a_parameter_named_labels_stays_one() {
    let app = TestApp::with_job::<Tagged>(quick()).await;
    let answer = app.submit("tagged", json!({ "labels": ["a", "b"] })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["parameters"]["labels"], json!(["a", "b"]));
    assert!(answer.body.get("labels").is_none(), "{}", answer.body);
}
