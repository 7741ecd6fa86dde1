//! From the job message to the final result, over both paths.

use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::{Value, json};

use crate::harness::{OfThisApp, Probe, TestApp};

#[tokio::test]
async fn hello_world_completes_over_both_paths() {
    let app = TestApp::start().await;
    for use_service_bus in [false, true] {
        let job_id = app
            .submitted("hello_world", json!({ "n": 10, "use_service_bus": use_service_bus }))
            .await;
        app.run_dry().await;
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(status["totalStages"], 2);
        for (stage, name) in [("1", "greetings"), ("2", "replies")] {
            assert_eq!(status["stageResults"][stage]["completed"], 10);
            assert_eq!(status["stageResults"][stage]["summary"][name], 10);
        }
        let reply = &status["stageResults"]["2"]["samples"][9];
        assert_eq!(reply["task_index"], "reply-9");
        assert_eq!(reply["result"]["reply"], "Reply to \"Hello World from task 9!\"");
        app.assert_consistent(&job_id).await;
    }
}

#[tokio::test]
async fn large_stages_are_planned_in_batches() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 2345 })).await;
    let message = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &message.body).await;
    assert_eq!(app.queue.count(QueueRole::Tasks), 2345);
    let mut connection = app.connection().await;
    let batches: Vec<(i32, i32, String)> = sqlx::query_as(
        "SELECT batch_no, cardinality(task_ids), status::text FROM task_batches WHERE job_id = $1 ORDER BY batch_no",
    )
    .bind(&job_id)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(batches.len(), 24);
    assert!(batches[..23].iter().all(|(_, tasks, status)| *tasks == 100 && status == "queued"));
    assert_eq!(batches[23], (23, 45, "queued".to_owned()));
    let progress = &app.status(&job_id).await["progress"][0];
    assert_eq!(
        (&progress["total"], &progress["planned"], &progress["pendingQueue"]),
        (&json!(2345), &json!(true), &json!(0))
    );
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["resultData"]["completed_tasks"], 4690);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn stage_results_keep_a_sample_of_a_large_stage() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 500 })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["stageResults"]["1"]["samples"].as_array().unwrap().len(), 100);
    assert_eq!(status["stageResults"]["1"]["samples"][99]["task_index"], "greet-99");
}

#[tokio::test]
async fn a_stage_without_tasks_ends_at_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2, 0, 3, 0] })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["resultData"]["total_tasks"], 5);
    assert_eq!(probe.runs().len(), 5);
}

#[tokio::test]
async fn a_task_reads_the_previous_result_of_its_index() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3, 3] })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(
        status["stageResults"]["2"]["samples"][1]["result"]["before"]["ran"], "1/1",
        "{status}"
    );
}

#[tokio::test]
async fn a_failed_task_fails_its_job_with_the_reason() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id =
        app.submitted("probe", json!({ "stages": [5, 5], "fails": [1], "panics": [3] })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed");
    let details = status["errorDetails"].as_str().unwrap();
    assert!(details.starts_with("stage 1: 2 of 5 tasks failed"), "{details}");
    assert!(details.contains("task 1/1 was told to fail"), "{details}");
    let errors: Vec<&str> = status["stageResults"]["1"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["error"].as_str())
        .collect();
    assert!(
        errors
            .iter()
            .any(|error| error.contains("the handler panicked: task 1/3 was told to panic")),
        "{errors:?}"
    );
    assert_eq!(probe.runs().len(), 5, "stage 2 must not begin");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_failed_plan_fails_its_job_with_the_reason() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    for (parameters, words) in [
        (json!({ "stages": [10], "plan_fails_after": 7 }), "the blob container went away"),
        (json!({ "stages": [3], "collides": true }), "have the same task id"),
    ] {
        let job_id = app.submitted("probe", parameters).await;
        app.run_dry().await;
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "failed", "{status}");
        assert!(status["errorDetails"].as_str().unwrap().contains(words), "{status}");
    }
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_its_task() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "result_bytes": 2_000_000 })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed");
    assert!(
        status["errorDetails"].as_str().unwrap().contains("at most 1048576 are kept"),
        "{status}"
    );
}

#[tokio::test]
async fn large_parameters_stay_in_the_database() {
    let app = TestApp::start().await;
    let name = "ü".repeat(100);
    let job_id = app
        .submitted("hello_world", json!({ "n": 1, "name": name, "note": "x".repeat(100_000) }))
        .await;
    let message = app.queue.take(QueueRole::Jobs).remove(0);
    assert!(message.body.len() < 48 * 1024, "{} bytes", message.body.len());
    app.deliver("process_queue_job", &message.body).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    let greeting = status["stageResults"]["1"]["samples"][0]["result"]["greeting"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(greeting, format!("Hello {name} from task 0!"));
}

#[tokio::test]
async fn the_status_of_a_running_job_shows_progress() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    let message = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &message.body).await;
    let first = app.queue.take(QueueRole::Tasks).remove(0);
    app.deliver("process_queue_task", &first.body).await;
    let mut status = app.status(&job_id).await;
    for field in ["request_id", "timestamp", "createdAt", "updatedAt", "deadline", "version"] {
        status[field] = Value::from("…");
    }
    for field in ["etaSeconds", "ratePerSecond", "startedAt"] {
        assert!(!status["progress"][0][field].is_null(), "{field}");
        status["progress"][0][field] = Value::from("…");
    }
    insta::assert_json_snapshot!(status, @r#"
    {
      "createdAt": "…",
      "deadline": "…",
      "jobId": "a1147b47681769de3ec2a7fd38befdae6a841470e0c989cf3aa7b849c5296441",
      "jobType": "hello_world",
      "parameters": {
        "n": 3,
        "name": "World",
        "use_service_bus": false
      },
      "pauseRequested": false,
      "pausedAt": null,
      "processingPath": "queue_storage",
      "progress": [
        {
          "completed": 1,
          "etaSeconds": "…",
          "failed": 0,
          "finishedAt": null,
          "open": 2,
          "pendingQueue": 0,
          "planned": true,
          "queued": null,
          "ratePerSecond": "…",
          "running": null,
          "skipped": 0,
          "stage": 1,
          "startedAt": "…",
          "taskType": "hello_world_greeting",
          "total": 3
        }
      ],
      "request_id": "…",
      "stage": 1,
      "stageResults": {},
      "status": "processing",
      "timestamp": "…",
      "totalStages": 2,
      "updatedAt": "…",
      "version": "…"
    }
    "#);
}

#[tokio::test]
async fn a_task_past_its_timeout_fails_with_a_remedy() {
    let timing = Timing { task_timeout: std::time::Duration::from_millis(50), ..Timing::default() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "sleeps_ms": 5000 })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed");
    assert!(
        status["errorDetails"].as_str().unwrap().contains("FUNCTION_TIMEOUT_MINUTES"),
        "{status}"
    );
}
