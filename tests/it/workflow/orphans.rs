//! Jobs whose rows were deleted by hand: the sweep removes what they leave, and nothing of other
//! jobs.

use axum::http::StatusCode;
use lastlight_engine::transport::sender::QueueRole;
use serde_json::json;
use sqlx::Executor;

use crate::harness::{OfThisApp, Probe, TestApp, quick, until};

/// Deletes a job as docs/howto/stuck-job.md describes.
async fn delete(app: &TestApp, job_id: &str) {
    let deleted = sqlx::query("DELETE FROM jobs WHERE job_id = $1")
        .bind(job_id)
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    assert_eq!(deleted.rows_affected(), 1);
}

async fn tasks_of(app: &TestApp, job_id: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM tasks WHERE parent_job_id = $1")
        .bind(job_id)
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_sweep_removes_tasks_of_deleted_jobs_only() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let mut over = Vec::new();
    for (number, tasks) in [2500, 3, 40, 0].into_iter().enumerate() {
        let job_id = app.submitted("probe", json!({ "stages": [tasks], "number": number })).await;
        assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
        over.push(job_id);
    }
    // One job is being planned all the while: a part of its tasks is stored.
    let planning = app.submitted("probe", json!({ "stages": [2400], "plan_waits_at": 1500 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let (planned, ()) = tokio::join!(app.deliver("process_queue_job", &job.body), async {
        until("a part is stored", async || (tasks_of(&app, &planning).await > 0).then_some(()))
            .await;
        delete(&app, &over[0]).await;
        delete(&app, &over[1]).await;
        let mut removed = 0;
        for _ in 0..2 {
            removed += app.controller.reconcile().await.unwrap().orphans_removed;
        }
        assert_eq!(removed, 2503);
        assert!(tasks_of(&app, &planning).await > 0);
        probe.open_gate();
    });
    assert_eq!(planned.status, StatusCode::OK, "{}", planned.body);
    for job_id in &over[..2] {
        assert_eq!(tasks_of(&app, job_id).await, 0);
    }
    assert_eq!(tasks_of(&app, &over[2]).await, 40);
    assert_eq!(app.controller.reconcile().await.unwrap().orphans_removed, 0);
    assert_eq!(app.run_until_finished(&planning).await["status"], "completed");
    assert_eq!(tasks_of(&app, &planning).await, 2400);
    app.assert_consistent(&planning).await;
}

#[tokio::test]
async fn a_resubmitted_deleted_job_starts_from_scratch() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let parameters = json!({ "stages": [1200, 5] });
    let job_id = app.submitted("probe", parameters.clone()).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    delete(&app, &job_id).await;
    assert_eq!(app.submitted("probe", parameters).await, job_id);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(tasks_of(&app, &job_id).await, 1205);
    assert!(probe.ledger.lock().unwrap().values().all(|runs| *runs == 2));
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn the_sweep_works_without_the_delete_right() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    app.run_until_finished(&job_id).await;
    delete(&app, &job_id).await;
    let mut connection = app.connection().await;
    // Simulates the missing right: the statement is refused in the same way.
    connection
        .execute("CREATE RULE no_delete AS ON DELETE TO tasks DO INSTEAD SELECT 1 / 0")
        .await
        .unwrap();
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.orphans_removed, 0);
    assert_eq!(tasks_of(&app, &job_id).await, 3);
}
