//! What jobs can be found by is written with them, inherited by the jobs that they submit, added to jobs
//! of an older version, and deleted with them.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, TestApp, Workflows, new_database_url, quick};

async fn found(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.request("GET", &format!("/api/db/jobs?{query}"), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
    answer.body["jobs"].as_array().unwrap().clone()
}

/// The terms of a job.
async fn terms_of(app: &TestApp, job_id: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT t.name || '=' || t.value FROM job_terms t JOIN jobs j USING (job_id, created_at) WHERE job_id = $1 ORDER BY 1",
    )
    .bind(job_id)
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap()
}

async fn execute(app: &TestApp, statement: &'static str) -> u64 {
    let done = sqlx::query(statement).execute(&mut app.connection().await).await.unwrap();
    done.rows_affected()
}

/// Makes all jobs those of a version that knows neither labels nor terms.
async fn forget_terms(app: &TestApp) {
    execute(app, "DELETE FROM job_terms").await;
    execute(app, "UPDATE jobs SET labels = NULL").await;
}

#[tokio::test]
async fn jobs_of_an_older_version_become_searchable() {
    let app = TestApp::start().await;
    let mut made = Vec::new();
    for number in 0..250 {
        let parameters = json!({ "n": 1, "name": format!("N{number}"), "dataset_id": "d1" });
        made.push(app.submitted("hello_world", parameters).await);
    }
    let terms = terms_of(&app, &made[7]).await;
    assert!(terms.contains(&"param.name=N7".to_owned()), "{terms:?}");
    forget_terms(&app).await;
    let new = json!({ "n": 2, "dataset_id": "d1", "labels": { "team": "roads" } });
    let new = app.submitted("hello_world", new).await;
    assert_eq!(found(&app, "param.dataset_id=d1&limit=100").await.len(), 1);

    // Two sweeps at once write nothing twice, and a job that is locked is left to a later one.
    let mut connection = app.connection().await;
    let mut other = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE")
        .bind(&made[249])
        .execute(&mut *other)
        .await
        .unwrap();
    let (one, two) = tokio::join!(app.controller.reconcile(), app.controller.reconcile());
    let done = one.unwrap().jobs_made_searchable + two.unwrap().jobs_made_searchable;
    assert!((99..=249).contains(&done), "{done}");
    other.rollback().await.unwrap();
    let mut left = 250 - done;
    while left > 0 {
        left -= app.controller.reconcile().await.unwrap().jobs_made_searchable;
    }
    assert_eq!(app.controller.reconcile().await.unwrap().jobs_made_searchable, 0);
    assert_eq!(terms_of(&app, &made[7]).await, terms, "as if they had been written with it");
    let jobs = found(&app, "param.name=N7&job_type=hello_world").await;
    assert_eq!(jobs[0]["job_id"], made[7].as_str());
    assert_eq!(found(&app, "label.team=roads").await[0]["job_id"], new.as_str());
}

#[tokio::test]
async fn a_submission_of_the_version_before_still_works() {
    let app = TestApp::start().await;
    // Its statement, which names no labels.
    let job_id = "ab".repeat(32);
    sqlx::query(
        "WITH new_job AS (
             INSERT INTO jobs (job_id, job_type, total_stages, parameters, processing_path, deadline, traceparent)
             VALUES ($1, 'hello_world', 2, '{\"n\": 1, \"name\": \"Eve\"}', 'queue_storage', now() + interval '1 day', NULL)
             ON CONFLICT (job_id) DO NOTHING
             RETURNING job_id
         ), first_stage AS (
             INSERT INTO stages (job_id, stage) SELECT job_id, 1 FROM new_job
         )
         INSERT INTO outbox (job_id, stage, next_send_at) SELECT job_id, 1, now() FROM new_job",
    )
    .bind(&job_id)
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    assert!(app.status(&job_id).await.get("labels").is_none());
    assert_eq!(found(&app, &format!("q={}", &job_id[..8])).await.len(), 1, "by its id at once");
    app.controller.reconcile().await.unwrap();
    app.run_until_finished(&job_id).await;
    assert_eq!(found(&app, "param.name=Eve").await.len(), 1);
}

#[tokio::test]
async fn child_jobs_inherit_the_labels_of_their_parent() {
    let parent = "
workflow: parent
parameters: {count: {type: int, required: true}}
nodes:
  child: {type: job, job_type: child, parameters: {count: \"{{ inputs.count }}\"}}
";
    let child = "
workflow: child
parameters: {count: {type: int, required: true}}
nodes:
  work: {type: task, handler: echo}
";
    let workflows = Workflows::of([("parent.yaml", parent), ("child.yaml", child)]);
    let app = workflows.on(&new_database_url().await, Default::default(), quick()).await;
    let labels = json!({ "team": "roads", "run": "7" });
    let parent = app.submitted("parent", json!({ "count": 3, "labels": labels })).await;
    app.run_until_finished(&parent).await;
    assert_eq!(app.status(&parent).await["status"], "completed");
    let both = found(&app, "label.team=roads&label.run=7").await;
    let types: Vec<&str> = both.iter().map(|job| job["job_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["child", "parent"]);
    assert!(both.iter().all(|job| job["labels"] == labels), "{both:?}");
    // A job that exists keeps its own.
    let other = json!({ "count": 4, "labels": { "team": "rivers" } });
    app.submitted("child", json!({ "count": 4, "use_service_bus": false })).await;
    let parent = app.submitted("parent", other).await;
    app.run_until_finished(&parent).await;
    let rivers = found(&app, "label.team=rivers").await;
    assert_eq!(rivers.len(), 1, "{rivers:?}");
    // None are inherited of a parent without any.
    let parent = app.submitted("parent", json!({ "count": 5 })).await;
    app.run_until_finished(&parent).await;
    assert_eq!(found(&app, "param.count=5&job_type=child").await[0].get("labels"), None);
}

#[tokio::test]
async fn deleted_jobs_leave_no_terms() {
    let app = TestApp::start().await;
    let labels = json!({ "team": "roads" });
    let job_id = app.submitted("hello_world", json!({ "n": 3, "labels": labels })).await;
    let other = app.submitted("hello_world", json!({ "n": 4, "labels": labels })).await;
    app.run_until_finished(&job_id).await;
    app.run_until_finished(&other).await;
    assert!(terms_of(&app, &job_id).await.len() > 3);
    let path = format!("/api/jobs/{job_id}");
    let deleted = app.request("DELETE", &path, Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.body);
    assert!(terms_of(&app, &job_id).await.is_empty());
    assert_eq!(found(&app, "label.team=roads").await[0]["job_id"], other.as_str());
    // The same submission makes a new job, with its own labels.
    let again = json!({ "n": 3, "labels": { "team": "rivers" } });
    assert_eq!(app.submitted("hello_world", again).await, job_id);
    assert_eq!(found(&app, "label.team=rivers").await[0]["job_id"], job_id.as_str());
}
