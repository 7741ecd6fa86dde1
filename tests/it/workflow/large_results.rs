//! Jobs with large results and parameters: the memory that a process holds for them is limited in
//! bytes, whatever their number.

use std::time::Duration;

use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, quick};

const MIB: u64 = 1024 * 1024;

/// The peak of the held memory (results, inputs) while `work` runs.
async fn most_held(app: &TestApp, work: impl Future<Output = ()>) -> (u64, u64) {
    let mut most = (0, 0);
    let watch = async {
        loop {
            let memory = app.controller.process_metrics().memory;
            most = (most.0.max(memory.results), most.1.max(memory.inputs));
            assert!(
                memory.results <= memory.limit_of_each && memory.inputs <= memory.limit_of_each
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = watch => {}
    }
    most
}

#[tokio::test]
async fn large_results_stay_within_the_memory_limit() {
    let timing = Timing { memory: 16 * MIB as usize, ..quick() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let job_id =
        app.submitted("probe", json!({ "stages": [60, 60], "result_bytes": 450_000 })).await;
    let (results, inputs) = most_held(&app, async {
        app.run_until_finished(&job_id).await;
    })
    .await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert!(results >= 450_000, "{results} bytes for results");
    assert!(inputs >= 450_000, "{inputs} bytes for the results of predecessors");
    assert_eq!(app.controller.process_metrics().memory.results, 0, "and nothing stays held");
    assert_eq!(app.controller.process_metrics().memory.inputs, 0);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn grouped_completions_are_limited_by_bytes() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [40], "result_bytes": 1_000_000 })).await;
    let messages = app.planned().await;
    app.deliver_each("process_queue_task", &messages).await;
    let groups = app.controller.process_metrics().completions;
    let of_more_than_8 = groups.at_most.last().unwrap().1
        - groups.at_most.iter().find(|(size, _)| *size == 8).unwrap().1;
    assert_eq!(of_more_than_8, 0, "five of them are as much as a group holds: {groups:?}");
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn large_parameters_reach_their_tasks_unchanged() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id =
        app.submitted("probe", json!({ "stages": [130], "parameter_bytes": 300_000 })).await;
    let messages = app.planned().await;
    assert_eq!(messages.len(), 130);
    assert!(
        messages.iter().all(|message| message.body.len() < 16 * 1024),
        "no message carries them"
    );
    app.deliver_each("process_queue_task", &messages).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status:.2000}");
    let planned: i32 = sqlx::query_scalar("SELECT min(octet_length(parameters::text)) FROM tasks")
        .fetch_one(&mut app.connection().await)
        .await
        .unwrap();
    assert!(planned > 300_000);
}

#[tokio::test]
async fn planners_of_large_definitions_take_turns() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut jobs = Vec::new();
    for number in 0..4 {
        let parameters = json!({ "stages": [120], "parameter_bytes": 100_000, "number": number });
        jobs.push(app.submitted("probe", parameters).await);
    }
    let messages = app.queue.take(QueueRole::Jobs);
    app.deliver_each("process_queue_job", &messages).await;
    for job_id in &jobs {
        assert_eq!(app.status(job_id).await["progress"][0]["total"], 120);
        assert_eq!(app.run_until_finished(job_id).await["status"], "completed");
        app.assert_consistent(job_id).await;
    }
}
