//! A job that is over runs again under its id: once for each request, whatever dies on the way, with
//! the result of the run before in its events, and nothing of that run counts for this one.

use axum::body::Body;
use lastlight_engine::{
    model::{JobId, UserRequest},
    store::{ArchiveFirst, Database, Marked},
    transport::sender::QueueRole,
};
use lastlight_testing::{
    database::database_settings,
    graph_job::GraphJob,
    graph_work::{GraphWork, Node},
};
use serde_json::{Value, json};

use crate::harness::{
    Answer, OfThisApp, Probe, TestApp, TestWorker, Workflows, catalog, new_database_url, quick,
};

async fn resubmit(app: &TestApp, job_id: &str, query: &str) -> Answer {
    app.request("POST", &format!("/api/jobs/resubmit/{job_id}{query}"), Body::empty()).await
}

async fn begun(app: &TestApp, job_id: &str) -> Value {
    let answer = resubmit(app, job_id, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["is_begun"], true, "{}", answer.body);
    answer.body
}

async fn refused(app: &TestApp, job_id: &str, query: &str, status: u16, said: &str) {
    let answer = resubmit(app, job_id, query).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains(said), "{}", answer.body);
}

async fn events(app: &TestApp, job_id: &str, kind: &str) -> Vec<Value> {
    let page = app.request("GET", &format!("/api/jobs/events/{job_id}"), Body::empty()).await;
    let all = page.body["events"].as_array().unwrap().clone();
    all.into_iter().filter(|event| event["kind"] == kind).collect()
}

async fn marked_to_run_again(app: &TestApp, job_id: &str) -> Database {
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    let id: JobId = job_id.parse().unwrap();
    let marked = database.purge().mark(&id, true, &UserRequest::NOBODY).await.unwrap();
    assert_eq!(marked, Marked::RunsAgain);
    database
}

#[tokio::test]
async fn a_completed_job_runs_again_under_its_id() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3, 2] })).await;
    let first = app.run_until_finished(&job_id).await;
    let answer = resubmit(&app, &job_id, "?by=ada&reason=new%20input").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        (&answer.body["run"], &answer.body["previous_status"]),
        (&json!(2), &json!("completed"))
    );
    let status = app.status(&job_id).await;
    assert_eq!(
        (&status["status"], &status["stage"], &status["resultData"]),
        (&json!("queued"), &json!(1), &Value::Null)
    );
    let second = app.run_until_finished(&job_id).await;
    assert_eq!(second["status"], "completed");
    assert_eq!(second["resultData"], first["resultData"]);
    assert!(probe.runs().values().all(|runs| *runs == 2), "{:?}", probe.runs());
    app.assert_consistent(&job_id).await;
    let told = &events(&app, &job_id, "job_resubmitted").await[0];
    assert_eq!(
        (&told["run"], &told["message"]),
        (&json!(2), &json!("Run 2 began; run 1 was completed."))
    );
    assert_eq!(
        told["detail"]["result"], first["resultData"],
        "the result of the run before is kept"
    );
    let asked = &events(&app, &job_id, "resubmission_requested").await[0];
    assert_eq!((&asked["requested_by"], &asked["reason"]), (&json!("ada"), &json!("new input")));
    app.controller.reconcile().await.unwrap();
    let counted: i64 = sqlx::query_scalar(
        "SELECT sum(completed)::bigint FROM job_rollups WHERE hour > '-infinity'",
    )
    .fetch_one(&mut app.connection().await)
    .await
    .unwrap();
    assert_eq!(counted, 2, "the metrics have both runs");
}

#[tokio::test]
async fn only_a_job_that_is_over_runs_again() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    refused(&app, &job_id, "", 409, "only a job that is over can be deleted or run again").await;
    refused(&app, &"a".repeat(64), "", 404, "there is no job").await;
    refused(&app, "short", "", 400, "64 hexadecimal digits").await;
    refused(&app, &job_id, "?definition=new", 400, "definition must be one of stored").await;
    app.run_until_finished(&job_id).await;
    let database = marked_to_run_again(&app, &job_id).await;
    // A request to delete it comes before the run that has not begun.
    let id: JobId = job_id.parse().unwrap();
    let marked = database.purge().mark(&id, false, &UserRequest::NOBODY).await.unwrap();
    assert_eq!(marked, Marked::Yes);
    refused(&app, &job_id, "", 409, "is being deleted").await;
    app.controller.reconcile().await.unwrap();
    refused(&app, &job_id, "", 404, "there is no job").await;
}

#[tokio::test]
async fn a_resubmission_that_died_is_continued_by_the_sweep() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    for (number, steps) in [(1, 0), (2, 1), (3, 2)] {
        let job_id = app.submitted("probe", json!({ "stages": [150, 30], "number": number })).await;
        app.run_until_finished(&job_id).await;
        let database = marked_to_run_again(&app, &job_id).await;
        assert_eq!(app.control("retry", &job_id).await.status, 409, "it changes no more");
        let id: JobId = job_id.parse().unwrap();
        if steps > 0 {
            assert!(database.purge().tasks(&id, 100, ArchiveFirst(false)).await.unwrap().has_more);
        }
        if steps > 1 {
            database.purge().tasks(&id, 1000, ArchiveFirst(false)).await.unwrap();
            assert!(database.purge().batches(&id, 1).await.unwrap().has_more);
        }
        app.controller.reconcile().await.unwrap();
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["status"], "completed", "after {steps} steps");
        assert_eq!(events(&app, &job_id, "job_resubmitted").await.len(), 1);
        app.assert_consistent(&job_id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_and_sweeps_at_once_begin_one_run() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let other = TestApp::on(&app.url, Probe::default().add_to(catalog()), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [200] })).await;
    app.run_until_finished(&job_id).await;
    for round in 2..5 {
        let requests = async || {
            let (one, two) =
                tokio::join!(resubmit(&app, &job_id, ""), resubmit(&other, &job_id, ""));
            for answer in [one, two] {
                assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.body);
            }
        };
        let sweeps = async || {
            for _ in 0..5 {
                other.controller.reconcile().await.unwrap();
            }
        };
        tokio::join!(requests(), sweeps());
        app.controller.reconcile().await.unwrap();
        let messages = other.queue.take(QueueRole::Jobs);
        app.deliver_each("process_queue_job", &messages).await;
        let messages = other.queue.take(QueueRole::Tasks);
        app.deliver_each("process_queue_task", &messages).await;
        app.run_until_finished(&job_id).await;
        let run: i32 = sqlx::query_scalar("SELECT run FROM jobs")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(run, round, "both requests are for the same run");
        app.assert_consistent(&job_id).await;
    }
}

/// What the handlers of hello_world would result in.
fn result(task: &Value, text: &str) -> Value {
    let task_number = &task["params"]["task_number"];
    json!({ "greeting": text, "reply": text, "task_number": task_number })
}

#[tokio::test]
async fn a_late_outcome_of_an_earlier_run_does_not_count() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("hello_world", json!({ "n": 20, "use_workers": true })).await;
    app.run_dry().await;
    let handlers = ["hello_world_greeting", "hello_world_reply"];
    let worker = TestWorker::of(&app, &handlers);
    // A large claim, whose tasks have no state of their own, and a small one.
    let (many, few) = (worker.claim(15).await, worker.claim(2).await);
    assert_eq!((many.len(), few.len()), (15, 2));
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    begun(&app, &job_id).await;
    app.run_dry().await;
    let again = worker.claim(20).await;
    assert_eq!(again.len(), 20);
    let first = many[0]["attempt"].as_i64().unwrap();
    assert!(again.iter().all(|task| task["attempt"].as_i64().unwrap() > first), "{again:?}");
    for late in many.iter().chain(&few) {
        let answer = worker
            .ends(late, json!({ "outcome": "completed", "result": result(late, "late") }))
            .await;
        assert_eq!(answer, "superseded");
    }
    for task in &again {
        let answer = worker
            .ends(task, json!({ "outcome": "completed", "result": result(task, "new") }))
            .await;
        assert_eq!(answer, "counted");
    }
    worker.serve(|task| result(task, "new")).await;
    let late: i64 =
        sqlx::query_scalar("SELECT count(*) FROM tasks WHERE result_data::text LIKE '%late%'")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
    assert_eq!(late, 0);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_late_outcome_before_a_deletion_does_not_count() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let parameters = json!({ "n": 4, "use_workers": true });
    let job_id = app.submitted("hello_world", parameters.clone()).await;
    app.run_dry().await;
    let handlers = ["hello_world_greeting", "hello_world_reply"];
    let worker = TestWorker::of(&app, &handlers);
    let before = worker.claim(4).await;
    let deleted =
        app.request("DELETE", &format!("/api/jobs/{job_id}?cancel=true"), Body::empty()).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    app.submitted("hello_world", parameters).await;
    app.run_dry().await;
    let after = worker.claim(4).await;
    for (late, task) in before.iter().zip(&after) {
        assert_eq!(
            worker.ends(late, json!({ "outcome": "completed", "result": 1 })).await,
            "superseded"
        );
        assert_eq!(
            worker.ends(task, json!({ "outcome": "completed", "result": 2 })).await,
            "counted"
        );
    }
}

#[tokio::test]
async fn messages_of_an_earlier_run_are_ignored() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3, 2] })).await;
    let job_messages = app.queue.take(QueueRole::Jobs);
    app.deliver("process_queue_job", &job_messages[0].body).await;
    let task_messages = app.queue.take(QueueRole::Tasks);
    app.deliver_each("process_queue_task", &task_messages).await;
    let second_stage = app.queue.take(QueueRole::Jobs);
    app.deliver("process_queue_job", &second_stage[0].body).await;
    app.run_until_finished(&job_id).await;
    begun(&app, &job_id).await;
    // Nothing is planned yet: the job has neither these tasks nor the second stage.
    for message in &task_messages {
        assert_eq!(app.deliver("process_queue_task", &message.body).await.status, 200);
        assert_eq!(app.deliver("process_queue_task_poison", &message.body).await.status, 200);
    }
    assert_eq!(app.deliver("process_queue_job", &second_stage[0].body).await.status, 200);
    assert_eq!(app.deliver("process_queue_job_poison", &second_stage[0].body).await.status, 200);
    let fresh = app.queue.take(QueueRole::Jobs);
    assert_ne!(
        fresh[0].message_id, job_messages[0].message_id,
        "duplicate detection must not drop it"
    );
    app.deliver("process_queue_job", &fresh[0].body).await;
    let ids = |messages: &[lastlight_engine::transport::sender::OutgoingMessage]| {
        messages.iter().map(|message| message.message_id.clone()).collect::<Vec<String>>()
    };
    let fresh = app.queue.take(QueueRole::Tasks);
    assert!(ids(&fresh).iter().all(|id| !ids(&task_messages).contains(id)));
    app.deliver_each("process_queue_task", &fresh).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_graph_with_a_gate_runs_again() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let work = GraphWork::new(
        "again",
        [
            Node::tasks("tile", 2),
            Node::gate("approve").needs(["tile"]),
            Node::tasks("publish", 1).needs(["approve"]),
        ],
    );
    let job_id = app.submitted("graph", Value::Object(work.parameters().unwrap())).await;
    app.run_dry().await;
    let decision = json!({ "decision": "reject" });
    assert_eq!(app.decide(&job_id, "approve", decision).await.status, 200);
    app.run_until_finished(&job_id).await;
    begun(&app, &job_id).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "processing", "the gate waits again");
    let decision = json!({ "decision": "approve" });
    assert_eq!(app.decide(&job_id, "approve", decision).await.status, 200);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed");
    assert_eq!(status["resultData"]["outcomes"]["publish"], "completed", "{status}");
    app.assert_consistent(&job_id).await;
}

const FILE: &str = r#"
workflow: changing
version: 1
nodes:
  first: {type: task, handler: echo, constants: {text: old}}
"#;

#[tokio::test]
async fn a_changed_definition_needs_a_word() {
    let url = new_database_url().await;
    let old = Workflows::of([("changing.yaml", FILE)]).on(&url, Default::default(), quick()).await;
    let job_id = old.submitted("changing", json!({})).await;
    old.run_until_finished(&job_id).await;
    let changed = FILE.replace("version: 1", "version: 2").replace("old", "new");
    let new = Workflows::of([("changing.yaml", changed.as_str())]);
    let new = new.on(&url, Default::default(), quick()).await;
    refused(&new, &job_id, "", 409, "the definition of job").await;
    let answer = resubmit(&new, &job_id, "?definition=stored").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = new.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert!(status["stageResults"].to_string().contains("old"), "{status}");
}
