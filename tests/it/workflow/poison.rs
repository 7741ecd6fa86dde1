//! Poison messages and dead letters: a message that was delivered too often is redelivered, fails
//! its tasks or job, or is kept for review. None is lost, and nothing is done twice.

mod operators;

use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use futures_util::future::join_all;
use lastlight_engine::{
    config::Timing,
    model::timestamp,
    telemetry::{JsonOrText, LogLayer},
    transport::sender::{OutgoingMessage, QueueRole},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use sqlx::Executor;
use tracing_subscriber::layer::SubscriberExt;

use crate::harness::{Answer, OfThisApp, Probe, TestApp, catalog, quick};

/// The log of this test from now on, one JSON object per line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let layer = LogLayer::new(JsonOrText::Json, move || writer.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (log, guard)
    }

    fn lines(&self, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|line| line["message"] == message).collect()
    }
}

#[tokio::test]
async fn the_log_has_fields_and_no_needless_warnings() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let (job_id, messages) = planned(&app, json!({ "stages": [2, 1] })).await;
    let (log, _guard) = Log::begin();
    let function = "process_queue_task_poison";
    dead_lettered(&app, function, &messages[0].body).await;
    app.deliver("process_queue_task", &messages[1].body).await;
    dead_lettered(&app, function, &messages[1].body).await;
    dead_lettered(&app, function, "not JSON").await;
    let again = sent_again(&app).remove(0);
    app.deliver("process_queue_task", &again.body).await;
    app.run_until_finished(&job_id).await;
    let lines = log.lines("a dead-lettered message was processed");
    let of = |name: &str| -> Vec<Value> { lines.iter().map(|line| line[name].clone()).collect() };
    assert_eq!(of("outcome"), [json!("sent_again"), json!("absorbed"), json!("kept_for_review")]);
    assert_eq!(of("level"), [json!("warn"), json!("info"), json!("warn")]);
    assert_eq!(of("job_id"), [json!(job_id), json!(job_id), Value::Null]);
    assert_eq!(of("stage"), [json!(1), json!(1), Value::Null]);
    assert_eq!(of("tasks_sent_again"), [json!(1), Value::Null, Value::Null]);
    let task: Value = serde_json::from_str(&messages[0].body).unwrap();
    assert_eq!(lines[0]["task_id"], task["task_id"]);
    let completed = &log.lines("stage completed")[0];
    assert_eq!((&completed["next_stage"], &completed["stage"]), (&json!("owed"), &json!(1)));

    let lost = app.submitted("probe", json!({ "stages": [1], "tag": "lost" })).await;
    app.queue.take(QueueRole::Jobs);
    app.time_passes(quick().lost_after * 2).await;
    app.deliver("reconcile", "{}").await;
    let reports = log.lines("reconciled");
    let report = reports.last().expect("the job message was lost").as_object().unwrap();
    assert_eq!(report["planners_missing"], 1, "{report:?}");
    assert!(!report.contains_key("batches_lost"), "what was not found is no field: {report:?}");
    app.run_until_finished(&lost).await;
    for text in ["Some(", "{ "] {
        let all = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!all.contains(text), "{text}: {all}");
    }
}

const UNKNOWN_JOB: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn start() -> TestApp {
    TestApp::with_probe(Probe::default(), Timing::default()).await
}

/// A probe job with a planned first stage, and the messages of its tasks.
async fn planned(app: &TestApp, parameters: Value) -> (String, Vec<OutgoingMessage>) {
    let job_id = app.submitted("probe", parameters).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let answer = app.deliver("process_queue_job", &job.body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    (job_id, app.queue.take(QueueRole::Tasks))
}

async fn dead_lettered(app: &TestApp, function: &str, text: &str) {
    let answer = app.deliver(function, text).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// The waiting task messages, including delayed ones.
fn sent_again(app: &TestApp) -> Vec<OutgoingMessage> {
    let mut messages = app.queue.take(QueueRole::Tasks);
    messages.extend(app.queue.take_delayed(QueueRole::Tasks));
    messages
}

async fn sql(app: &TestApp, statement: &'static str) {
    app.connection().await.execute(statement).await.unwrap();
}

async fn order(app: &TestApp, body: Value) -> Answer {
    app.request("POST", "/api/monitor/poison", body.to_string()).await
}

fn review(app: &TestApp) -> Vec<(String, String)> {
    let text = |kept: &Value, name: &str| kept[name].as_str().unwrap().to_owned();
    app.queue
        .take(QueueRole::Poison)
        .iter()
        .map(|message| {
            let kept: Value = serde_json::from_str(&message.body).unwrap();
            (text(&kept, "reason"), text(&kept, "message"))
        })
        .collect()
}

#[tokio::test]
async fn unreadable_messages_are_kept_for_review() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [1] })).await;
    let changed = |change: Value| {
        let mut message: Value = serde_json::from_str(&tasks[0].body).unwrap();
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        message.to_string()
    };
    let job = |change: Value| {
        let mut message = json!({ "job_id": job_id, "job_type": "probe", "stage": 1 });
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        message.to_string()
    };
    let batch = json!({
        "batch_id": format!("{job_id}-s1-b99"), "parent_job_id": job_id, "job_type": "probe", "task_type": "probe", "stage": 1,
    });
    let cases = [
        ("process_queue_task_poison", "not JSON".to_owned(), "not JSON"),
        ("process_queue_task_poison", "[1, 2]".to_owned(), "an array"),
        ("process_queue_task_poison", "7".to_owned(), "a number"),
        (
            "process_queue_task_poison",
            changed(json!({ "task_id": "nobody" })),
            "has no task \"nobody\"",
        ),
        (
            "process_queue_task_poison",
            changed(json!({ "parent_job_id": UNKNOWN_JOB })),
            "there is no job",
        ),
        (
            "process_queue_task_poison",
            changed(json!({ "job_type": "tile" })),
            "no job type \"tile\"",
        ),
        ("process_queue_task_poison", batch.to_string(), "has no batch"),
        ("process_queue_job_poison", "{".to_owned(), "not JSON"),
        ("process_queue_job_poison", job(json!({ "job_id": UNKNOWN_JOB })), "there is no job"),
        (
            "process_queue_job_poison",
            job(json!({ "job_type": "hello_world" })),
            "its type is \"probe\"",
        ),
        ("process_queue_job_poison", job(json!({ "job_type": "tile" })), "no job type \"tile\""),
        ("process_queue_job_poison", job(json!({ "stage": 2 })), "stage 2 has not begun"),
    ];
    for (function, text, reason) in cases {
        dead_lettered(&app, function, &text).await;
        let kept = review(&app);
        let compact = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(kept.len(), 1, "{text}");
        assert!(kept[0].0.contains(reason), "{text}: {}", kept[0].0);
        assert_eq!(compact(&kept[0].1), compact(&text));
    }
    // The review queue is unreachable: the message must be redelivered.
    app.queue.set_down(true);
    let answer = app.deliver("process_queue_task_poison", "not JSON").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    app.queue.set_down(false);
    dead_lettered(&app, "process_queue_task", &tasks[0].body).await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_task_fails_after_five_redeliveries() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [2] })).await;
    let mut text = tasks[0].body.clone();
    let mut ids = vec![tasks[0].message_id.clone()];
    for round in 1..=5 {
        dead_lettered(&app, "process_queue_task_poison", &text).await;
        let mut again = sent_again(&app);
        assert_eq!(again.len(), 1, "round {round}");
        // The old message again changes nothing: it already has a successor.
        dead_lettered(&app, "process_queue_task_poison", &text).await;
        assert_eq!(app.queue.count(QueueRole::Tasks), 0, "round {round}");
        let again = again.remove(0);
        assert!(again.message_id.len() <= 128 && !ids.contains(&again.message_id), "{ids:?}");
        assert_eq!(again.correlation_id, job_id);
        let retry_count =
            serde_json::from_str::<Value>(&again.body).unwrap()["retry_count"].clone();
        assert_eq!(retry_count, round);
        ids.push(again.message_id);
        text = again.body;
    }
    assert_eq!(app.status(&job_id).await["progress"][0]["failed"], 0);
    dead_lettered(&app, "process_queue_task_poison", &text).await;
    assert_eq!(app.queue.count(QueueRole::Tasks), 0);
    let status = app.status(&job_id).await;
    assert_eq!(
        (&status["status"], &status["progress"][0]["failed"]),
        (&json!("processing"), &json!(1))
    );
    // Its sibling finishes, and so does the stage.
    dead_lettered(&app, "process_queue_task", &tasks[1].body).await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed");
    assert!(
        status["errorDetails"].as_str().unwrap().contains("delivered as often as its queue allows"),
        "{status}"
    );
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_task_redelivered_from_poison_runs_normally() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [3, 1] })).await;
    for task in &tasks {
        dead_lettered(&app, "process_queue_task_poison", &task.body).await;
    }
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn poison_of_finished_or_running_work_is_ignored() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [2] })).await;
    let job = json!({ "job_id": job_id, "job_type": "probe", "stage": 1 }).to_string();
    // A planned stage, a completed task, and a task that an attempt holds.
    dead_lettered(&app, "process_queue_job_poison", &job).await;
    dead_lettered(&app, "process_queue_task", &tasks[0].body).await;
    dead_lettered(&app, "process_queue_task_poison", &tasks[0].body).await;
    sql(
        &app,
        "UPDATE tasks SET status = 'processing', attempt = 1, lease_until = now() + interval '1 minute' WHERE status = 'queued'",
    )
    .await;
    dead_lettered(&app, "process_queue_task_poison", &tasks[1].body).await;
    // A user's request does not fail it either while it runs.
    app.queue.put_aside(QueueRole::Tasks, &tasks[1].body);
    let run = order(&app, json!({})).await.body;
    assert_eq!(
        (&run["tasks_marked_failed"], &run["messages"][0]["outcome"]),
        (&json!(0), &json!("absorbed"))
    );
    assert_eq!(app.status(&job_id).await["progress"][0]["failed"], 0);
    sql(&app, "UPDATE jobs SET status = 'failed', finished_at = now()").await;
    sql(
        &app,
        "UPDATE tasks SET lease_until = now() - interval '1 minute' WHERE status = 'processing'",
    )
    .await;
    dead_lettered(&app, "process_queue_task_poison", &tasks[1].body).await;
    dead_lettered(&app, "process_queue_job_poison", &job).await;
    assert_eq!(app.status(&job_id).await["progress"][0]["failed"], 0);
    let quiet =
        [QueueRole::Jobs, QueueRole::Tasks, QueueRole::Poison].map(|role| app.queue.count(role));
    assert_eq!(quiet, [0, 0, 0]);
}

#[tokio::test]
async fn poison_of_a_dead_attempt_gets_a_new_message() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [1] })).await;
    sql(
        &app,
        "UPDATE tasks SET status = 'processing', attempt = 1, lease_until = now() - interval '1 minute'",
    )
    .await;
    dead_lettered(&app, "process_queue_task_poison", &tasks[0].body).await;
    assert_eq!(app.queue.count(QueueRole::Tasks), 1);
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn coarse_poison_affects_only_its_open_tasks() {
    let app = start().await;
    let (job_id, messages) = planned(&app, json!({ "stages": [4], "tasks_per_message": 4 })).await;
    assert_eq!(messages.len(), 1);
    sql(
        &app,
        "WITH done AS (UPDATE tasks SET status = 'completed', result_data = '{}', finished_at = now() WHERE ordinal = 0)
         UPDATE stages SET completed = 1",
    )
    .await;
    let mut text = messages[0].body.clone();
    for round in 1..=5 {
        let (one, other) = tokio::join!(
            app.deliver("process_queue_task_poison", &text),
            app.deliver("process_queue_task_poison", &text)
        );
        assert!(one.status == StatusCode::OK && other.status == StatusCode::OK);
        let again = sent_again(&app);
        assert!((1..=2).contains(&again.len()), "one message for all that is open: {again:?}");
        assert!(again.iter().all(|message| message.message_id == again[0].message_id));
        let largest: i16 = sqlx::query_scalar("SELECT max(poisoned) FROM tasks")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(largest, round, "two at the same moment count once");
        text = again[again.len() - 1].body.clone();
    }
    // Both created a message with the same id; the time at which the counted message was written
    // decides.
    sql(&app, "UPDATE tasks SET poisoned_at = NULL").await;
    dead_lettered(&app, "process_queue_task_poison", &text).await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed");
    let progress = &status["progress"][0];
    assert_eq!((&progress["completed"], &progress["failed"]), (&json!(1), &json!(3)));
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_job_fails_after_five_redeliveries() {
    let app = start().await;
    let job_id = app.submitted("probe", json!({ "stages": [1, 1] })).await;
    let mut text = app.queue.take(QueueRole::Jobs).remove(0).body;
    for round in 1..=5 {
        let deliveries = (0..3).map(|_| app.deliver("process_queue_job_poison", &text));
        assert!(join_all(deliveries).await.iter().all(|answer| answer.status == StatusCode::OK));
        let mut again = app.queue.take(QueueRole::Jobs);
        assert_eq!(again.len(), 1, "round {round}");
        text = again.remove(0).body;
    }
    let answers = join_all((0..3).map(|_| app.deliver("process_queue_job_poison", &text))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed");
    let reason = status["errorDetails"].as_str().unwrap();
    assert!(
        reason.starts_with("stage 1 could not be started: its job message was delivered"),
        "{reason}"
    );
    let sent = [QueueRole::Jobs, QueueRole::Poison].map(|role| app.queue.count(role));
    assert_eq!(sent, [0, 0]);
    // A late job message changes nothing.
    dead_lettered(&app, "process_queue_job", &text).await;
    assert_eq!(app.queue.count(QueueRole::Tasks), 0);
}

#[tokio::test]
async fn an_unsendable_job_message_stays_in_the_outbox() {
    let app = TestApp::with(Probe::default().add_to(catalog()), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1] })).await;
    let text = app.queue.take(QueueRole::Jobs).remove(0).body;
    app.queue.set_down(true);
    dead_lettered(&app, "process_queue_job_poison", &text).await;
    app.queue.set_down(false);
    app.time_passes(quick().send_grace * 2).await;
    dead_lettered(&app, "reconcile", "{}").await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_failed_redelivery_of_a_task_is_not_counted() {
    let app = start().await;
    let (job_id, tasks) = planned(&app, json!({ "stages": [1] })).await;
    app.queue.set_down(true);
    for _ in 0..10 {
        let answer = app.deliver("process_queue_task_poison", &tasks[0].body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    app.queue.set_down(false);
    dead_lettered(&app, "process_queue_task_poison", &tasks[0].body).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_message_of_a_fast_clock_is_redelivered_once() {
    let app = start().await;
    let (_, tasks) = planned(&app, json!({ "stages": [1] })).await;
    let mut message: Value = serde_json::from_str(&tasks[0].body).unwrap();
    let ahead = time::OffsetDateTime::now_utc() + time::Duration::minutes(10);
    message["timestamp"] = json!(timestamp::write_naive(ahead));
    for _ in 0..3 {
        dead_lettered(&app, "process_queue_task_poison", &message.to_string()).await;
    }
    assert_eq!(app.queue.count(QueueRole::Tasks), 1);
}

/// The events of a task of the property's job.
#[derive(Debug, Clone, Copy)]
enum Step {
    Delivered(usize),
    DeadLettered(usize),
    GivenUp(usize),
    DeliveredAndDeadLettered(usize),
    DeadLetteredTwice(usize),
    GivenUpAndDeadLettered(usize),
    LeasesRunOut,
    NewMessages,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_usize).prop_map(Step::Delivered),
        (0..3_usize).prop_map(Step::DeadLettered),
        (0..3_usize).prop_map(Step::GivenUp),
        (0..3_usize).prop_map(Step::DeliveredAndDeadLettered),
        (0..3_usize).prop_map(Step::DeadLetteredTwice),
        (0..3_usize).prop_map(Step::GivenUpAndDeadLettered),
        Just(Step::LeasesRunOut),
        Just(Step::NewMessages),
    ];
    prop::collection::vec(step, 1..12)
}

async fn take_step(app: &TestApp, texts: &mut [String], step: Step) {
    let poison =
        |text: String| async move { dead_lettered(app, "process_queue_task_poison", &text).await };
    let run = |text: String| async move { dead_lettered(app, "process_queue_task", &text).await };
    let give_up = |text: String| async move {
        app.queue.put_aside(QueueRole::Tasks, &text);
        assert_eq!(order(app, json!({})).await.body["success"], true);
    };
    match step {
        Step::Delivered(task) => run(texts[task].clone()).await,
        Step::DeadLettered(task) => poison(texts[task].clone()).await,
        Step::GivenUp(task) => give_up(texts[task].clone()).await,
        Step::DeliveredAndDeadLettered(task) => {
            tokio::join!(run(texts[task].clone()), poison(texts[task].clone()));
        }
        Step::DeadLetteredTwice(task) => {
            tokio::join!(poison(texts[task].clone()), poison(texts[task].clone()));
        }
        Step::GivenUpAndDeadLettered(task) => {
            tokio::join!(give_up(texts[task].clone()), poison(texts[task].clone()));
        }
        Step::LeasesRunOut => {
            sql(
                app,
                "UPDATE tasks SET status = 'processing', attempt = attempt + 1, lease_until = now() - interval '1 second'
                 WHERE status = 'queued'",
            )
            .await;
        }
        Step::NewMessages => {
            for message in sent_again(app) {
                let place = texts.iter().position(|text| {
                    let id = |text: &str| {
                        serde_json::from_str::<Value>(text).unwrap()["task_id"].clone()
                    };
                    id(text) == id(&message.body)
                });
                texts[place.unwrap()] = message.body;
            }
        }
    }
}

#[test]
fn poison_never_gives_a_task_two_outcomes() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = runtime.block_on(async {
        let app = start().await;
        sql(
            &app,
            "CREATE TABLE outcomes (job_id text, task_id text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO app.outcomes VALUES (NEW.parent_job_id, NEW.task_id); RETURN NULL;
             END $$;
             CREATE TRIGGER noted AFTER UPDATE ON tasks FOR EACH ROW
             WHEN (NEW.finished_at IS DISTINCT FROM OLD.finished_at OR
                   (NEW.status <> OLD.status AND NEW.status IN ('completed', 'failed', 'skipped')))
             EXECUTE FUNCTION note()",
        )
        .await;
        app
    });
    let round = std::cell::Cell::new(0);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        round.set(round.get() + 1);
        runtime.block_on(async {
            let (job_id, tasks) = planned(&app, json!({ "stages": [3], "round": round.get() })).await;
            let mut texts: Vec<String> = tasks.into_iter().map(|task| task.body).collect();
            for step in steps {
                take_step(&app, &mut texts, step).await;
            }
            // All open tasks finish: one message for each, delivered normally.
            sql(&app, "UPDATE tasks SET lease_until = NULL WHERE status = 'processing'").await;
            sql(&app, "UPDATE tasks SET status = 'queued' WHERE status = 'processing'").await;
            sent_again(&app);
            for text in &texts {
                dead_lettered(&app, "process_queue_task", text).await;
            }
            let twice: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM app.outcomes GROUP BY job_id, task_id HAVING count(*) > 1) t",
            )
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
            prop_assert_eq!(twice, 0);
            let status = app.status(&job_id).await;
            prop_assert!(status["status"] == "completed" || status["status"] == "failed", "{}", status);
            app.assert_consistent(&job_id).await;
            app.queue.take(QueueRole::Poison);
            Ok(())
        })
    });
    result.unwrap();
}
