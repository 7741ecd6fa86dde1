//! Tasks in workers: processes that claim tasks over HTTP. No message is sent for these tasks, and the
//! guarantees are the same as for all others.

mod batches;
mod claims;
mod control;
mod outcomes;
mod registry;
mod requests;
mod typed;

use serde_json::{Value, json};

use crate::harness::{TestApp, Workflows, new_database_url, quick};

/// The only handler of [`NODE`].
const RASTER: &[&str] = &["raster"];

/// A node for workers, since this app has no such handler.
const NODE: &str = r#"
workflow: rasters
parameters: {list: {type: list}}
nodes:
  tiles:
    type: fan_out
    source: params.list
    task: {handler: raster, params: {tile: "{{ item }}"}}
"#;

/// A handler in this process with one workflow and no other job types.
async fn app_with(text: &str) -> TestApp {
    Workflows::of([("test.yaml", text)])
        .on(&new_database_url().await, Default::default(), quick())
        .await
}

/// The workflow `rasters`, for another process on the same database.
fn rasters() -> Workflows {
    Workflows::of([("test.yaml", NODE)])
}

/// An app whose job of `tasks` tasks for workers is planned.
async fn app_with_tasks(tasks: usize) -> (TestApp, String) {
    let app = app_with(NODE).await;
    let list: Vec<usize> = (0..tasks).collect();
    let job_id = app.submitted("rasters", json!({ "list": list })).await;
    app.run_dry().await;
    (app, job_id)
}

/// The row of a task.
async fn row(app: &TestApp, task: &Value) -> Value {
    let (job, id) = (task["job_id"].as_str().unwrap(), task["task_id"].as_str().unwrap());
    let answer = app.request("GET", &format!("/api/db/tasks/{job}/{id}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["task"].clone()
}
