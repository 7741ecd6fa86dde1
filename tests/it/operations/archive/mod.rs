//! A job is deleted only after its archive is complete: whatever dies, fails or comes too late.

mod attempts;
mod content;
mod failing;

use axum::body::Body;
use lastlight_engine::{config::Timing, workflow::ReconcileReport};
use lastlight_testing::{archive::archive_in, blobs::NewContainer};
use serde_json::Value;

use crate::harness::{Answer, Probe, TestApp, catalog, new_database_url};

/// A handler that archives into a container of its own, and the container.
async fn archiving(timing: Timing) -> (TestApp, NewContainer) {
    let container = NewContainer::create().await;
    let catalog = Probe::default().add_to(catalog());
    let archive = archive_in(&container);
    let app = TestApp::archiving(&new_database_url().await, catalog, timing, archive).await;
    (app, container)
}

async fn ended(app: &TestApp, job_type: &str, parameters: Value) -> String {
    let job_id = app.submitted(job_type, parameters).await;
    app.run_until_finished(&job_id).await;
    job_id
}

/// Moves the ends of all jobs far back.
async fn age(app: &TestApp) {
    sqlx::query("UPDATE jobs SET finished_at = finished_at - interval '400 days'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
}

async fn sweep(app: &TestApp) -> ReconcileReport {
    app.controller.reconcile().await.unwrap()
}

async fn delete(app: &TestApp, job_id: &str) -> Answer {
    app.request("DELETE", &format!("/api/jobs/{job_id}"), Body::empty()).await
}

/// The number of rows of a job in the tables that hold any.
async fn rows_of(app: &TestApp, job_id: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM jobs WHERE job_id = $1) + (SELECT count(*) FROM stages WHERE job_id = $1)
             + (SELECT count(*) FROM tasks WHERE parent_job_id = $1)
             + (SELECT count(*) FROM task_batches WHERE job_id = $1)
             + (SELECT count(*) FROM job_events WHERE job_id = $1)",
    )
    .bind(job_id)
    .fetch_one(&mut app.connection().await)
    .await
    .unwrap()
}

async fn tasks_of(app: &TestApp, job_id: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM tasks WHERE parent_job_id = $1")
        .bind(job_id)
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
}
