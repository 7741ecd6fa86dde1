//! Bulk operations: one action on all jobs that a filter finds. First they are counted; then each is changed once, whatever
//! dies on the way, and no other.

use axum::body::Body;
use lastlight_api::bulk::{BulkAction, BulkFilter};
use lastlight_engine::{
    model::UserRequest,
    store::{BulkPosition, BulkProgress, Database, JobPosition, NewBulk},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    cli::harness::{command, run},
    harness::{Answer, OfThisApp, Probe, TestApp, database_settings, quick, until},
};

async fn app() -> TestApp {
    TestApp::with_probe(Probe::default(), quick()).await
}

async fn bulk(app: &TestApp, body: Value) -> Answer {
    app.request("POST", "/api/jobs/bulk?by=ada&reason=wrong%20input", body.to_string()).await
}

/// Submits a job with a label.
async fn labelled(app: &TestApp, number: u32, team: &str) -> String {
    let body = json!({ "stages": [1], "number": number, "labels": { "team": team } });
    app.submitted("probe", body).await
}

async fn status(app: &TestApp, job_id: &str) -> String {
    app.status(job_id).await["status"].as_str().unwrap().to_owned()
}

/// The state of an operation, once it has ended.
async fn ended(app: &TestApp, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let id = answer.body["operation"]["operation_id"].as_str().unwrap().to_owned();
    until("the operation ends", async || {
        app.controller.reconcile().await.unwrap();
        let shown = operation(app, &id).await;
        (shown["state"] != "running").then_some(shown)
    })
    .await
}

async fn operation(app: &TestApp, id: &str) -> Value {
    let shown = app.request("GET", &format!("/api/jobs/bulk/{id}"), Body::empty()).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    shown.body
}

async fn requests(app: &TestApp, job_id: &str, kind: &str) -> Vec<Value> {
    let page = app.request("GET", &format!("/api/jobs/events/{job_id}"), Body::empty()).await;
    let all = page.body["events"].as_array().unwrap().clone();
    all.into_iter().filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn jobs_are_counted_first_and_changed_when_confirmed() {
    let app = app().await;
    let mut roads = Vec::new();
    for number in 0..12 {
        roads.push(labelled(&app, number, "roads").await);
    }
    let river = labelled(&app, 99, "rivers").await;
    let over = labelled(&app, 100, "roads").await;
    assert_eq!(app.control("cancel", &over).await.status, 200);

    let filter = json!({ "label.team": "roads" });
    let found = bulk(&app, json!({ "action": "cancel", "filter": filter })).await;
    assert_eq!(found.status, 200, "{}", found.body);
    assert_eq!(
        (&found.body["jobs"], &found.body["has_more"], &found.body["operation"]),
        (&json!(12), &json!(false), &Value::Null)
    );
    assert_eq!(found.body["message"], "12 jobs to cancel. Nothing was done: confirm it.");
    assert_eq!(found.body["sample"].as_array().unwrap().len(), 10);
    assert_eq!(status(&app, &roads[0]).await, "queued");

    let begun = bulk(&app, json!({ "action": "cancel", "filter": filter, "confirm": true })).await;
    let done = ended(&app, &begun).await;
    assert_eq!(
        (&done["state"], &done["done"], &done["refused"], &done["by"], &done["reason"]),
        (&json!("finished"), &json!(12), &json!(0), &json!("ada"), &json!("wrong input"))
    );
    for job_id in &roads {
        assert_eq!(status(&app, job_id).await, "cancelled");
    }
    assert_eq!(status(&app, &river).await, "queued");
    let asked = &requests(&app, &roads[0], "job_cancelled").await[0];
    let id = done["operation_id"].as_str().unwrap();
    assert_eq!(asked["requested_by"], "ada");
    assert_eq!(asked["reason"], format!("wrong input (bulk operation {})", &id[..8]));

    let none = bulk(&app, json!({ "action": "cancel", "filter": filter, "confirm": true })).await;
    assert_eq!(none.body["message"], "The filter finds no job to cancel.");
    assert!(none.body["operation"].is_null());
    let listed = app.request("GET", "/api/jobs/bulk", Body::empty()).await;
    assert_eq!(listed.body["operations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_action_changes_the_jobs_that_it_can_change() {
    let app = app().await;
    let mut jobs = Vec::new();
    for number in 0..3 {
        jobs.push(labelled(&app, number, "roads").await);
    }
    let act = async |action: &str, changed: u32| {
        let filter = json!({ "label.team": "roads", "job_type": "probe", "q": "roa" });
        let body = json!({ "action": action, "filter": filter, "confirm": true });
        let begun = bulk(&app, body).await;
        if changed == 0 {
            assert!(begun.body["operation"].is_null(), "{action}: {}", begun.body);
            return;
        }
        assert_eq!(begun.body["jobs"], changed, "{action}: {}", begun.body);
        let done = ended(&app, &begun).await;
        assert_eq!((&done["done"], &done["refused"]), (&json!(changed), &json!(0)), "{done}");
    };
    act("resume", 0).await;
    act("retry", 0).await;
    act("pause", 3).await;
    assert!(app.status(&jobs[0]).await["pausedAt"].is_string());
    act("pause", 0).await;
    act("resume", 3).await;
    assert_eq!(app.status(&jobs[0]).await["pausedAt"], Value::Null);
    act("cancel", 3).await;
    act("retry", 3).await;
    app.run_dry().await;
    assert_eq!(status(&app, &jobs[1]).await, "completed");
    act("retry", 0).await;
    act("resubmit", 3).await;
    app.run_dry().await;
    assert_eq!(status(&app, &jobs[2]).await, "completed");
    app.assert_consistent(&jobs[2]).await;
    act("delete", 3).await;
    until("the jobs are deleted", async || {
        app.controller.reconcile().await.unwrap();
        let path = format!("/api/jobs/status/{}", jobs[0]);
        (app.request("GET", &path, Body::empty()).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_wrong_says_what_is_allowed() {
    let app = app().await;
    labelled(&app, 1, "roads").await;
    let roads = json!({ "label.team": "roads" });
    for (body, said) in [
        (json!({}), "action is missing: \"cancel\", \"retry\""),
        (json!({ "action": "explode", "filter": roads }), "not \"explode\""),
        (json!({ "action": "delete" }), "filter has no condition, so that all jobs would be meant"),
        (json!({ "action": "delete", "filter": {} }), "or \"all\": true"),
        (
            json!({ "action": "delete", "filter": roads, "all": true }),
            "all must not be true beside",
        ),
        (
            json!({ "action": "cancel", "filter": { "labels": "x" } }),
            "unknown condition \"labels\"",
        ),
        (json!({ "action": "cancel", "filter": "all" }), "filter must be an object of texts"),
        (
            json!({ "action": "cancel", "filter": { "status": "failed" } }),
            "status must be one of queued, paused, processing for cancel, not \"failed\"",
        ),
        (
            json!({ "action": "cancel", "filter": roads, "confirm": "yes" }),
            "confirm must be true or false",
        ),
        (json!({ "action": "cancel", "filter": roads, "conform": true }), "unknown field conform"),
        (
            json!({ "action": "cancel", "filter": { "from": "soon" } }),
            "from must be a date or a time",
        ),
    ] {
        let answer = bulk(&app, body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(said), "{body}: {}", answer.body);
    }
    for (path, method, status) in [
        ("/api/jobs/bulk/7", "GET", 400),
        ("/api/jobs/bulk/00000000-0000-0000-0000-000000000000", "GET", 404),
        ("/api/jobs/bulk/stop/00000000-0000-0000-0000-000000000000", "POST", 404),
    ] {
        assert_eq!(app.request(method, path, Body::empty()).await.status, status, "{path}");
    }
    let everything = bulk(&app, json!({ "action": "cancel", "all": true })).await;
    assert_eq!((everything.status.as_u16(), &everything.body["jobs"]), (200, &json!(1)));
}

/// An operation that is stored and that nobody has begun to carry out.
async fn stored(app: &TestApp, action: BulkAction) -> (Database, Uuid) {
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    let operation_id = Uuid::new_v4();
    let filter = BulkFilter { job_type: Some("probe".to_owned()), ..BulkFilter::default() };
    let request = UserRequest::NOBODY;
    let new = NewBulk {
        operation_id,
        action,
        filter: &filter,
        request: &request,
        jobs: 0,
        has_more: true,
    };
    database.bulk().create(new).await.unwrap();
    (database, operation_id)
}

#[tokio::test]
async fn a_process_that_dies_is_followed_by_another_one_at_its_place() {
    let app = app().await;
    let mut jobs = Vec::new();
    for number in 0..5 {
        jobs.push(labelled(&app, number, "roads").await);
    }
    let (database, id) = stored(&app, BulkAction::Cancel).await;
    let dead = Uuid::new_v4();
    let taken = database.bulk().take(dead, 60.0).await.unwrap().unwrap();
    assert_eq!(taken.operation_id, id);
    // The process cancels two jobs, notes both, and dies.
    for job_id in [&jobs[4], &jobs[3]] {
        assert_eq!(app.control("cancel", job_id).await.status, 200);
        let job_id = job_id.parse().unwrap();
        let job = database.jobs().get(&job_id).await.unwrap().unwrap();
        let after = Some(JobPosition { created_at: job.created_at, job_id });
        let position = BulkPosition { list: 0, after };
        let progress = BulkProgress { done: true, refused: None, position, is_finished: false };
        assert!(database.bulk().advance(id, dead, 60.0, progress).await.unwrap());
    }
    app.controller.reconcile().await.unwrap();
    assert_eq!(operation(&app, &id.to_string()).await["done"], 2, "its time is not over");
    let younger = labelled(&app, 9, "roads").await;
    sqlx::query("UPDATE bulk_operations SET lease_until = now()")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.controller.reconcile().await.unwrap();
    let shown = operation(&app, &id.to_string()).await;
    assert_eq!(
        (&shown["state"], &shown["done"], &shown["refused"]),
        (&json!("finished"), &json!(5), &json!(0))
    );
    for job_id in &jobs {
        assert_eq!(requests(&app, job_id, "job_cancelled").await.len(), 1);
    }
    assert_eq!(
        status(&app, &younger).await,
        "queued",
        "it was submitted after the operation began"
    );
    // The process was only slow.
    let position = BulkPosition::default();
    let late = BulkProgress { done: true, refused: None, position, is_finished: false };
    assert!(!database.bulk().advance(id, dead, 60.0, late).await.unwrap());
}

#[tokio::test]
async fn an_operation_that_is_stopped_changes_no_further_job() {
    let app = app().await;
    let job_id = labelled(&app, 1, "roads").await;
    let (database, id) = stored(&app, BulkAction::Cancel).await;
    let path = format!("/api/jobs/bulk/stop/{id}?by=ada");
    let stopped = app.request("POST", &path, Body::empty()).await;
    assert_eq!((stopped.status.as_u16(), &stopped.body["state"]), (200, &json!("stopped")));
    assert_eq!(stopped.body["stopped_by"], "ada");
    app.controller.reconcile().await.unwrap();
    assert_eq!(status(&app, &job_id).await, "queued");
    let again = app.request("POST", &path, Body::empty()).await;
    assert_eq!(again.status, 409, "{}", again.body);
    assert!(
        again.body["message"].as_str().unwrap().contains("is stopped: there is nothing to stop")
    );
    assert!(database.bulk().take(Uuid::new_v4(), 60.0).await.unwrap().is_none());
    sqlx::query(
        "UPDATE bulk_operations SET created_at = created_at - interval '31 days', finished_at = finished_at - interval '31 days'",
    )
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    app.controller.reconcile().await.unwrap();
    let gone = app.request("GET", &format!("/api/jobs/bulk/{id}"), Body::empty()).await;
    assert_eq!(gone.status, 404, "operations are kept for 30 days");
}

#[tokio::test]
async fn many_jobs_are_changed_page_by_page() {
    let app = app().await;
    for number in 0..430 {
        labelled(&app, number, "roads").await;
    }
    let body = json!({ "action": "pause", "filter": { "job_type": "probe" }, "confirm": true });
    let done = ended(&app, &bulk(&app, body).await).await;
    assert_eq!(
        (&done["done"], &done["refused"], &done["jobs"]),
        (&json!(430), &json!(0), &json!(430))
    );
    let paused: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE paused_at IS NOT NULL")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert_eq!(paused, 430);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_line_asks_and_follows() {
    let app = app().await;
    let job_id = labelled(&app, 1, "roads").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let cli = async |arguments: &[&str]| run(command(arguments, &[("LASTLIGHT_URL", &url)])).await;

    let dry = cli(&["bulk", "cancel", "--label", "team=roads", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("1 job to cancel") && dry.out.contains(&job_id[..12]), "{}", dry.out);
    let unasked = cli(&["bulk", "cancel", "--label", "team=roads"]).await;
    assert_eq!(unasked.code, 2, "{}", unasked.out);
    assert!(unasked.err.contains("add --yes, or look with --dry-run"), "{}", unasked.err);
    let whole = cli(&["bulk", "cancel", "--yes"]).await;
    assert_eq!(whole.code, 1, "a filter without conditions: {}", whole.err);
    assert!(whole.err.contains("filter has no condition"), "{}", whole.err);
    assert_eq!(status(&app, &job_id).await, "queued");

    let done =
        cli(&["bulk", "cancel", "--label", "team=roads", "--yes", "--reason", "wrong"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("finished, 1 of 1 job\n"), "{}", done.out);
    assert_eq!(status(&app, &job_id).await, "cancelled");
    let listed = cli(&["bulk", "list"]).await;
    for words in ["cancel", "finished", "1 of 1 job", "label.team=roads"] {
        assert!(listed.out.contains(words), "{words}: {}", listed.out);
    }
    let document = cli(&["bulk", "list", "--json"]).await.json();
    let id = document["operations"][0]["operation_id"].as_str().unwrap();
    let shown = cli(&["bulk", "show", &id[..8]]).await;
    assert!(shown.out.contains("Reason: wrong"), "{}", shown.out);
    let stopped = cli(&["bulk", "stop", id]).await;
    assert_eq!(stopped.code, 1, "it has ended: {}", stopped.out);
    let unknown = cli(&["bulk", "show", "ffff"]).await;
    assert_eq!(unknown.code, 2);
}
