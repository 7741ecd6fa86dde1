//! What people see of queues and workers.

use serde_json::{Value, json};

use super::{RASTER, app_with_tasks};
use crate::harness::{TestApp, TestWorker, until};

async fn list(app: &TestApp, query: &str) -> Value {
    let answer = app.request("GET", &format!("/api/workers{query}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_queue_that_nobody_serves_is_said() {
    let (app, _) = app_with_tasks(3).await;
    let queues = list(&app, "").await["queues"].take();
    let queue = &queues[0];
    assert_eq!((&queue["queue"], &queue["depth"]), (&json!("default"), &json!(3)), "{queues}");
    assert_eq!((&queue["unserved"], &queue["workers"]), (&json!(true), &json!(0)));
    assert_eq!(queue["handlers"][0]["served_at"], Value::Null);
    assert!(queue["oldest_wait_seconds"].as_f64().unwrap() >= 0.0);
    let health = app.request("GET", "/api/health", "").await.body;
    assert!(health.to_string().contains("raster"), "{health}");
}

#[tokio::test]
async fn workers_are_listed_with_what_they_run() {
    let (app, job_id) = app_with_tasks(3).await;
    let worker = TestWorker::of(&app, RASTER);
    let task = worker.claim(1).await.remove(0);
    assert_eq!(
        worker.beats(&task, json!({ "progress": 0.25, "message": "reading" })).await,
        "continue"
    );
    let seen = until("the worker is listed with its task", async || {
        let seen = list(&app, "?queue=default").await;
        (seen["workers"][0]["running"][0]["progress"] == 0.25).then_some(seen)
    })
    .await;
    let seen_worker = &seen["workers"][0];
    assert_eq!(seen_worker["worker_id"], "a worker", "{seen}");
    assert_eq!(seen_worker["handlers"], json!(["raster"]));
    let running = &seen_worker["running"][0];
    assert_eq!((&running["job_id"], &running["node"]), (&json!(job_id), &json!("tiles")));
    assert_eq!(running["message"], "reading");
    let queue = &seen["queues"][0];
    assert_eq!((&queue["depth"], &queue["open"]), (&json!(2), &json!(3)), "{queue}");
    assert_eq!((&queue["unserved"], &queue["workers"]), (&json!(false), &json!(1)));
    let outcome = json!({ "outcome": "completed", "result": 1 });
    assert_eq!(worker.ends(&task, outcome).await, "counted");
    let seen = list(&app, "").await;
    assert_eq!(seen["workers"][0]["running"], json!([]), "what ended is not shown");
    assert!(list(&app, "?queue=other").await["workers"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_autoscaler_gets_one_number() {
    let (app, _) = app_with_tasks(7).await;
    TestWorker::of(&app, RASTER).claim(3).await;
    assert_eq!(list(&app, "?queue=default&value=depth").await["value"], 4);
    assert_eq!(list(&app, "?queue=default&value=open").await["value"], 7);
    assert_eq!(list(&app, "?queue=other&value=depth").await["value"], 0);
    let answer = app.request("GET", "/api/workers?value=most", "").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test]
async fn a_submission_warns_of_a_handler_that_nobody_has_served() {
    let (app, _) = app_with_tasks(0).await;
    let warned = app.submit("rasters", json!({ "list": [1] })).await.body;
    let warning = warned["warnings"][0].as_str().unwrap();
    assert!(warning.contains("raster") && warning.contains("default"), "{warned}");
    TestWorker::of(&app, RASTER).claim(1).await;
    until("the handler counts as served", async || {
        let tag = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let list = json!({ "list": [tag.as_nanos() as u64 % 1_000_000_007] });
        let answer = app.submit("rasters", list).await.body;
        answer
            .get("warnings")
            .is_none_or(|warnings| warnings.as_array().unwrap().is_empty())
            .then_some(())
    })
    .await;
}
