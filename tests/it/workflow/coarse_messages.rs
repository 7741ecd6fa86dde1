//! Coarse messages: one message contains many tasks. Each task still has its own outcome, attempt
//! and lease, and a redelivered message runs only the tasks that are still open.

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, Probe, TestApp, quick, until};

/// Delivers the waiting job message and returns the bodies of the task messages that it created.
async fn planned(app: &TestApp) -> Vec<String> {
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    assert_eq!(app.deliver("process_queue_job", &job.body).await.status, StatusCode::OK);
    let messages = app.queue.take(QueueRole::Tasks);
    messages.into_iter().map(|message| message.body).collect()
}

async fn deliver(app: &TestApp, body: &str) {
    let answer = app.deliver("process_queue_task", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

#[tokio::test]
async fn one_message_can_carry_a_hundred_tasks() {
    let app = TestApp::start().await;
    for (bus, mailbox) in [(false, &app.queue), (true, &app.bus)] {
        let parameters = json!({ "n": 2250, "tasks_per_message": 100, "use_service_bus": bus });
        let job_id = app.submitted("hello_world", parameters).await;
        let function = if bus { "process_sb_job" } else { "process_queue_job" };
        let job = mailbox.take(QueueRole::Jobs).remove(0);
        app.deliver(function, &job.body).await;
        let messages = mailbox.take(QueueRole::Tasks);
        assert_eq!(messages.len(), 23);
        let mut ids: Vec<_> = messages.iter().map(|message| &message.message_id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 23, "each message has an id of its own");
        let function = if bus { "process_sb_task" } else { "process_queue_task" };
        let bodies: Vec<&str> = messages.iter().map(|message| message.body.as_str()).collect();
        if bus {
            // With cardinality `many`, all of them in one invocation.
            assert_eq!(app.deliver_many(function, &bodies).await.status, StatusCode::OK);
        } else {
            for body in bodies {
                deliver(&app, body).await;
            }
        }
        app.run_dry().await;
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(status["resultData"]["completed_tasks"], 4500);
        app.assert_consistent(&job_id).await;
    }
}

#[tokio::test]
async fn any_tasks_per_message_runs_each_task_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let mut tasks = 0;
    for tasks_per_message in [1, 7, 100, 209, 210, 1000] {
        let parameters = json!({ "stages": [210, 3, 211], "tasks_per_message": tasks_per_message });
        let job_id = app.submitted("probe", parameters).await;
        let messages = planned(&app).await;
        assert_eq!(messages.len(), 210_usize.div_ceil(tasks_per_message));
        for body in &messages {
            deliver(&app, body).await;
        }
        app.run_dry().await;
        assert_eq!(app.status(&job_id).await["status"], "completed");
        app.assert_consistent(&job_id).await;
        tasks += 424;
    }
    assert_eq!(probe.runs().values().sum::<u32>(), tasks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coarse_message_duplicates_run_each_task_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters = json!({ "stages": [120], "tasks_per_message": 60, "sleeps_ms": 1 });
    let job_id = app.submitted("probe", parameters).await;
    let messages = planned(&app).await;
    let thrice = messages.iter().chain(&messages).chain(&messages);
    futures_util::future::join_all(thrice.map(|body| deliver(&app, body))).await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert!(probe.runs().values().all(|runs| *runs == 1));
    assert_eq!(probe.runs().len(), 120);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn tasks_of_a_coarse_message_fail_independently() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let parameters =
        json!({ "stages": [40], "tasks_per_message": 20, "fails": [3], "panics": [25] });
    let job_id = app.submitted("probe", parameters).await;
    for body in planned(&app).await {
        deliver(&app, &body).await;
    }
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["progress"][0]["completed"], 38);
    assert_eq!(status["progress"][0]["failed"], 2);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_redelivered_message_runs_only_open_tasks() {
    let probe = Probe::default();
    let timing = Timing { tasks_in_flight: 4, ..quick() };
    let app = TestApp::with_probe(probe.clone(), timing).await;
    let parameters = json!({ "stages": [40], "tasks_per_message": 40, "waits_at": 20 });
    let job_id = app.submitted("probe", parameters).await;
    let messages = planned(&app).await;
    // The request is dropped midway, as by a kill.
    let some_are_done = async {
        until("all but one are done", async || {
            let done = app.status(&job_id).await["progress"][0]["completed"].clone();
            (done == 39).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = deliver(&app, &messages[0]) => panic!("the batch is through"),
        () = some_are_done => {}
    }
    probe.open_gate();
    deliver(&app, &messages[0]).await;
    // Tasks that ran at that moment run again when their leases have expired.
    assert_eq!(app.sweep_until_finished(&job_id).await["status"], "completed");
    let runs = probe.runs();
    assert_eq!(runs.len(), 40);
    let twice = runs.values().filter(|runs| **runs > 1).count();
    assert!(twice <= 4, "{twice} tasks ran again; 4 were running");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn lost_coarse_messages_are_resent_with_new_ids() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let parameters = json!({ "stages": [50], "tasks_per_message": 10 });
    let job_id = app.submitted("probe", parameters).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &job.body).await;
    let lost = app.queue.take(QueueRole::Tasks);
    assert_eq!(lost.len(), 5);
    deliver(&app, &lost[0].body).await;
    app.time_passes(quick().lost_after * 2).await;
    app.deliver("reconcile", "{}").await;
    let again = app.queue.take(QueueRole::Tasks);
    assert_eq!(again.len(), 4, "the four that were lost");
    assert!(
        again.iter().all(|message| lost.iter().all(|one| one.message_id != message.message_id))
    );
    for message in again {
        deliver(&app, &message.body).await;
    }
    assert_eq!(app.status(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn an_invalid_tasks_per_message_is_refused() {
    let app = TestApp::start().await;
    for bad in [json!(0), json!(1001), json!(-1), json!(1.5), json!("ten"), json!([1])] {
        let parameters = json!({ "n": 1, "tasks_per_message": bad });
        let answer = app.submit("hello_world", parameters).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let words = answer.body.to_string();
        assert!(
            words.contains("tasks_per_message") && words.contains("a whole number from 1 to 1000"),
            "{words}"
        );
    }
    // Null is the same as no value, and the job id does not change.
    let without = app.submitted("hello_world", json!({ "n": 1 })).await;
    let null = app.submitted("hello_world", json!({ "n": 1, "tasks_per_message": null })).await;
    assert_eq!(without, null);
}

#[tokio::test]
async fn an_invalid_batch_id_is_refused_alone() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [4], "tasks_per_message": 2 })).await;
    let messages = planned(&app).await;
    let with_id = |batch_id: Value| {
        let mut message: Value = serde_json::from_str(&messages[0]).unwrap();
        message["batch_id"] = batch_id;
        message.to_string()
    };
    for malformed in
        [json!(7), json!("b1"), json!(format!("{job_id}-s0-b0")), json!(format!("{job_id}-s1-b-1"))]
    {
        let answer = app.deliver("process_queue_task", &with_id(malformed)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.body.to_string().contains("batch_id"), "{}", answer.body);
    }
    for unknown in
        [format!("{job_id}-s1-b2"), format!("{job_id}-s2-b0"), format!("{job_id}-s1-b4294967295")]
    {
        let answer = app.deliver("process_queue_task", &with_id(json!(unknown))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
    }
    let unknown = with_id(json!(format!("{job_id}-s1-b9")));
    let answer = app.deliver_many("process_sb_task", &[&messages[0], &unknown, &messages[1]]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.bus.count(QueueRole::Poison), 1);
    assert_eq!(app.status(&job_id).await["status"], "completed");
}
