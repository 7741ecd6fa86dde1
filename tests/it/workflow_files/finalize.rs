//! `finalize` runs once the job is over, whatever became of it.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{transport::sender::QueueRole, workflow::ReconcileReport};
use serde_json::{Value, json};

use super::{app_of, app_with, attempts, results, until_gate};
use crate::harness::{TestApp, Workflows, until_idle};

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

const CLEANING: &str = r#"
workflow: cleaning
parameters: {list: {type: list, default: [1, 2, 3]}, label: {type: str, default: a}}
nodes:
  many:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {item: "{{ item }}"}}
  wait: {type: gate}
  after: {type: task, handler: echo, depends_on: [many, wait]}
finalize: {handler: echo}
"#;

/// How the nodes ended, in order.
fn outcomes(status: &Value) -> Vec<Option<&str>> {
    let nodes = status["progress"].as_array().unwrap().iter();
    nodes.map(|progress| progress["node"]["outcome"].as_str()).collect()
}

async fn cancel(app: &TestApp, job_id: &str) -> Value {
    let answer = app.control("cancel", job_id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

/// Lets a job's time limit pass; the next sweep finds that.
async fn reach_time_limit(app: &TestApp, job_id: &str) {
    let overdue = "UPDATE jobs SET deadline = now() - interval '1 second' WHERE job_id = $1";
    sqlx::query(overdue).bind(job_id).execute(&mut app.connection().await).await.unwrap();
}

/// Asserts that a job is over as it was before its last node ran, which ran once.
async fn assert_finalized(app: &TestApp, job_id: &str, status: &str, reason: &str) {
    let answer = app.status(job_id).await;
    assert_eq!(answer["status"], status, "{answer}");
    assert!(answer["errorDetails"].as_str().unwrap().contains(reason), "{answer}");
    assert_eq!(answer["resultData"], Value::Null);
    assert_eq!(outcomes(&answer).last(), Some(&Some("completed")), "{answer}");
    let result = results(app, job_id, "finalize").await;
    assert_eq!(result.len(), 1, "{result:?}");
    assert_eq!(result[0]["result"]["label"], "a", "it has the job's parameters");
    app.assert_consistent(job_id).await;
    assert_eq!(app.audit(job_id).await["consistent"], true);
    app.time_passes(AN_HOUR).await;
    assert_eq!(app.controller.reconcile().await.unwrap(), ReconcileReport::default());
    assert_eq!(app.status(job_id).await["status"], status);
}

#[tokio::test]
async fn a_cancelled_job_is_finalized_over_both_paths() {
    for use_service_bus in [false, true] {
        let app = app_with(CLEANING).await;
        let parameters = json!({ "use_service_bus": use_service_bus });
        let job_id = app.submitted("cleaning", parameters).await;
        match use_service_bus {
            false => app.planned().await,
            true => app.planned_over_bus().await,
        };
        let answer = cancel(&app, &job_id).await;
        assert_eq!((&answer["status"], &answer["tasks_skipped"]), (&json!("cancelled"), &json!(3)));
        // It runs until its last node has ended, and says why.
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "processing", "{status}");
        assert_eq!(status["errorDetails"], "cancelled on request");
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(outcomes(&status), [None, None, None, Some("completed")]);
        assert_finalized(&app, &job_id, "cancelled", "cancelled on request").await;
    }
}

#[tokio::test]
async fn a_job_that_reaches_its_time_limit_is_finalized() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    until_gate(&app, &job_id, "wait").await;
    reach_time_limit(&app, &job_id).await;
    assert_eq!(app.controller.reconcile().await.unwrap().jobs_timed_out, 1);
    app.run_until_finished(&job_id).await;
    assert_finalized(&app, &job_id, "failed", "its time limit").await;
}

#[tokio::test]
async fn a_job_whose_node_cannot_start_is_finalized() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    // Each new message in place of one that was delivered too often is delivered too often as well.
    while app.status(&job_id).await["errorDetails"] == Value::Null {
        let message = app.queue.take(QueueRole::Jobs).remove(0);
        app.deliver("process_queue_job_poison", &message.body).await;
    }
    app.sweep_until_finished(&job_id).await;
    assert_finalized(&app, &job_id, "failed", "could not be started").await;
}

#[tokio::test]
async fn a_cancellation_while_finalize_runs_ends_it() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    app.run_dry().await;
    cancel(&app, &job_id).await;
    app.planned().await;
    // Once more: what is left of it does not run.
    let answer = cancel(&app, &job_id).await;
    assert_eq!(answer["tasks_skipped"], 1, "{answer}");
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled", "{status}");
    assert_eq!(outcomes(&status), [Some("completed"), None, None, Some("failed")]);
    app.assert_consistent(&job_id).await;
    app.time_passes(AN_HOUR).await;
    assert_eq!(app.controller.reconcile().await.unwrap(), ReconcileReport::default());
}

#[tokio::test]
async fn a_time_limit_while_finalize_runs_leaves_a_cancelled_job_cancelled() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    app.run_dry().await;
    cancel(&app, &job_id).await;
    reach_time_limit(&app, &job_id).await;
    app.controller.reconcile().await.unwrap();
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled", "{status}");
    assert_eq!(status["errorDetails"], "cancelled on request");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retry_of_a_finalized_job_runs_the_rest_and_not_finalize_again() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    app.planned().await;
    cancel(&app, &job_id).await;
    // Not while it is finalized.
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::CONFLICT);
    app.run_until_finished(&job_id).await;
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    until_gate(&app, &job_id, "wait").await;
    super::decide(&app, &job_id, "wait", "approve").await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(outcomes(&status), [Some("completed"); 4]);
    assert_eq!(attempts(&app, &job_id, "finalize").await, [1]);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retry_before_finalize_began_runs_it_at_the_end() {
    let app = app_with(CLEANING).await;
    let job_id = app.submitted("cleaning", json!({})).await;
    app.run_dry().await;
    // As if the process had died after storing the cancellation.
    let mut connection = app.connection().await;
    let cancelled = "UPDATE jobs SET status = 'cancelled', error_details = 'cancelled on request', finished_at = now()";
    sqlx::query(cancelled).execute(&mut connection).await.unwrap();
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    super::decide(&app, &job_id, "wait", "approve").await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(outcomes(&status), [Some("completed"); 4]);
    assert_eq!(attempts(&app, &job_id, "finalize").await, [1]);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_process_may_die_at_any_moment_of_a_cancellation() {
    let app = app_with(CLEANING).await;
    let mut watcher = app.connection().await;
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let list: Vec<u64> = (0..seed + 1).collect();
        let job_id = app.submitted("cleaning", json!({ "list": list })).await;
        app.planned().await;
        let moment = Duration::from_micros(random.u64(500..25_000));
        if tokio::time::timeout(moment, app.control("cancel", &job_id)).await.is_err() {
            until_idle(&mut watcher).await;
            // The client repeats its request, unless it sees that it was cancelled.
            if app.status(&job_id).await["errorDetails"] == Value::Null {
                cancel(&app, &job_id).await;
            }
        }
        for _ in 0..3 {
            app.time_passes(AN_HOUR).await;
            let moment = Duration::from_micros(random.u64(500..25_000));
            if tokio::time::timeout(moment, app.controller.reconcile()).await.is_err() {
                until_idle(&mut watcher).await;
            }
        }
        let mut rounds = 0;
        while outcomes(&app.status(&job_id).await).last() != Some(&Some("completed")) {
            rounds += 1;
            assert!(rounds < 20, "seed {seed}: {}", app.status(&job_id).await);
            app.time_passes(AN_HOUR).await;
            app.controller.reconcile().await.unwrap();
            app.run_dry().await;
        }
        assert_finalized(&app, &job_id, "cancelled", "cancelled on request").await;
    }
}

const PARENT: &str = r#"
workflow: parent
nodes:
  child: {type: job, job_type: cleaning}
  after: {type: task, handler: echo, depends_on: [child]}
"#;

/// A job and the child that it waits for, which waits at its gate.
async fn waiting_for_child() -> (TestApp, String, String) {
    let app = app_of(&Workflows::of([("parent.yaml", PARENT), ("cleaning.yaml", CLEANING)])).await;
    let parent = app.submitted("parent", json!({})).await;
    app.run_dry().await;
    let status = app.status(&parent).await;
    let child = status["progress"][0]["node"]["childJobId"].as_str().unwrap().to_owned();
    (app, parent, child)
}

#[tokio::test]
async fn a_job_waits_until_its_cancelled_child_is_finalized() {
    let (app, parent, child) = waiting_for_child().await;
    cancel(&app, &child).await;
    app.controller.reconcile().await.unwrap();
    assert_eq!(app.status(&parent).await["status"], "processing");
    let status = app.run_until_finished(&parent).await;
    assert_eq!(outcomes(&status), [Some("failed"), Some("skipped")]);
    assert_finalized(&app, &child, "cancelled", "cancelled on request").await;
}

#[tokio::test]
async fn a_job_that_reaches_its_time_limit_cancels_its_child() {
    let (app, parent, child) = waiting_for_child().await;
    reach_time_limit(&app, &parent).await;
    app.controller.reconcile().await.unwrap();
    app.run_until_finished(&child).await;
    assert_eq!(app.status(&parent).await["status"], "failed");
    assert_finalized(&app, &child, "cancelled", "cancelled on request").await;
}
