//! The audit: every planned task has a row and an outcome, and duplicates are counted.

use axum::http::StatusCode;
use lastlight_engine::config::Timing;
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, quick};

#[tokio::test]
async fn duplicate_deliveries_are_ignored_and_counted() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    let messages = app.planned().await;
    for message in messages.iter().chain(&messages).chain(&messages[..1]) {
        app.deliver("process_queue_task", &message.body).await;
    }
    let bodies: Vec<&str> =
        [&messages[0], &messages[0]].map(|message| message.body.as_str()).into();
    app.deliver_many("process_queue_task", &bodies).await;
    let audit = app.audit(&job_id).await;
    assert_eq!(audit["consistent"], true);
    let mut stage = audit["stages"][0].clone();
    let busy = stage["busySeconds"].take().as_f64().unwrap();
    assert!(busy > 0.0 && busy < 60.0, "{busy}");
    insta::assert_json_snapshot!(stage, @r#"
    {
      "attempts": 3,
      "batchesOwed": 0,
      "busySeconds": null,
      "completed": 3,
      "countersAgree": true,
      "duplicatesAbsorbed": 6,
      "failed": 0,
      "isOver": true,
      "isPlanned": true,
      "messagesResent": 0,
      "messagesSent": 3,
      "open": 0,
      "planned": 3,
      "skipped": 0,
      "stage": 1,
      "staleCompletionsRefused": 0
    }
    "#);
}

#[tokio::test]
async fn drifted_counters_are_reported_and_repaired() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [4, 1] })).await;
    let messages = app.planned().await;
    for message in &messages[..2] {
        app.deliver("process_queue_task", &message.body).await;
    }
    let mut connection = app.connection().await;
    // As if an outcome had not been counted: the stage would never finish.
    sqlx::query("UPDATE stages SET completed = completed - 1")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(app.audit(&job_id).await["consistent"], false);
    for message in &messages[2..] {
        app.deliver("process_queue_task", &message.body).await;
    }
    assert_eq!(app.status(&job_id).await["status"], "processing", "it is stuck");
    app.time_passes(quick().lost_after * 2).await;
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!((report.counters_repaired, report.stages_advanced), (1, 1));
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    assert_eq!(app.controller.reconcile().await.unwrap().counters_repaired, 0);
}

#[tokio::test]
async fn the_audit_of_an_unknown_job_answers_404() {
    let app = TestApp::start().await;
    let path = format!("/api/jobs/audit/{}", "a".repeat(64));
    let answer = app.request("GET", &path, "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
