//! Poolers: behind one that keeps prepared statements, or that keeps one connection for each
//! client, everything works and no state remains on connections that others use afterwards. A
//! pooler that loses prepared statements is refused at the start.

use axum::http::StatusCode;
use lastlight_engine::store::{Database, DatabaseError, reach};
use lastlight_local::LocalPostgres;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};

use crate::{
    cli::harness::{command, run},
    harness::{TestApp, catalog, database_settings, new_database_url, quick, service},
};

/// The URL of a new, empty database through a pooler.
async fn through(pooler: &str) -> String {
    pooled(&new_database_url().await, pooler)
}

fn pooled(database: &str, pooler: &str) -> String {
    let name = database.rsplit_once('/').unwrap().1;
    let pooler = service(pooler);
    format!("{}/{name}", pooler.rsplit_once('/').unwrap().0)
}

const KEEPING: &str = "LASTLIGHT_TEST_PGBOUNCER_KEEPING_URL";
const LOSING: &str = "LASTLIGHT_TEST_PGBOUNCER_LOSING_URL";
const SESSION: &str = "LASTLIGHT_TEST_PGBOUNCER_SESSION_URL";

/// What another application finds on the server's connections, all opened at once so that each gets
/// one of them: settings that were changed and not reset, the number of held locks, and prepared
/// statements that remain.
async fn what_others_find(url: &str) -> (Vec<String>, i64, Vec<String>) {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).application_name("another application");
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        connection.execute(sqlx::raw_sql("BEGIN")).await.unwrap();
        connections.push(connection);
    }
    let (mut told, mut statements, mut locks) = (Vec::new(), Vec::new(), 0);
    for connection in &mut connections {
        let rows = sqlx::raw_sql(
            "SELECT name || ' = ' || setting FROM pg_settings
             WHERE source = 'session' AND name NOT IN ('application_name', 'DateStyle', 'TimeZone', 'client_encoding')",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        told.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        let rows = sqlx::raw_sql("SELECT name::text FROM pg_prepared_statements")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        statements.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        let row = sqlx::raw_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        locks = row.get(0);
    }
    (told, locks, statements)
}

/// Runs a job over each path, its reads, a cancellation, a sweep, and every page for users.
async fn everything_works(direct: &str, url: &str) {
    let mut app = TestApp::on(url, catalog(), quick()).await;
    // The test's own connections change their search path permanently.
    app.url = direct.to_owned();
    for path in [false, true] {
        let job = app.submitted("hello_world", json!({ "n": 150, "use_service_bus": path })).await;
        let status = app.run_until_finished(&job).await;
        assert_eq!(status["status"], "completed", "{status}");
        app.assert_consistent(&job).await;
        assert_eq!(app.audit(&job).await["consistent"], true);
    }
    let cancelled = app.submitted("hello_world", json!({ "n": 151 })).await;
    assert_eq!(app.control("cancel", &cancelled).await.status, StatusCode::OK);
    app.run_until_finished(&cancelled).await;
    assert_eq!(app.deliver("reconcile", "{}").await.status, StatusCode::OK);
    for path in [
        "/api/health",
        "/api/db/jobs",
        "/api/db/stats",
        "/api/db/functions/test",
        "/api/metrics/comparison",
        "/api/db/enums/diagnostic",
        "/api/metrics",
    ] {
        let answer = app.request("GET", path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
    let statements = app.request("GET", "/api/db/functions/test", "").await.body;
    assert!(!statements.to_string().contains(r#""accepted":false"#), "{statements}");
}

#[tokio::test]
async fn jobs_run_behind_a_statement_keeping_pooler() {
    let direct = new_database_url().await;
    let url = pooled(&direct, KEEPING);
    everything_works(&direct, &url).await;
    let (told, locks, _) = what_others_find(&url).await;
    assert_eq!(told, Vec::<String>::new(), "settings that others would meet");
    assert_eq!(locks, 0, "locks that are never released");
}

#[tokio::test]
async fn jobs_run_behind_a_pooler_in_session_mode() {
    let direct = new_database_url().await;
    let url = pooled(&direct, SESSION);
    everything_works(&direct, &url).await;
    let (told, locks, statements) = what_others_find(&url).await;
    assert_eq!(told, Vec::<String>::new(), "settings that others would meet");
    assert_eq!((locks, statements), (0, Vec::new()));
}

/// The pooler may hand connections to other clients while this process starts: no settings may
/// remain on them either.
#[tokio::test]
async fn a_lossy_pooler_is_refused_at_start() {
    let url = through(LOSING).await;
    let settings = database_settings(&url);
    let database = Database::new(&settings);
    let error = database.migrate().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Pooler), "{error}");
    let words = reach(&settings).await.unwrap_err().to_string();
    for part in [
        "does not keep prepared statements",
        "1.21 or later",
        "pool_mode = session",
        "connect directly",
    ] {
        assert!(
            error.to_string().contains(part) && words.contains(part),
            "no {part:?}: {error}; {words}"
        );
    }
    database.close().await;
    let (told, locks, statements) = what_others_find(&url).await;
    assert_eq!(told, Vec::<String>::new(), "settings that others would meet");
    assert_eq!((locks, statements), (0, Vec::new()));
}

/// Other clients use the connections that the check needs: the result is the same.
#[tokio::test]
async fn a_busy_lossy_pooler_is_refused_too() {
    let url = through(LOSING).await;
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None);
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let options = options.clone();
            tokio::spawn(async move {
                let mut connection = PgConnection::connect_with(&options).await.unwrap();
                loop {
                    connection.execute(sqlx::raw_sql("SELECT 1")).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        assert!(reach(&database_settings(&url)).await.is_err());
    }
    for task in busy {
        task.abort();
    }
}

#[tokio::test]
async fn commands_refuse_a_lossy_pooler_with_exit_2() {
    let url = through(LOSING).await;
    let settings =
        [("DATABASE_URL", url.as_str()), ("AzureWebJobsStorage", "UseDevelopmentStorage=true")];
    for name in ["migrate", "reconcile"] {
        let said = run(command(&[name], &settings)).await;
        assert_eq!(said.code, 2, "{name}: {}", said.err);
        assert!(said.err.contains("does not keep prepared statements"), "{}", said.err);
    }
    let doctor =
        run(command(&["doctor", "--app-root", env!("CARGO_MANIFEST_DIR")], &settings)).await;
    assert!(doctor.out.contains("does not keep prepared statements"), "{}", doctor.out);
}

#[tokio::test]
async fn the_demo_runs_behind_a_pooler() {
    let url = through(KEEPING).await;
    let mut demo = command(&["demo", "--n", "20", "--json"], &[]);
    demo.args(["--database-url", &url, "--app-root", env!("CARGO_MANIFEST_DIR")]);
    let said = run(demo).await;
    assert_eq!(said.code, 0, "{}", said.err);
    for path in said.json()["paths"].as_array().unwrap() {
        assert_eq!(path["status"], "completed", "{path}");
    }
    let (told, locks, _) = what_others_find(&url).await;
    assert_eq!((told, locks), (Vec::new(), 0));
}

#[tokio::test]
async fn doctor_reports_a_pooler_before_the_database() {
    let url = through(KEEPING).await;
    let settings =
        [("DATABASE_URL", url.as_str()), ("AzureWebJobsStorage", "UseDevelopmentStorage=true")];
    let doctor =
        run(command(&["doctor", "--app-root", env!("CARGO_MANIFEST_DIR")], &settings)).await;
    assert!(doctor.out.contains("through a pooler"), "{}", doctor.out);
}

#[tokio::test]
async fn direct_connections_are_set_up_once() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalPostgres::start(&folder.path().join("postgres")).await.unwrap();
    for url in [new_database_url().await, local.url()] {
        let options: PgConnectOptions = url.parse().unwrap();
        let options = options.application_name("lastlight").extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let row = sqlx::raw_sql(include_str!(
            "../../../crates/lastlight-engine/src/store/sql/own_connection.sql"
        ))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(row.get::<bool, _>("is_own"), "{url}");
        connection.close().await.unwrap();
    }
    local.stop().await;
}
