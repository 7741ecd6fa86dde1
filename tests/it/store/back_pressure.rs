//! A slow or full database makes the handler answer 503 early. The handler never opens more
//! connections than its limit, and sends no statements while it is idle.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{
    config::{DatabaseSettings, Timing},
    model::ProcessingPath,
    store::Database,
    workflow::{Controller, Senders},
};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::{
    Mailbox, OfThisApp, Probe, TestApp, catalog, database_settings, new_database_url, quick, until,
};

/// A handler that waits for a connection no longer than `timeout`.
async fn impatient(url: &str, timeout: Duration) -> TestApp {
    let settings = DatabaseSettings { acquire_timeout: timeout, ..database_settings(url) };
    let database = Database::new(&settings);
    database.migrate().await.unwrap();
    let (queue, bus) =
        (Mailbox::new(ProcessingPath::QueueStorage), Mailbox::new(ProcessingPath::ServiceBus));
    let senders = Senders::new(queue.clone(), Some(bus.clone()));
    let catalog = Probe::default().add_to(catalog());
    let controller = Controller::new(catalog, database, senders, Timing::default());
    let router = crate::harness::router_of(&controller, false);
    TestApp { router, controller, queue, bus, url: url.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hanging_database_means_503_and_no_loss() {
    let url = new_database_url().await;
    let app = impatient(&url, Duration::from_secs(1)).await;
    let job_id = app.submitted("probe", json!({ "stages": [300] })).await;
    let messages = app.planned().await;
    let mut meddler = app.connection().await;
    let mut lock = meddler.begin().await.unwrap();
    lock.execute("LOCK TABLE tasks IN SHARE MODE").await.unwrap();
    let refused = messages.iter().map(|message| app.deliver("process_queue_task", &message.body));
    for answer in futures_util::future::join_all(refused).await {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    }
    let answer = app.deliver("process_queue_task", &messages[0].body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "one that comes later");
    assert_eq!(app.status(&job_id).await["progress"][0]["open"], 300, "other requests are served");
    lock.rollback().await.unwrap();
    until("the database is back", async || {
        let answer = app.deliver("process_queue_task", &messages[0].body).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let again = messages.iter().map(|message| app.deliver("process_queue_task", &message.body));
    for answer in futures_util::future::join_all(again).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_connection_pool_never_exceeds_its_limit() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1500], "tasks_per_message": 10 })).await;
    let mut watcher = PgConnection::connect(&app.url).await.unwrap();
    let watching = async {
        let mut most = 0;
        for _ in 0..60 {
            let now: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lastlight' AND datname = current_database()",
            )
            .fetch_one(&mut watcher)
            .await
            .unwrap();
            most = most.max(now);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        most
    };
    let polling = async {
        let statuses = (0..200).map(|_| app.status(&job_id));
        futures_util::future::join_all(statuses).await;
    };
    let (most, (), ()) = tokio::join!(watching, app.run_dry(), polling);
    assert!((1..=8).contains(&most), "{most} connections");
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn an_idle_handler_sends_no_statements() {
    let timing = Timing { lease: Duration::from_millis(900), ..quick() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    let mut watcher = PgConnection::connect(&app.url).await.unwrap();
    let mut last_statement = async || -> String {
        sqlx::query_scalar(
            "SELECT COALESCE(max(query_start)::text, '') FROM pg_stat_activity
             WHERE application_name = 'lastlight' AND datname = current_database()",
        )
        .fetch_one(&mut watcher)
        .await
        .unwrap()
    };
    let before = last_statement().await;
    assert!(!before.is_empty());
    // As long as several heartbeats.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(last_statement().await, before);
}

#[tokio::test]
async fn an_outcome_survives_a_short_database_outage() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "waits": true })).await;
    // The first task is not the last of its stage, so its outcome is all that is written after its
    // run.
    let [message, last] = app.planned().await.try_into().unwrap();
    // Its claim is stored; the connections are dead when its outcome is recorded.
    let ending_connections = async {
        probe.until_runs(1).await;
        app.end_connections().await;
        probe.open_gate();
        for _ in 0..10 {
            app.end_connections().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (answer, ()) =
        tokio::join!(app.deliver("process_queue_task", &message.body), ending_connections);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    app.deliver("process_queue_task", &last.body).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    assert!(probe.runs().values().all(|runs| *runs == 1), "what was computed was not lost");
}
