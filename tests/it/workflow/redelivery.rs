//! Invariants 1 to 4 under redelivery and concurrency: messages that are duplicated, late, out of
//! order and concurrent.

use axum::http::StatusCode;
use futures_util::future::join_all;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn triplicate_messages_run_each_task_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [50, 50, 1, 50], "sleeps_ms": 1 })).await;
    let mut deliveries = 0;
    loop {
        let jobs = app.queue.take(QueueRole::Jobs);
        let tasks = app.queue.take(QueueRole::Tasks);
        if jobs.is_empty() && tasks.is_empty() {
            break;
        }
        let thrice =
            |function, messages: &[lastlight_engine::transport::sender::OutgoingMessage]| {
                messages
                    .iter()
                    .flat_map(|message| {
                        [message.body.clone(), message.body.clone(), message.body.clone()]
                    })
                    .map(|body| (function, body))
                    .collect::<Vec<_>>()
            };
        let mut all = thrice("process_queue_job", &jobs);
        all.extend(thrice("process_queue_task", &tasks));
        deliveries += all.len();
        let answers =
            join_all(all.iter().map(|(function, body)| app.deliver(function, body))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    }
    assert_eq!(
        deliveries,
        3 * (4 + 151),
        "each stage was started once and each task was sent once"
    );
    let runs = probe.runs();
    assert_eq!(runs.len(), 151);
    assert!(runs.values().all(|runs| *runs == 1), "a task ran twice: {runs:?}");
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_last_tasks_advance_the_stage_once() {
    let probe = Probe::default();
    let first = TestApp::with_probe(probe.clone(), Timing::default()).await;
    // Two processes from the database's point of view, with their own pools and completion groups.
    let second = TestApp::on(&first.url, probe.add_to(catalog()), Timing::default()).await;
    for round in 0..20 {
        let job_id = first.submitted("probe", json!({ "stages": [2, 1], "round": round })).await;
        let job = first.queue.take(QueueRole::Jobs).remove(0);
        first.deliver("process_queue_job", &job.body).await;
        let tasks = first.queue.take(QueueRole::Tasks);
        let (one, other) = tokio::join!(
            first.deliver("process_queue_task", &tasks[0].body),
            second.deliver("process_queue_task", &tasks[1].body)
        );
        assert!(one.status == StatusCode::OK && other.status == StatusCode::OK);
        let next =
            first.queue.take(QueueRole::Jobs).len() + second.queue.take(QueueRole::Jobs).len();
        assert_eq!(next, 1, "round {round}: stage 2 was started {next} times");
        first.assert_consistent(&job_id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_count_every_outcome_once() {
    let probe = Probe::default();
    let first = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let second = TestApp::on(&first.url, probe.clone().add_to(catalog()), Timing::default()).await;
    let job_id = first.submitted("probe", json!({ "stages": [400] })).await;
    let job = first.queue.take(QueueRole::Jobs).remove(0);
    first.deliver("process_queue_job", &job.body).await;
    let tasks = first.queue.take(QueueRole::Tasks);
    // Both get every message, in opposite orders; locks are still taken in one order.
    let forward =
        join_all(tasks.iter().map(|task| first.deliver("process_queue_task", &task.body)));
    let backward =
        join_all(tasks.iter().rev().map(|task| second.deliver("process_queue_task", &task.body)));
    let (forward, backward) = tokio::join!(forward, backward);
    assert!(forward.iter().chain(&backward).all(|answer| answer.status == StatusCode::OK));
    assert_eq!(first.status(&job_id).await["status"], "completed");
    assert!(probe.runs().values().all(|runs| *runs == 1));
    first.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_task_twice_in_one_batch_counts_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3], "use_service_bus": true })).await;
    let tasks = app.planned_over_bus().await;
    let texts: Vec<&str> = tasks.iter().chain(&tasks).map(|task| task.body.as_str()).collect();
    assert_eq!(app.deliver_many("process_sb_task", &texts).await.status, StatusCode::OK);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert!(probe.runs().values().all(|runs| *runs == 1));
}

#[tokio::test]
async fn messages_of_a_finished_job_change_nothing() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2, 2] })).await;
    let mut seen = Vec::new();
    loop {
        let jobs = app
            .queue
            .take(QueueRole::Jobs)
            .into_iter()
            .map(|message| ("process_queue_job", message.body));
        let tasks = app
            .queue
            .take(QueueRole::Tasks)
            .into_iter()
            .map(|message| ("process_queue_task", message.body));
        let now: Vec<_> = jobs.chain(tasks).collect();
        if now.is_empty() {
            break;
        }
        for (function, body) in &now {
            app.deliver(function, body).await;
        }
        seen.extend(now);
    }
    let before = app.status(&job_id).await;
    for (function, body) in seen.iter().rev() {
        assert_eq!(app.deliver(function, body).await.status, StatusCode::OK, "{function}");
    }
    let after = app.status(&job_id).await;
    assert_eq!((&before["status"], &before["updatedAt"]), (&after["status"], &after["updatedAt"]));
    assert_eq!(app.queue.count(QueueRole::Jobs) + app.queue.count(QueueRole::Tasks), 0);
    assert_eq!(probe.runs().values().sum::<u32>(), 4);
}

#[tokio::test]
async fn a_completion_after_a_lost_lease_is_rejected() {
    let probe = Probe::default();
    let slow = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = slow.submitted("probe", json!({ "stages": [1], "waits": true })).await;
    let job = slow.queue.take(QueueRole::Jobs).remove(0);
    slow.deliver("process_queue_job", &job.body).await;
    let task = slow.queue.take(QueueRole::Tasks).remove(0);
    let mut connection = slow.connection().await;
    let meddle = async {
        // The process is paused past its lease, and another attempt takes the task meanwhile.
        probe.until_runs(1).await;
        sqlx::query("UPDATE tasks SET attempt = attempt + 1")
            .execute(&mut connection)
            .await
            .unwrap();
        probe.open_gate();
    };
    let (answer, ()) = tokio::join!(slow.deliver("process_queue_task", &task.body), meddle);
    assert_eq!(answer.status, StatusCode::OK);
    let progress = &slow.status(&job_id).await["progress"][0];
    assert_eq!(
        (&progress["completed"], &progress["open"]),
        (&json!(0), &json!(1)),
        "the stale outcome counted"
    );
}
