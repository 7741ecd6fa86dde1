//! Single tasks that a user retries or skips: in a stage that has not ended they run again or are left out, and the stage ends as
//! if it had been so from the beginning. Of a job that failed, what is skipped does not run again in its retry.

use axum::body::Body;
use lastlight_testing::{
    graph_job::GraphJob,
    graph_work::{GraphWork, Node},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    cli::harness::{command, run},
    harness::{Answer, OfThisApp, Probe, TestApp, TestWorker, quick},
};

async fn app() -> TestApp {
    TestApp::with_probe(Probe::default(), quick()).await
}

async fn ask(app: &TestApp, verb: &str, body: Value) -> Answer {
    let path = format!("/api/tasks/{verb}?by=ada&reason=bad%20tile");
    app.request("POST", &path, body.to_string()).await
}

async fn done(app: &TestApp, verb: &str, body: Value) -> Value {
    let answer = ask(app, verb, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn refused(app: &TestApp, verb: &str, body: Value, status: u16, said: &str) {
    let answer = ask(app, verb, body.clone()).await;
    assert_eq!(answer.status, status, "{body}: {}", answer.body);
    assert!(answer.body["message"].as_str().unwrap().contains(said), "{body}: {}", answer.body);
}

/// The ids of the tasks with a status, in order.
async fn tasks(app: &TestApp, job_id: &str, status: &str) -> Vec<String> {
    let path = format!("/api/db/tasks/{job_id}?status={status}&limit=100");
    let page = app.request("GET", &path, Body::empty()).await;
    let tasks = page.body["tasks"].as_array().unwrap_or_else(|| panic!("{}", page.body));
    tasks.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()).collect()
}

/// A job whose first stage has run but for its last task, whose message is still in the queue.
async fn all_but_one(app: &TestApp, parameters: Value) -> (String, Vec<String>) {
    let job_id = app.submitted("probe", parameters).await;
    let messages = app.planned().await;
    let (last, others) = messages.split_last().unwrap();
    app.deliver_each("process_queue_task", others).await;
    (job_id, vec![last.body.clone()])
}

async fn events(app: &TestApp, job_id: &str, kind: &str) -> Vec<Value> {
    let page = app.request("GET", &format!("/api/jobs/events/{job_id}"), Body::empty()).await;
    let all = page.body["events"].as_array().unwrap().clone();
    all.into_iter().filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn a_failed_task_runs_again_while_its_stage_has_not_ended() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let parameters = json!({ "stages": [5], "fails": [0, 1], "tolerates": 2 });
    let (job_id, _) = all_but_one(&app, parameters).await;
    let failed = tasks(&app, &job_id, "failed").await;
    assert_eq!(failed.len(), 2);
    let answer = done(&app, "retry", json!({ "job_id": job_id, "task_id": failed[0] })).await;
    assert_eq!(
        (&answer["tasks"], &answer["has_more"], &answer["message"]),
        (&json!(1), &json!(false), &json!("1 task run again."))
    );
    app.run_dry().await;
    assert_eq!(tasks(&app, &job_id, "failed").await.len(), 2, "it ran and failed again");
    let runs = probe.runs();
    let twice: Vec<&String> =
        runs.iter().filter(|(_, runs)| **runs == 2).map(|(key, _)| key).collect();
    assert_eq!(twice.len(), 1, "{runs:?}");
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    let told = &events(&app, &job_id, "tasks_retried").await[0];
    assert_eq!((&told["requested_by"], &told["reason"]), (&json!("ada"), &json!("bad tile")));
    assert_eq!(told["detail"]["task_id"], failed[0].as_str());
    assert_eq!(told["message"], "Stage 1: tasks that run again, as a user asked: 1.");
}

#[tokio::test]
async fn tasks_are_chosen_by_their_error() {
    let app = app().await;
    let parameters = json!({ "stages": [6], "fails": [0, 1, 2], "tolerates": 6 });
    let (job_id, _) = all_but_one(&app, parameters).await;
    assert_eq!(tasks(&app, &job_id, "failed").await.len(), 3);
    let by_error = |error: &str| json!({ "job_id": job_id, "error": error });
    let dry = json!({ "job_id": job_id, "error": "task 1/2 was", "dry_run": true });
    let answer = done(&app, "retry", dry).await;
    assert_eq!((&answer["tasks"], &answer["is_dry_run"]), (&json!(1), &json!(true)));
    assert_eq!(answer["message"], "1 task would be retried.");
    assert_eq!(
        done(&app, "retry", by_error("no such error")).await["message"],
        "No task is meant."
    );
    assert_eq!(tasks(&app, &job_id, "failed").await.len(), 3, "nothing was changed so far");
    assert_eq!(done(&app, "skip", by_error("task 1/2 was")).await["tasks"], 1);
    assert_eq!(tasks(&app, &job_id, "failed").await.len(), 2);
    assert_eq!(done(&app, "retry", json!({ "job_id": job_id })).await["tasks"], 2);
    assert_eq!(tasks(&app, &job_id, "failed").await.len(), 0);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_stage_ends_without_the_tasks_that_are_skipped() {
    let app = app().await;
    // One has failed, beyond what the stage tolerates; one waits for its message.
    let (job_id, last) = all_but_one(&app, json!({ "stages": [4, 1], "fails": [1] })).await;
    let failed = tasks(&app, &job_id, "failed").await;
    let waiting = tasks(&app, &job_id, "queued").await;
    assert_eq!((failed.len(), waiting.len()), (1, 1));
    assert_eq!(
        done(&app, "skip", json!({ "job_id": job_id, "task_id": failed[0] })).await["tasks"],
        1
    );
    assert_eq!(app.status(&job_id).await["stage"], 1);
    let answer = done(&app, "skip", json!({ "job_id": job_id, "status": ["queued"] })).await;
    assert_eq!(answer["message"], "1 task skipped.");
    assert_eq!(app.status(&job_id).await["stage"], 2, "the stage ended with the last one");
    // Its message comes all the same.
    assert_eq!(app.deliver("process_queue_task", &last[0]).await.status, 200);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    let stage = |number: &str| json!({ "job_id": job_id, "stage": number.parse::<u8>().unwrap() });
    refused(&app, "skip", stage("1"), 409, "is completed").await;
    assert_eq!(events(&app, &job_id, "tasks_skipped").await.len(), 2);
}

#[tokio::test]
async fn the_outcome_of_an_attempt_at_a_skipped_task_does_not_count() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "waits_at": 0 })).await;
    let messages = app.planned().await;
    let running = async { app.deliver_each("process_queue_task", &messages).await };
    let skips = async {
        probe.until_runs(1).await;
        let found = loop {
            let found = tasks(&app, &job_id, "processing").await;
            if !found.is_empty() {
                break found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        let answer = done(&app, "skip", json!({ "job_id": job_id, "task_id": found[0] })).await;
        assert_eq!(answer["tasks"], 1);
        probe.open_gate();
    };
    tokio::join!(running, skips);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    assert_eq!(tasks(&app, &job_id, "skipped").await.len(), 1);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_failed_job_goes_on_without_its_skipped_tasks() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [5, 1], "fails": [1, 3] })).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
    refused(&app, "retry", json!({ "job_id": job_id }), 409, "retry or resubmit the job").await;
    let failed = tasks(&app, &job_id, "failed").await;
    let answer = done(&app, "skip", json!({ "job_id": job_id, "task_id": failed[0] })).await;
    assert_eq!(answer["message"], "1 task skipped. Retry the job to go on without them.");
    let retried = app.control("retry", &job_id).await;
    assert_eq!(retried.body["tasks_reset"], 1, "{}", retried.body);
    assert_eq!(
        app.run_until_finished(&job_id).await["status"],
        "failed",
        "the other one fails again"
    );
    assert_eq!(done(&app, "skip", json!({ "job_id": job_id })).await["tasks"], 1);
    let retried = app.control("retry", &job_id).await;
    assert_eq!((retried.status.as_u16(), &retried.body["tasks_reset"]), (200, &json!(0)));
    let end = app.run_until_finished(&job_id).await;
    assert_eq!(end["status"], "completed", "{end}");
    app.assert_consistent(&job_id).await;
    assert_eq!(tasks(&app, &job_id, "skipped").await.len(), 2);
}

#[tokio::test]
async fn a_cancelled_job_is_retried_without_what_was_skipped() {
    let app = app().await;
    let (job_id, _) = all_but_one(&app, json!({ "stages": [3] })).await;
    assert_eq!(app.control("cancel", &job_id).await.status, 200);
    let left = tasks(&app, &job_id, "skipped").await;
    assert_eq!(left.len(), 1);
    let skip = json!({ "job_id": job_id, "task_id": left[0] });
    assert_eq!(done(&app, "skip", skip.clone()).await["tasks"], 1);
    refused(&app, "skip", skip, 409, "is skipped and cannot be skipped").await;
    assert_eq!(app.control("retry", &job_id).await.body["tasks_reset"], 0);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_node_that_failed_completes_without_its_skipped_tasks() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [Node::tasks("a", 3).fails([1]), Node::tasks("b", 2).needs(["a"])];
    let work = GraphWork::new("skips", nodes);
    let parameters = Value::Object(work.parameters().unwrap());
    let job_id = app.submitted("graph", parameters).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
    assert_eq!(done(&app, "skip", json!({ "job_id": job_id })).await["tasks"], 1);
    assert_eq!(app.control("retry", &job_id).await.status, 200);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    assert!(job.runs().values().all(|runs| *runs == 1), "{:?}", job.runs());
}

#[tokio::test]
async fn a_worker_gets_a_task_again_that_is_retried() {
    let app = app().await;
    let handlers = ["hello_world_greeting", "hello_world_reply"];
    let worker = TestWorker::of(&app, &handlers);
    let parameters = json!({ "n": 12, "use_workers": true });
    let job_id = app.submitted("hello_world", parameters).await;
    app.run_dry().await;
    // A large claim, whose tasks have no state of their own.
    let claimed = worker.claim(12).await;
    assert_eq!(claimed.len(), 12);
    let mut last = claimed[0].clone();
    loop {
        let fails = json!({ "outcome": "failed", "error": "bad tile" });
        assert_eq!(worker.ends(&last, fails).await, "counted");
        if tasks(&app, &job_id, "failed").await.len() == 1 {
            break;
        }
        // Only the tasks' own times: the claim of the others goes on.
        sqlx::query("UPDATE tasks SET ready_at = now() WHERE ready_at IS NOT NULL")
            .execute(&mut app.connection().await)
            .await
            .unwrap();
        last = worker.claim(1).await[0].clone();
    }
    let retry = json!({ "job_id": job_id, "error": "bad tile" });
    assert_eq!(done(&app, "retry", retry).await["tasks"], 1);
    let again = worker.claim(12).await;
    assert_eq!(again.len(), 1);
    assert!(again[0]["attempt"].as_u64() > last["attempt"].as_u64(), "{again:?}");
    let skip = json!({ "job_id": job_id, "task_id": claimed[1]["task_id"] });
    assert_eq!(done(&app, "skip", skip).await["tasks"], 1);
    let completes = json!({ "outcome": "completed", "result": result(&claimed[1]) });
    assert_eq!(worker.ends(&claimed[1], completes).await, "superseded", "it was skipped");
    for task in claimed[2..].iter().chain(&again) {
        let completes = json!({ "outcome": "completed", "result": result(task) });
        assert_eq!(worker.ends(task, completes).await, "counted");
    }
    app.run_dry().await;
    worker.serve(result).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    assert_eq!(tasks(&app, &job_id, "skipped").await.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_wrong_says_why() {
    let app = app().await;
    let (job_id, _) = all_but_one(&app, json!({ "stages": [3, 1] })).await;
    let completed = tasks(&app, &job_id, "completed").await[0].clone();
    let of = |more: Value| {
        let mut body = json!({ "job_id": job_id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (verb, body, status, said) in [
        ("retry", of(json!({ "task_id": completed })), 409, "is completed and cannot be retried"),
        ("skip", of(json!({ "task_id": completed })), 409, "is completed and cannot be skipped"),
        ("skip", of(json!({ "task_id": "nothing" })), 404, "has no task \"nothing\""),
        ("skip", of(json!({ "stage": 2 })), 409, "has not begun stage 2"),
        ("skip", of(json!({ "status": ["completed"] })), 400, "status[0] must be one of queued"),
        ("retry", of(json!({ "stage": 101 })), 400, "stage must be a whole number from 1 to 100"),
        ("retry", json!({ "job_id": "a".repeat(64) }), 404, "there is no job"),
        ("retry", json!([]), 400, "the body is JSON but not an object"),
    ] {
        refused(&app, verb, body, status, said).await;
    }
}

#[tokio::test]
async fn many_tasks_are_changed_in_several_steps() {
    let app = app().await;
    let fails: Vec<u64> = (0..2500).collect();
    let parameters = json!({
        "stages": [2501], "fails": fails, "tolerates": 2500, "tasks_per_message": 100,
    });
    let (job_id, last) = all_but_one(&app, parameters).await;
    let answer = done(&app, "skip", json!({ "job_id": job_id })).await;
    assert_eq!(answer["tasks"], 2500);
    assert_eq!(events(&app, &job_id, "tasks_skipped").await.len(), 2, "one for each step");
    app.deliver("process_queue_task", &last[0]).await;
    let end = app.run_until_finished(&job_id).await;
    assert_eq!(
        (&end["status"], &end["resultData"]["failed_tasks"]),
        (&json!("completed"), &json!(0))
    );
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_submission_runs_a_job_again_that_is_over() {
    let app = app().await;
    let parameters = json!({ "stages": [2] });
    let job_id = app.submitted("probe", parameters.clone()).await;
    let again = json!({ "stages": [2], "rerun": true });
    let early = app.submit("probe", again.clone()).await;
    assert_eq!(early.status, 409, "{}", early.body);
    app.run_until_finished(&job_id).await;
    let second = app.submit("probe", again.clone()).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_eq!(
        (&second.body["job_id"], &second.body["status"]),
        (&json!(job_id), &json!("resubmitted"))
    );
    assert!(second.body["parameters"].get("rerun").is_none(), "{}", second.body);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    let plain = app.submit("probe", parameters).await;
    assert_eq!(plain.body["status"], "completed", "without the option, nothing runs");
    let other = json!({ "stages": [3], "rerun": true });
    assert_eq!(app.submit("probe", other).await.body["status"], "created");
    let wrong = app.submit("probe", json!({ "stages": [2], "rerun": "yes" })).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body["message"].as_str().unwrap().contains("rerun"), "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_line_retries_and_skips() {
    let app = app().await;
    let (job_id, _) =
        all_but_one(&app, json!({ "stages": [4], "fails": [0], "tolerates": 1 })).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let cli = async |arguments: &[&str]| run(command(arguments, &[("LASTLIGHT_URL", &url)])).await;
    let failed = tasks(&app, &job_id, "failed").await;
    let dry = cli(&["retry-tasks", &job_id[..8], "--dry-run"]).await;
    assert!(
        dry.code == 0 && dry.out.contains("1 task would be retried"),
        "{} {}",
        dry.out,
        dry.err
    );
    let retried = cli(&["retry-tasks", &job_id[..8], &failed[0], "--reason", "fixed"]).await;
    assert!(retried.code == 0 && retried.out.contains("1 task run again"), "{}", retried.err);
    let skipped = cli(&["skip-tasks", &job_id, "--status", "queued", "--json"]).await;
    assert_eq!(skipped.json()["tasks"], 2, "{}", skipped.err);
    let wrong = cli(&["skip-tasks", &job_id, "--status", "done"]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("status[0] must be one of"), "{}", wrong.err);
}

fn result(task: &Value) -> Value {
    let task_number = &task["params"]["task_number"];
    json!({ "greeting": "hello", "reply": "hello", "task_number": task_number })
}
