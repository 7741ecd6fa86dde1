//! Which tasks a worker gets, and when.

use std::time::{Duration, Instant};

use lastlight_engine::transport::sender::QueueRole;
use serde_json::{Value, json};

use super::{RASTER, app_with, app_with_tasks, rasters};
use crate::harness::{OfThisApp, TestApp, TestWorker, quick, until, with};

const GREETINGS: &[&str] = &["hello_world_greeting", "hello_world_reply"];

#[tokio::test]
async fn a_job_of_workers_runs_without_task_messages() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 250, "use_workers": true })).await;
    let worker = TestWorker::of(&app, GREETINGS);
    let served = worker
        .serve(|task| {
            let number = &task["params"]["task_number"];
            match task["handler"].as_str().unwrap() {
                "hello_world_greeting" => {
                    json!({ "greeting": task["params"]["message"], "task_number": number })
                }
                _ => {
                    let greeting = task["predecessor_result"]["greeting"].as_str().unwrap();
                    json!({ "reply": format!("Reply to {greeting}"), "task_number": number })
                }
            }
        })
        .await;
    assert_eq!(served, 500);
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["resultData"]["completed_tasks"], 500);
    assert_eq!((app.queue.count(QueueRole::Tasks), app.bus.count(QueueRole::Tasks)), (0, 0));
    app.assert_consistent(&job_id).await;
    let audit = app.audit(&job_id).await;
    assert_eq!(audit["consistent"], true, "{audit}");
    let comparison = app.request("GET", "/api/metrics/comparison", "").await.body;
    assert_eq!(comparison["worker"]["tasks_processed"], 500, "{comparison}");
    // One job message for each stage.
    assert_eq!(comparison["worker"]["messages_per_task"], 0.004);
    assert_eq!(comparison["queue_storage"]["tasks_processed"], 0);
}

#[tokio::test]
async fn use_workers_is_part_of_the_id_only_if_it_is_true() {
    let app = TestApp::start().await;
    let plain = app.submitted("hello_world", json!({ "n": 3 })).await;
    let off = app.submitted("hello_world", json!({ "n": 3, "use_workers": false })).await;
    let on = app.submitted("hello_world", json!({ "n": 3, "use_workers": true })).await;
    assert_eq!(plain, off);
    assert_ne!(plain, on);
    let both = json!({ "n": 3, "use_workers": true, "use_service_bus": true });
    let answer = app.submit("hello_world", both).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["problems"][0]["field"], "use_workers", "{}", answer.body);
}

#[tokio::test]
async fn nodes_run_in_the_app_and_at_workers_in_one_job() {
    let app = app_with(
        r#"
workflow: mixed
parameters: {list: {type: list, default: [1, 2, 3, 4]}}
nodes:
  here:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {n: "{{ item }}"}}
  there:
    type: fan_out
    queue: gpu
    depends_on: [here]
    source: params.list
    task: {handler: double, params: {n: "{{ item }}"}}
  again: {type: task, handler: echo, depends_on: [there], params: {}}
"#,
    )
    .await;
    for bus in [false, true] {
        let job_id = app.submitted("mixed", json!({ "use_service_bus": bus })).await;
        let worker = TestWorker { queue: "gpu", ..TestWorker::of(&app, &["double"]) };
        let mut nodes = Vec::new();
        let served = worker
            .serve(|task| {
                nodes.push(task["node"].as_str().unwrap().to_owned());
                json!(2 * task["params"]["n"].as_i64().unwrap())
            })
            .await;
        assert_eq!((served, nodes), (4, vec!["there".to_owned(); 4]));
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        app.assert_consistent(&job_id).await;
        // What a handler answers without "success" is the result of a success.
        let tasks = app.request("GET", &format!("/api/db/tasks/{job_id}?stage=2"), "").await.body;
        let results: Vec<&Value> = tasks["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| &task["result_data"]["result"])
            .collect();
        assert_eq!(results.len(), 4, "{tasks}");
        assert!(results.iter().all(|result| result.as_i64().unwrap() % 2 == 0), "{results:?}");
        assert_eq!(tasks["tasks"][0]["worker_id"], "a worker", "{tasks}");
    }
}

#[tokio::test]
async fn a_worker_gets_only_tasks_of_its_queue_and_handlers() {
    let (app, _) = app_with_tasks(5).await;
    let worker = TestWorker::of(&app, RASTER);
    assert!(TestWorker { queue: "other", ..worker }.claim(10).await.is_empty());
    let worker = TestWorker::of(&app, &["vector"]);
    assert!(worker.claim(10).await.is_empty());
    let worker = TestWorker::of(&app, &["vector", "raster"]);
    let tasks = worker.claim(3).await;
    assert_eq!(tasks.len(), 3);
    let task = &tasks[0];
    assert_eq!((&task["handler"], &task["node"]), (&json!("raster"), &json!("tiles")));
    assert_eq!((&task["attempt"], &task["lease_seconds"]), (&json!(1), &json!(60.0)));
    assert!(task["params"]["tile"].is_number(), "{task}");
    assert!(task["traceparent"].as_str().unwrap().starts_with("00-"), "{task}");
    assert_eq!(worker.claim(100).await.len(), 2, "each task is claimed once");
    assert!(worker.claim(100).await.is_empty());
}

#[tokio::test]
async fn the_tasks_of_the_older_job_come_first() {
    let (app, older) = app_with_tasks(3).await;
    let newer = app.submitted("rasters", json!({ "list": [7, 8, 9] })).await;
    app.run_dry().await;
    let worker = TestWorker::of(&app, RASTER);
    let jobs: Vec<Value> =
        worker.claim(4).await.iter().map(|task| task["job_id"].clone()).collect();
    assert_eq!(jobs.iter().filter(|job| **job == json!(older)).count(), 3, "{jobs:?}");
    assert_eq!(jobs.iter().filter(|job| **job == json!(newer)).count(), 1, "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_claim_at_the_same_time_share_the_tasks() {
    let (app, job_id) = app_with_tasks(500).await;
    let workflows = rasters();
    let other = workflows.on(&app.url, Default::default(), quick()).await;
    let claims = (0..50).map(|number| {
        let app = if number % 2 == 0 { &app } else { &other };
        async move { TestWorker::of(app, RASTER).claim(10).await }
    });
    let claimed = futures_util::future::join_all(claims).await;
    let mut ids: Vec<String> =
        claimed.iter().flatten().map(|task| task["task_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(claimed.iter().flatten().count(), ids.len(), "no task is claimed twice");
    assert_eq!(ids.len(), 500);
    let worker = TestWorker::of(&app, RASTER);
    for tasks in claimed {
        let complete = |task| with(task, json!({ "outcome": "completed", "result": 1 }));
        worker.finish(tasks.iter().map(complete).collect()).await;
    }
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_claim_waits_until_a_task_becomes_ready() {
    let (app, _) = app_with_tasks(0).await;
    let worker = TestWorker::of(&app, RASTER);
    let began = Instant::now();
    assert!(worker.claim_within(1, 0.4).await.is_empty());
    assert!(began.elapsed() >= Duration::from_millis(400));
    let waiting = async { worker.claim_within(5, 25.0).await };
    let submitting = async {
        app.submitted("rasters", json!({ "list": [1, 2] })).await;
        app.run_dry().await;
    };
    let (tasks, ()) = tokio::join!(waiting, submitting);
    assert_eq!(tasks.len(), 2);
}

#[tokio::test]
async fn a_waiting_claim_sees_what_another_process_made_ready() {
    let (app, _) = app_with_tasks(0).await;
    let workflows = rasters();
    let other = workflows.on(&app.url, Default::default(), quick()).await;
    let worker = TestWorker::of(&app, RASTER);
    let waiting = async { worker.claim_within(1, 25.0).await };
    let elsewhere = async {
        other.submitted("rasters", json!({ "list": [5] })).await;
        other.run_dry().await;
    };
    let (tasks, ()) = tokio::join!(waiting, elsewhere);
    assert_eq!(tasks.len(), 1);
}

#[tokio::test]
async fn a_hundred_waiting_claims_cost_no_more_than_one() {
    let (app, _) = app_with_tasks(0).await;
    let looks = async |claims: usize| {
        let before = statements(&app).await;
        let waits = (0..claims).map(|_| async {
            let worker = TestWorker::of(&app, RASTER);
            worker.claim_within(1, 2.0).await
        });
        futures_util::future::join_all(waits).await;
        statements(&app).await - before
    };
    looks(1).await;
    let one = looks(1).await;
    let hundred = looks(100).await;
    assert!(hundred <= 2 * one + 10, "{hundred} transactions for a hundred, {one} for one");
}

/// Transactions of this database so far.
async fn statements(app: &TestApp) -> i64 {
    let mut connection = app.connection().await;
    let count = async |connection: &mut sqlx::PgConnection| -> i64 {
        sqlx::query_scalar(
            "SELECT (pg_stat_force_next_flush() IS NULL)::int * 0 + xact_commit
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(connection)
        .await
        .unwrap()
    };
    // Sessions publish what they did when they are idle, a second later at most.
    let mut last = count(&mut connection).await;
    until("the statistics are published", async || {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let now = count(&mut connection).await;
        let is_stable = now <= last + 3;
        last = now;
        is_stable.then_some(now)
    })
    .await
}

#[tokio::test]
async fn parameters_that_cannot_be_made_fail_the_task_and_no_worker_gets_it() {
    let app = app_with(
        r#"
workflow: rasters
parameters: {list: {type: list}}
nodes:
  tiles:
    type: fan_out
    source: params.list
    task: {handler: raster, params: {tile: "{{ item.name }}"}}
"#,
    )
    .await;
    let job_id =
        app.submitted("rasters", json!({ "list": [{ "name": "a" }, { "other": "b" }] })).await;
    let worker = TestWorker::of(&app, RASTER);
    assert_eq!(worker.serve(|task| task["params"]["tile"].clone()).await, 1);
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed", "{status}");
    assert!(status.to_string().contains("name"), "{status}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_message_for_a_task_of_workers_changes_nothing() {
    let (app, job_id) = app_with_tasks(1).await;
    let task = TestWorker::of(&app, RASTER).claim(1).await.remove(0);
    let worker = TestWorker::of(&app, RASTER);
    assert_eq!(worker.ends(&task, json!({ "outcome": "released" })).await, "counted");
    let message = json!({
        "taskId": task["task_id"], "parentJobId": job_id, "jobType": "rasters", "taskType": "tiles",
        "stage": 1, "taskIndex": "0", "parameters": {}, "retryCount": 0,
        "timestamp": "2026-01-01T00:00:00+00:00",
    });
    let answer = app.deliver("process_queue_task", &message.to_string()).await;
    assert!(answer.status == 200 || answer.body["error"] == "bad message", "{}", answer.body);
    let again = worker.claim(1).await;
    assert_eq!(again[0]["attempt"], 2, "it is still ready");
}

#[tokio::test]
async fn a_node_that_names_a_queue_is_for_workers_even_if_the_app_has_its_handler() {
    let text = "workflow: one\nnodes:\n  a: {type: task, handler: echo, queue: gpu}\n  b: {type: task, handler: echo, depends_on: [a]}\n";
    let app = app_with(text).await;
    let job_id = app.submitted("one", json!({})).await;
    let worker = TestWorker { queue: "gpu", ..TestWorker::of(&app, &["echo"]) };
    assert_eq!(worker.serve(|_| json!({ "success": true })).await, 1);
    assert_eq!(app.status(&job_id).await["status"], "completed");
}
