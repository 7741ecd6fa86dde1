//! A job runs by the text that it was submitted with, whatever becomes of the file.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::job::erased::Catalog;
use serde_json::{Value, json};

use super::{FILE, decide, results, until_gate};
use crate::harness::{TestApp, Workflows, new_database_url, quick};

/// Its nodes say `old`, and its branch leads to `old_end`.
const OLD: &str = r#"
workflow: moving
version: 1
parameters: {list: {type: list, default: [1, 2]}}
nodes:
  first: {type: task, handler: echo, constants: {text: old}}
  many:
    type: fan_out
    depends_on: [first]
    source: params.list
    tolerate: {count: 2}
    task: {handler: echo, params: {text: "{{ nodes.first.result.text }}", item: "{{ item }}"}}
  all: {type: fan_in, depends_on: [many]}
  wait: {type: gate, depends_on: [all]}
  choose:
    type: conditional
    depends_on: [wait]
    condition: first.result.text
    branches:
      - {name: old, condition: "eq old", next: [old_end]}
      - {name: other, default: true, next: [other_end]}
  old_end: {type: task, handler: echo, constants: {text: old}}
  other_end: {type: task, handler: echo, constants: {text: other}}
"#;

/// Another graph of the same name.
const NEW: &str = r#"
workflow: moving
version: 2
parameters: {list: {type: list, default: [1, 2]}}
nodes:
  only: {type: task, handler: echo, constants: {text: new}}
"#;

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

async fn assert_old(app: &TestApp, job_id: &str) {
    let status = app.sweep_until_finished(job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    let texts = async |node: &str| -> Vec<Value> {
        let results = results(app, job_id, node).await;
        results.iter().map(|result| result["result"]["text"].clone()).collect()
    };
    assert_eq!(texts("many").await, ["old", "old"]);
    assert_eq!(texts("old_end").await, ["old"]);
    assert_eq!(status["resultData"]["outcomes"]["other_end"], "skipped");
    app.assert_consistent(job_id).await;
}

/// A process that starts after the files have `changed`, and a job that was submitted before. All
/// messages of the first process are lost: the new one plans, runs, folds and decides.
async fn started_after(changed: impl FnOnce(&Workflows)) -> (TestApp, String) {
    let url = new_database_url().await;
    let workflows = Workflows::of([(FILE, OLD)]);
    let before = workflows.on(&url, Catalog::default(), quick()).await;
    let job_id = before.submitted("moving", json!({})).await;
    changed(&workflows);
    (workflows.on(&url, Catalog::default(), quick()).await, job_id)
}

async fn assert_finishes_by_old(after: &TestApp, job_id: &str) {
    after.time_passes(AN_HOUR).await;
    after.controller.reconcile().await.unwrap();
    until_gate(after, job_id, "wait").await;
    decide(after, job_id, "wait", "approve").await;
    assert_old(after, job_id).await;
}

#[tokio::test]
async fn a_job_goes_on_by_its_text_after_the_file_has_changed() {
    let (after, job_id) = started_after(|workflows| workflows.write(FILE, NEW)).await;
    assert_finishes_by_old(&after, &job_id).await;
}

#[tokio::test]
async fn a_job_that_waits_at_a_gate_goes_on_by_its_text() {
    let url = new_database_url().await;
    let workflows = Workflows::of([(FILE, OLD)]);
    let before = workflows.on(&url, Catalog::default(), quick()).await;
    let job_id = before.submitted("moving", json!({})).await;
    until_gate(&before, &job_id, "wait").await;
    workflows.remove(FILE);
    let after = workflows.on(&url, Catalog::default(), quick()).await;
    decide(&after, &job_id, "wait", "approve").await;
    assert_old(&after, &job_id).await;
    let answer = after.submit("moving", json!({})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
}

#[tokio::test]
async fn a_process_without_a_folder_of_workflows_finishes_their_jobs() {
    let (after, job_id) = started_after(|workflows| {
        workflows.remove(FILE);
        std::fs::remove_dir(workflows.path()).unwrap();
    })
    .await;
    assert_finishes_by_old(&after, &job_id).await;
}

#[tokio::test]
async fn a_process_whose_file_is_wrong_finishes_the_jobs_of_the_right_one() {
    let wrong = OLD.replace("type: gate", "type: gates");
    let (after, job_id) = started_after(|workflows| workflows.write(FILE, &wrong)).await;
    assert_eq!(after.submit("moving", json!({})).await.status, StatusCode::CONFLICT);
    assert_finishes_by_old(&after, &job_id).await;
}

#[tokio::test]
async fn a_retried_job_runs_by_its_text() {
    let url = new_database_url().await;
    let broken = OLD.replace(
        "old_end: {type: task, handler: echo, constants: {text: old}}",
        "old_end: {type: task, handler: fail, constants: {message: old}}",
    );
    let workflows = Workflows::of([(FILE, broken.as_str())]);
    let before = workflows.on(&url, Catalog::default(), quick()).await;
    let job_id = before.submitted("moving", json!({})).await;
    until_gate(&before, &job_id, "wait").await;
    decide(&before, &job_id, "wait", "approve").await;
    assert_eq!(before.run_until_finished(&job_id).await["status"], "failed");
    workflows.write(FILE, NEW);
    let after = workflows.on(&url, Catalog::default(), quick()).await;
    let retry = after.control("retry", &job_id).await;
    assert_eq!(retry.status, StatusCode::OK, "{}", retry.body);
    let status = after.run_until_finished(&job_id).await;
    assert_eq!(
        status["errorDetails"], "old_end: 1 of 1 tasks failed; first: old_end old",
        "{status}"
    );
    // The gate keeps its decision.
    assert_eq!(status["progress"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn the_same_submission_says_that_its_job_runs_by_another_text() {
    let url = new_database_url().await;
    let workflows = Workflows::of([(FILE, OLD)]);
    let before = workflows.on(&url, Catalog::default(), quick()).await;
    let job_id = before.submitted("moving", json!({})).await;
    let again = before.submit("moving", json!({})).await;
    assert_eq!(
        again.body["message"],
        "The same job exists already and is queued; nothing was queued."
    );
    workflows.write(FILE, NEW);
    let after = workflows.on(&url, Catalog::default(), quick()).await;
    let again = after.submit("moving", json!({})).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.body["job_id"], job_id, "the id is that of the name and the parameters");
    assert_eq!(
        again.body["message"],
        "The same job exists already and is queued; nothing was queued. It was submitted when its definition was another \
         one, and runs by that one. To run it by the current definition, change a parameter."
    );
    // A job of its own runs by the new text, beside the old one.
    let new = after.submitted("moving", json!({ "list": [3] })).await;
    let status = after.run_until_finished(&new).await;
    assert_eq!(status["resultData"]["outcomes"], json!({ "only": "completed" }));
}

/// A failure of one item is tolerated.
const TOLERANT: &str = r#"
workflow: tolerant
parameters: {list: {type: list, required: true}}
nodes:
  many:
    type: fan_out
    source: params.list
    tolerate: {count: 1}
    task: {handler: echo, params: {text: "{{ item }}"}}
"#;

#[tokio::test]
async fn a_process_that_cannot_read_a_text_leaves_the_end_of_its_node_to_another_one() {
    let url = new_database_url().await;
    let other = TOLERANT.replace("workflow: tolerant", "workflow: other");
    let workflows = Workflows::of([(FILE, TOLERANT), ("other.yaml", &other)]);
    let before = workflows.on(&url, Catalog::default(), quick()).await;
    let left = before.submitted("tolerant", json!({ "list": ["a", "b"] })).await;
    let advanced = before.submitted("other", json!({ "list": ["a", "b"] })).await;
    before.planned().await;
    let mut connection = before.connection().await;
    // As if the process had died after recording the last outcome of each job and before ending the
    // node.
    sqlx::query(
        "UPDATE tasks SET finished_at = now(), started_at = now(), attempt = 1,
             status = (CASE ordinal WHEN 0 THEN 'failed' ELSE 'completed' END)::task_status,
             result_data = CASE ordinal WHEN 0 THEN NULL ELSE '{}'::json END,
             error_details = CASE ordinal WHEN 0 THEN 'no' END",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::query("UPDATE stages SET completed = 1, failed = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    // A text that only a newer version reads.
    let text = "UPDATE definitions SET source = replace(source, $1, $2) WHERE name = 'tolerant'";
    sqlx::query(text).bind("fan_out").bind("new_kind").execute(&mut connection).await.unwrap();
    workflows.remove(FILE);
    let older = workflows.on(&url, Catalog::default(), quick()).await;
    let report = older.controller.reconcile().await.unwrap();
    assert_eq!(report.stages_advanced, 1, "{report:?}");
    assert_eq!(older.status(&advanced).await["status"], "completed");
    assert_eq!(older.status(&left).await["status"], "processing");
    // A newer one reads it.
    sqlx::query(text).bind("new_kind").bind("fan_out").execute(&mut connection).await.unwrap();
    let report = older.controller.reconcile().await.unwrap();
    assert_eq!(report.stages_advanced, 1, "{report:?}");
    for job_id in [&advanced, &left] {
        assert_eq!(older.status(job_id).await["status"], "completed");
        older.assert_consistent(job_id).await;
    }
}
