//! Which processes are alive, which tasks they run, and whether sweeps run.

use axum::{body::Body, http::StatusCode};
use lastlight_engine::queries::Queries;
use lastlight_engine::{
    config::Timing,
    store::Database,
    workflow::{Controller, Senders},
};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, database_settings, quick, until};

#[tokio::test]
async fn status_counts_running_tasks_of_all_processes() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3], "waits": true })).await;
    let tasks = app.planned().await;
    let unknown = app.status(&job_id).await["progress"][0].clone();
    assert!(unknown["running"].is_null(), "no instance has reported yet: {unknown}");
    app.controller.report_in_background();
    let watch = async {
        let seen = until("two tasks run", async || {
            let seen = app.status(&job_id).await["progress"][0].clone();
            (seen["running"] == 2).then_some(seen)
        })
        .await;
        probe.open_gate();
        seen
    };
    let (seen, ..) = tokio::join!(
        watch,
        app.deliver("process_queue_task", &tasks[0].body),
        app.deliver("process_queue_task", &tasks[1].body),
    );
    assert_eq!((&seen["running"], &seen["queued"]), (&json!(2), &json!(1)), "{seen}");
}

#[tokio::test]
async fn reports_of_silent_processes_are_not_counted() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    assert_eq!(app.planned().await.len(), 3);
    let mut connection = app.connection().await;
    for (seconds_ago, running) in [(0, json!(2)), (20, json!(0)), (100, json!(null))] {
        sqlx::query(
            "INSERT INTO instances (instance_id, version, seen_at, running_jobs, running_stages, running_tasks,
                                    pool_open, pool_in_use, pool_limit)
             VALUES ('00000000-0000-4000-8000-000000000001', 'test', now() - make_interval(secs => $2),
                     ARRAY[$1], ARRAY[1], ARRAY[2], 1, 1, 8)
             ON CONFLICT (instance_id) DO UPDATE SET seen_at = EXCLUDED.seen_at",
        )
        .bind(&job_id)
        .bind(f64::from(seconds_ago))
        .execute(&mut connection)
        .await
        .unwrap();
        let progress = app.status(&job_id).await["progress"][0].clone();
        assert_eq!(progress["running"], running, "{seconds_ago} s ago: {progress}");
    }
}

#[tokio::test]
async fn a_sweep_removes_instances_that_are_gone() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut connection = app.connection().await;
    sqlx::query(
        "INSERT INTO instances (instance_id, version, seen_at, pool_open, pool_in_use, pool_limit)
         VALUES (gen_random_uuid(), 'gone', now() - interval '11 minutes', 1, 0, 8),
                (gen_random_uuid(), 'alive', now() - interval '9 minutes', 1, 0, 8)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    for _ in 0..2 {
        let answer = app.request("POST", "/reconcile", r#"{"Data":{},"Metadata":{}}"#).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let left: Vec<String> = sqlx::query_scalar("SELECT version FROM instances")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, ["alive"]);
    let (sweeps, is_recent): (i64, bool) = sqlx::query_as(
        "SELECT count(*), bool_and(finished_at > now() - interval '1 minute' AND began_at <= finished_at
                                   AND found ? 'batches_lost') FROM last_sweep",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!((sweeps, is_recent), (1, true));
}

#[tokio::test]
async fn live_needs_neither_database_nor_queues() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    app.queue.set_down(true);
    app.end_connections().await;
    let answer = app.request("GET", "/api/live", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["status"], "alive", "{}", answer.body);
}

#[tokio::test]
async fn health_reports_that_no_sweep_has_run() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let health = async || app.request("GET", "/api/health", Body::empty()).await;
    let answer = health().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let components = &answer.body["components"];
    assert!(components["reconcile"]["last_run"].is_null(), "{components}");
    assert_eq!(components["schema"]["version"], components["schema"]["known"]);
    assert_eq!(components["instances"]["alive"], 0);
    sqlx::query(
        "INSERT INTO instances (instance_id, version, started_at, pool_open, pool_in_use, pool_limit)
         VALUES (gen_random_uuid(), 'test', now() - interval '6 minutes', 1, 0, 8)",
    )
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    let answer = health().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert_eq!(answer.body["components"]["reconcile"]["status"], "unhealthy");
    app.controller.reconcile().await.unwrap();
    let answer = health().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["components"]["instances"]["alive"], 1);
}

#[tokio::test]
async fn health_reports_unsent_messages() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    app.queue.set_down(true);
    app.submitted("probe", json!({ "stages": [1] })).await;
    let outbox = async || {
        let answer = app.request("GET", "/api/health", Body::empty()).await;
        answer.body["components"]["outbox"].clone()
    };
    let unsent = outbox().await;
    assert_eq!(unsent["job_messages_owed"], 1, "{unsent}");
    assert!(unsent["oldest_seconds"].as_f64().unwrap() >= 0.0, "{unsent}");
    app.queue.set_down(false);
    app.time_passes(quick().send_grace * 2).await;
    app.controller.reconcile().await.unwrap();
    let unsent = outbox().await;
    assert_eq!(
        (&unsent["job_messages_owed"], &unsent["oldest_seconds"]),
        (&json!(0), &json!(null))
    );
}

#[tokio::test]
async fn health_reports_jobs_of_a_disabled_path() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "use_service_bus": true })).await;
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    let senders = Senders::new(app.queue.clone(), None);
    let without_bus = Controller::new(catalog(), database, senders, Timing::default());
    let health = Queries::of(&without_bus).health().await;
    assert_eq!(health.status, "unhealthy");
    assert!(
        health.errors.iter().any(|error| error.starts_with(
            "switched_off: 1 open jobs use Service Bus, which is switched off: they cannot continue"
        )),
        "{:?}",
        health.errors
    );
    assert_eq!(app.control("cancel", &job_id).await.status, StatusCode::OK);
    assert_eq!(Queries::of(&without_bus).health().await.status, "healthy");
    assert_eq!(Queries::of(&app.controller).health().await.status, "healthy");
}
