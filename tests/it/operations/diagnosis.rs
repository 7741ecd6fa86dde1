//! Diagnosis of the database for operators.

use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, TestApp};

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.request("GET", path, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn statistics_list_all_tables_and_indexes() {
    let app = TestApp::start().await;
    app.submitted("hello_world", json!({ "n": 3 })).await;
    let statistics = get(&app, "/api/db/stats").await;
    assert_eq!(statistics["schema"], "app");
    let names = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let tables = names(&statistics["tables"]);
    for table in ["jobs", "stages", "tasks", "task_batches", "outbox"] {
        assert!(tables.iter().any(|name| name == table), "{table} in {tables:?}");
    }
    let indexes = statistics["indexes"].as_array().unwrap();
    assert!(
        indexes.iter().all(|index| index["is_valid"] == true && index["bytes"].as_i64() > Some(0))
    );
    assert!(names(&statistics["indexes"]).contains(&"tasks_failed".to_owned()));
}

#[tokio::test]
async fn enum_types_are_compared_with_those_of_the_app() {
    let app = TestApp::start().await;
    let diagnosis = get(&app, "/api/db/enums/diagnostic").await;
    assert_eq!(diagnosis["agrees"], true, "{diagnosis}");
    assert_eq!(diagnosis["enums"].as_array().unwrap().len(), 3);
    let mut connection = app.connection().await;
    for statement in [
        "ALTER TYPE job_status ADD VALUE 'of_the_future'",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let diagnosis = get(&app, "/api/db/enums/diagnostic").await;
    let disagreeing: Vec<&str> = diagnosis["enums"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|diagnosis| diagnosis["agrees"] == false)
        .map(|diagnosis| diagnosis["name"].as_str().unwrap())
        .collect();
    assert_eq!((&diagnosis["agrees"], disagreeing), (&json!(false), vec!["job_status", "mood"]));
}

#[tokio::test]
async fn a_statement_refused_by_the_database_is_named() {
    let app = TestApp::start().await;
    let diagnosis = get(&app, "/api/db/functions/test").await;
    assert_eq!(diagnosis["accepted"], true, "{diagnosis}");
    assert!(diagnosis["statements"].as_array().unwrap().len() > 60);
    sqlx::query("ALTER TABLE outbox RENAME COLUMN sends TO sent")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    let diagnosis = get(&app, "/api/db/functions/test").await;
    assert_eq!(diagnosis["accepted"], false);
    let refused = diagnosis["statements"]
        .as_array()
        .unwrap()
        .iter()
        .find(|statement| statement["name"] == "due_job_messages")
        .unwrap();
    assert!(refused["error"].as_str().unwrap().contains("sends"), "{refused}");
    // The app continues to work.
    get(&app, "/api/health").await;
}

#[tokio::test]
async fn the_newest_jobs_and_tasks_are_shown_in_full() {
    let app = TestApp::start().await;
    for n in 1..=3 {
        app.submitted("hello_world", json!({ "n": n })).await;
    }
    app.run_dry().await;
    let newest = get(&app, "/api/db/debug/all?limit=2").await;
    assert_eq!(newest["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(newest["jobs"][0]["parameters"]["n"], 3);
    assert_eq!(newest["jobs"][0]["stage_results"]["1"]["completed"], 3);
    assert_eq!(newest["tasks"][1]["result_data"]["task_number"], 1);
    let refused = app.request("GET", "/api/db/debug/all?limit=21", Body::empty()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}
