//! The events of a job: what happened to it in order, who asked for it and why, and what the sweep
//! repaired; deleted with the job.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use lastlight_engine::{
    config::Timing,
    model::{JobStatus, UserRequest},
    store::Database,
    transport::sender::QueueRole,
};
use lastlight_testing::{
    database::database_settings,
    graph_job::GraphJob,
    graph_work::{GraphWork, Node},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Answer, OfThisApp, Probe, TestApp, quick};

async fn page(app: &TestApp, job_id: &str, query: &str) -> Answer {
    app.request("GET", &format!("/api/jobs/events/{job_id}{query}"), Body::empty()).await
}

async fn events(app: &TestApp, job_id: &str) -> Vec<Value> {
    let page = page(app, job_id, "").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert_eq!(page.body["next_cursor"], Value::Null);
    page.body["events"].as_array().unwrap().clone()
}

async fn kinds(app: &TestApp, job_id: &str) -> Vec<String> {
    let named = |event: &Value| {
        let kind = event["kind"].as_str().unwrap();
        event["stage"].as_u64().map_or_else(|| kind.to_owned(), |stage| format!("{kind} {stage}"))
    };
    events(app, job_id).await.iter().map(named).collect()
}

async fn change(app: &TestApp, verb: &str, job_id: &str, query: &str) -> Answer {
    app.request("POST", &format!("/api/jobs/{verb}/{job_id}{query}"), Body::empty()).await
}

#[tokio::test]
async fn a_job_tells_what_happened_to_it_in_order() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3, 2] })).await;
    app.run_until_finished(&job_id).await;
    assert_eq!(
        kinds(&app, &job_id).await,
        [
            "job_submitted",
            "stage_started 1",
            "stage_planned 1",
            "stage_ended 1",
            "stage_started 2",
            "stage_planned 2",
            "stage_ended 2",
            "job_completed"
        ]
    );
    let told = events(&app, &job_id).await;
    assert_eq!(told[2]["message"], "Stage 1 was planned: tasks: 3.");
    assert_eq!(told[3]["message"], "Stage 1 ended: 3 completed, 0 failed, 0 skipped.");
    assert_eq!(told[3]["detail"]["completed"], 3);
    assert!(told.iter().all(|event| event["run"] == 1 && event["requested_by"].is_null()));
}

#[tokio::test]
async fn pages_of_events_miss_and_double_nothing() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1, 1, 1] })).await;
    app.run_until_finished(&job_id).await;
    let (mut query, mut ids) = ("?limit=4".to_owned(), Vec::new());
    loop {
        let page = page(&app, &job_id, &query).await.body;
        let found = page["events"].as_array().unwrap();
        assert!(found.len() <= 4);
        ids.extend(found.iter().map(|event| event["event_id"].as_i64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=4&cursor={next}");
    }
    let whole: Vec<i64> = events(&app, &job_id)
        .await
        .iter()
        .map(|event| event["event_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, whole);
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn a_request_of_a_user_says_who_and_why() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    change(&app, "pause", &job_id, "?by=ada&reason=disk%20is%20full").await;
    change(&app, "resume", &job_id, "").await;
    change(&app, "cancel", &job_id, "?by=grace&reason=wrong%20input").await;
    let signed_in = Request::builder()
        .method("POST")
        .uri(format!("/api/jobs/retry/{job_id}"))
        .header("x-ms-client-principal-name", "joan@example.org")
        .body(Body::empty())
        .unwrap();
    assert_eq!(app.router.clone().oneshot(signed_in).await.unwrap().status(), StatusCode::OK);
    let told = events(&app, &job_id).await;
    let of = |kind: &str| told.iter().find(|event| event["kind"] == kind).unwrap();
    assert_eq!(of("pause_requested")["requested_by"], "ada");
    assert_eq!(of("job_paused")["reason"], "disk is full");
    assert_eq!(of("job_resumed")["requested_by"], Value::Null);
    assert_eq!(of("job_cancelled")["requested_by"], "grace");
    assert_eq!(of("job_cancelled")["reason"], "wrong input");
    assert_eq!(of("job_retried")["requested_by"], "joan@example.org");
    assert_eq!(of("job_retried")["message"], "The job, which was cancelled, was retried.");
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    let id = job_id.parse().unwrap();
    let nobody = &UserRequest::NOBODY;
    database.jobs().end_early(&id, JobStatus::Failed, "too slow", nobody).await.unwrap();
    let told = events(&app, &job_id).await;
    let last = told.last().unwrap();
    assert_eq!(last["message"], "The job failed: too slow.");
    assert_eq!(last["requested_by"], Value::Null, "a request is forgotten with its transaction");
}

#[tokio::test]
async fn a_rolled_back_change_leaves_no_event() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    app.run_until_finished(&job_id).await;
    let before = kinds(&app, &job_id).await;
    for verb in ["cancel", "pause", "resume", "retry"] {
        assert_eq!(change(&app, verb, &job_id, "?by=ada").await.status, StatusCode::CONFLICT);
    }
    let mut connection = app.connection().await;
    let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
    sqlx::query("UPDATE jobs SET purging_at = now()").execute(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(kinds(&app, &job_id).await, before);
}

#[tokio::test]
async fn gates_and_nodes_are_told_by_name() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let work = GraphWork::new(
        "events",
        [
            Node::tasks("tile", 2),
            Node::gate("approve").needs(["tile"]),
            Node::tasks("publish", 1).needs(["approve"]),
        ],
    );
    let job_id = app.submitted("graph", Value::Object(work.parameters().unwrap())).await;
    app.run_dry().await;
    assert_eq!(kinds(&app, &job_id).await.last().unwrap(), "gate_waiting 2");
    let comment = json!({ "decision": "approve", "by": "ada", "comment": "fine" });
    assert_eq!(app.decide(&job_id, "approve", comment).await.status, StatusCode::OK);
    app.run_until_finished(&job_id).await;
    let told = events(&app, &job_id).await;
    let decided = told.iter().find(|event| event["kind"] == "gate_decided").unwrap();
    assert_eq!(decided["message"], "Node approve was decided: approve.");
    assert_eq!(decided["detail"]["by"], "ada");
    assert_eq!(decided["detail"]["comment"], "fine");
    assert_eq!(decided["node"], "approve");
    assert_eq!(told.last().unwrap()["kind"], "job_completed");
}

#[tokio::test]
async fn a_decision_with_nul_in_its_comment_counts() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let work = GraphWork::new("nul", [Node::gate("approve")]);
    let job_id = app.submitted("graph", Value::Object(work.parameters().unwrap())).await;
    // PostgreSQL's text cannot hold NUL, and its functions refuse JSON with it.
    let comment = json!({ "decision": "approve", "by": "ada", "comment": "fine\u{0}" });
    assert_eq!(app.decide(&job_id, "approve", comment).await.status, StatusCode::OK);
    app.run_until_finished(&job_id).await;
    let told = events(&app, &job_id).await;
    let decided = told.iter().find(|event| event["kind"] == "gate_decided").unwrap();
    assert_eq!(decided["detail"]["decision"], "approve");
}

#[tokio::test]
async fn repairs_of_an_hour_are_one_event() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [250] })).await;
    app.planned().await;
    let lose = async || {
        app.queue.take(QueueRole::Tasks);
        let mut connection = app.connection().await;
        for aged in [
            "UPDATE stages SET updated_at = now() - interval '1 day'",
            "UPDATE task_batches SET sent_at = now() - interval '10 days'",
        ] {
            sqlx::query(aged).execute(&mut connection).await.unwrap();
        }
        app.controller.reconcile().await.unwrap();
    };
    lose().await;
    lose().await;
    let told = events(&app, &job_id).await;
    let resent: Vec<&Value> =
        told.iter().filter(|event| event["kind"] == "messages_resent").collect();
    let times: i64 = resent.iter().map(|event| event["times"].as_i64().unwrap()).sum();
    assert_eq!(times, 2);
    // Two, if the hour ended in between.
    assert!((1..=2).contains(&resent.len()));
    if let [both] = resent[..] {
        assert_eq!(both["message"], "Stage 1: messages that were presumed lost are sent again: 6.");
    }
    app.run_until_finished(&job_id).await;
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn events_are_deleted_with_their_job() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    app.run_until_finished(&job_id).await;
    let deleted = app.request("DELETE", &format!("/api/jobs/{job_id}?by=ada"), Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.body);
    assert_eq!(page(&app, &job_id, "").await.status, StatusCode::NOT_FOUND);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM job_events")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn bad_requests_for_events_say_what_is_allowed() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    for (query, said) in [
        ("?limit=0", "limit must be a whole number from 1 to 1000"),
        ("?cursor=x", "cursor must be a next_cursor returned by this list"),
    ] {
        let refused = page(&app, &job_id, query).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.body["message"].as_str().unwrap().contains(said), "{}", refused.body);
    }
    assert_eq!(page(&app, &"a".repeat(64), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(page(&app, "short", "").await.status, StatusCode::BAD_REQUEST);
    let long = change(&app, "cancel", &job_id, &format!("?by={}", "x".repeat(300))).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    assert!(
        long.body["message"].as_str().unwrap().contains("by has 300 characters"),
        "{}",
        long.body
    );
    assert_eq!(app.status(&job_id).await["status"], "queued", "nothing was cancelled");
}
