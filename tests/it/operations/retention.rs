//! Jobs that are over are deleted after a time, or on request: with everything that they left, in steps
//! that may end anywhere, and never a job that runs or is still needed.

use axum::body::Body;
use lastlight_engine::{
    config::Timing,
    job::{Job, Keep, Plan, PlanContext, Retention, Stage, Start, TaskContext, TaskError},
    model::{JobId, UserRequest},
    store::{Database, Marked},
    workflow::ReconcileReport,
};
use lastlight_testing::database::database_settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{Answer, OfThisApp, Probe, TestApp, TestWorker, catalog, quick};

/// The rows of a job in every table that has any.
async fn rows_of(app: &TestApp, job_id: &str) -> Vec<(String, i64)> {
    let mut connection = app.connection().await;
    let mut rows = Vec::new();
    for (table, column) in [
        ("jobs", "job_id"),
        ("stages", "job_id"),
        ("tasks", "parent_job_id"),
        ("task_batches", "job_id"),
        ("task_notes", "job_id"),
        ("outbox", "job_id"),
        ("job_terms", "job_id"),
        ("worker_claims", "job_id"),
    ] {
        let statement = format!("SELECT count(*) FROM {table} WHERE {column} = $1");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(job_id)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        if count > 0 {
            rows.push((table.to_owned(), count));
        }
    }
    rows
}

/// Moves the ends of all jobs this number of days back.
async fn age(app: &TestApp, days: i32) {
    sqlx::query("UPDATE jobs SET finished_at = finished_at - make_interval(days => $1)")
        .bind(days)
        .execute(&mut app.connection().await)
        .await
        .unwrap();
}

async fn sweep(app: &TestApp) -> ReconcileReport {
    app.controller.reconcile().await.unwrap()
}

async fn ended(app: &TestApp, job_type: &str, parameters: Value) -> String {
    let job_id = app.submitted(job_type, parameters).await;
    app.run_until_finished(&job_id).await;
    job_id
}

async fn delete(app: &TestApp, job_id: &str, query: &str) -> Answer {
    app.request("DELETE", &format!("/api/jobs/{job_id}{query}"), Body::empty()).await
}

#[tokio::test]
async fn jobs_are_deleted_after_their_retention_with_everything_they_left() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let completed = ended(&app, "probe", json!({ "stages": [7, 3] })).await;
    let failed = ended(&app, "probe", json!({ "stages": [2], "fails": [0] })).await;
    assert_eq!(app.status(&failed).await["status"], "failed");
    assert_eq!(sweep(&app).await.jobs_purged, 0);
    age(&app, 29).await;
    assert_eq!(sweep(&app).await.jobs_purged, 0, "it is kept for 30 days");
    age(&app, 2).await;
    let report = sweep(&app).await;
    assert_eq!((report.jobs_purged, report.tasks_purged), (1, 10));
    assert!(!rows_of(&app, &failed).await.is_empty(), "a failed one is kept for 90 days");
    assert_eq!(rows_of(&app, &completed).await, []);
    age(&app, 60).await;
    sweep(&app).await;
    assert_eq!(rows_of(&app, &failed).await, []);
    let hours: i64 = sqlx::query_scalar("SELECT count(*) FROM job_rollups")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert!(hours > 0, "what the metrics need stays");
    assert_eq!(sweep(&app).await, ReconcileReport::default(), "nothing is orphaned");
    let again = app.submitted("probe", json!({ "stages": [7, 3] })).await;
    assert_eq!(again, completed, "the same work may be done again");
    assert_eq!(app.run_until_finished(&again).await["status"], "completed");
}

#[tokio::test]
async fn never_is_never() {
    let timing = Timing {
        retention: Retention { completed: Some(Keep::Forever), failed: Some(Keep::Forever) },
        ..quick()
    };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let job_id = ended(&app, "probe", json!({ "stages": [2] })).await;
    sweep(&app).await;
    age(&app, 200_000).await;
    assert_eq!(sweep(&app).await.jobs_purged, 0);
    assert!(!rows_of(&app, &job_id).await.is_empty());
}

#[tokio::test]
async fn a_job_that_runs_or_is_not_measured_is_never_deleted() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let unmeasured = ended(&app, "probe", json!({ "stages": [4], "number": 1 })).await;
    let open = app.submitted("probe", json!({ "stages": [5] })).await;
    age(&app, 400).await;
    // The sweep measures first, so the job is deleted only once the metrics have it.
    let report = sweep(&app).await;
    let measured: i64 = sqlx::query_scalar("SELECT sum(completed)::bigint FROM job_rollups")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert!(report.jobs_purged == 1 && measured > 0, "{report:?}, {measured} measured");
    assert_eq!(rows_of(&app, &unmeasured).await, []);
    assert!(!rows_of(&app, &open).await.is_empty());
    assert_eq!(app.run_until_finished(&open).await["status"], "completed");
}

/// A job type with a rule of its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Brief {
    n: u64,
}

impl Job for Brief {
    const NAME: &'static str = "brief";
    type Last = Only;

    fn retention() -> Retention {
        Retention { completed: Some(Keep::Days(2)), failed: None }
    }
}

struct Only;

impl Stage for Only {
    const NAME: &'static str = "only";
    type Job = Brief;
    type Previous = Start;
    type Task = u64;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..context.job.n, |n| (format!("task-{n}"), n))
    }

    async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> {
        if n == 13 { Err(TaskError::permanent("no")) } else { Ok(n) }
    }

    fn fold(sum: &mut u64, n: u64) {
        *sum += n;
    }
}

#[tokio::test]
async fn a_job_type_may_have_a_rule_of_its_own() {
    let app = TestApp::with_job::<Brief>(quick()).await;
    let completed = ended(&app, "brief", json!({ "n": 3 })).await;
    let failed = ended(&app, "brief", json!({ "n": 14 })).await;
    sweep(&app).await;
    age(&app, 3).await;
    assert_eq!(sweep(&app).await.jobs_purged, 1);
    assert_eq!(rows_of(&app, &completed).await, []);
    age(&app, 86).await;
    assert_eq!(sweep(&app).await.jobs_purged, 0, "failed ones follow the app's setting");
    age(&app, 2).await;
    assert_eq!(sweep(&app).await.jobs_purged, 1);
    assert_eq!(rows_of(&app, &failed).await, []);
}

#[tokio::test]
async fn a_job_is_deleted_on_request_once_it_is_over() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [30] })).await;
    app.run_dry().await;
    let running = app.submitted("probe", json!({ "stages": [3], "number": 2 })).await;
    let refused = delete(&app, &running, "").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let said = refused.body["message"].as_str().unwrap();
    assert!(said.contains("is queued") && said.contains("?cancel=true"), "{said}");
    assert_eq!(delete(&app, &running, "?cancel=perhaps").await.status, 400);
    let cancelled = delete(&app, &running, "?cancel=true").await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    assert_eq!(
        (&cancelled.body["is_deleted"], &cancelled.body["is_cancelled"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(rows_of(&app, &running).await, []);
    let deleted = delete(&app, &job_id, "").await;
    assert_eq!((deleted.status.as_u16(), &deleted.body["tasks_deleted"]), (200, &json!(30)));
    assert_eq!(rows_of(&app, &job_id).await, []);
    assert_eq!(delete(&app, &job_id, "").await.status, 404);
    // Messages of the deleted jobs are ignored.
    app.run_dry().await;
    assert_eq!(sweep(&app).await.orphans_removed, 0);
}

#[tokio::test]
async fn a_job_that_is_being_deleted_cannot_be_retried() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    let marked =
        database.purge().mark(&job_id.parse::<JobId>().unwrap(), false, &UserRequest::NOBODY).await;
    assert_eq!(marked.unwrap(), Marked::Yes);
    let refused = app.control("retry", &job_id).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body["message"].as_str().unwrap().contains("is being deleted"));
    sweep(&app).await;
    assert_eq!(rows_of(&app, &job_id).await, []);
}

#[tokio::test]
async fn jobs_are_deleted_by_age_and_state_after_a_look() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    for number in 0..12 {
        ended(&app, "probe", json!({ "stages": [1], "number": number })).await;
    }
    sweep(&app).await;
    age(&app, 10).await;
    let fresh = ended(&app, "probe", json!({ "stages": [1], "number": 99 })).await;
    let purge = async |body: Value| app.request("POST", "/api/jobs/purge", body.to_string()).await;
    let mut body = json!({ "older_than_days": 5, "status": ["completed"], "dry_run": true });
    let look = purge(body.clone()).await;
    assert_eq!(look.status, 200, "{}", look.body);
    assert_eq!((&look.body["jobs"], &look.body["has_more"]), (&json!(12), &json!(false)));
    assert_eq!(look.body["sample"].as_array().unwrap().len(), 10);
    body["job_type"] = json!("another");
    assert_eq!(purge(body.clone()).await.body["jobs"], 0);
    body["job_type"] = json!("probe");
    body["dry_run"] = json!(false);
    assert_eq!(purge(body.clone()).await.body["jobs"], 12);
    assert_eq!(purge(body).await.body["jobs"], 0, "they are marked");
    assert_eq!(sweep(&app).await.jobs_purged, 12);
    assert!(!rows_of(&app, &fresh).await.is_empty());
    let all = purge(json!({ "older_than_days": 0, "status": ["completed"] })).await;
    assert_eq!(all.status, 400, "{}", all.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_share_the_work_and_leave_nothing() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut jobs = Vec::new();
    for number in 0..40 {
        jobs.push(ended(&app, "probe", json!({ "stages": [5, 2], "number": number })).await);
    }
    sweep(&app).await;
    age(&app, 31).await;
    let other = TestApp::on(&app.url, catalog(), quick()).await;
    let (one, two) = tokio::join!(sweep(&app), sweep(&other));
    assert_eq!(one.jobs_purged + two.jobs_purged, 40);
    assert_eq!(one.tasks_purged + two.tasks_purged, 280);
    for job_id in jobs {
        assert_eq!(rows_of(&app, &job_id).await, []);
    }
}

#[tokio::test]
async fn claims_of_workers_go_with_their_job() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("hello_world", json!({ "n": 20, "use_workers": true })).await;
    app.run_dry().await;
    let worker = TestWorker::of(&app, &["hello_world_greeting"]);
    assert_eq!(worker.claim(20).await.len(), 20);
    assert_eq!(delete(&app, &job_id, "?cancel=true").await.status, 200);
    assert_eq!(rows_of(&app, &job_id).await, []);
}
