//! Changes of a job by a user: cancel, retry failed tasks, pause and resume. Only legal transitions
//! are allowed.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, quick, until};

#[tokio::test]
async fn cancelling_a_job_skips_all_of_its_open_tasks() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [250, 5] })).await;
    let messages = app.planned().await;
    for message in &messages[..10] {
        app.deliver("process_queue_task", &message.body).await;
    }
    let answer = app.control("cancel", &job_id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["tasks_skipped"], 240);
    assert_eq!(answer.body["previous_status"], "processing");
    for message in &messages {
        let late = app.deliver("process_queue_task", &message.body).await;
        assert_eq!(late.status, StatusCode::OK, "{}", late.body);
    }
    assert_eq!(probe.runs().values().sum::<u32>(), 10);
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled");
    assert_eq!(
        (&status["progress"][0]["skipped"], &status["progress"][0]["open"]),
        (&json!(240), &json!(0))
    );
    app.assert_consistent(&job_id).await;
    assert_eq!(app.audit(&job_id).await["consistent"], true);
    assert_eq!(
        app.controller.reconcile().await.unwrap(),
        lastlight_engine::workflow::ReconcileReport::default(),
        "there is nothing left to do"
    );
}

#[tokio::test]
async fn an_outcome_after_a_cancellation_is_discarded() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "waits": true })).await;
    let message = app.planned().await.remove(0);
    let (answer, cancelled) =
        tokio::join!(app.deliver("process_queue_task", &message.body), async {
            probe.until_runs(1).await;
            let cancelled = app.control("cancel", &job_id).await;
            probe.open_gate();
            cancelled
        });
    assert_eq!((answer.status, cancelled.status), (StatusCode::OK, StatusCode::OK));
    let audit = app.audit(&job_id).await;
    let stage = &audit["stages"][0];
    assert_eq!((&stage["skipped"], &stage["completed"]), (&json!(1), &json!(0)), "{audit}");
    assert_eq!(stage["staleCompletionsRefused"], 1);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_heartbeat_stops_a_task_of_a_cancelled_job() {
    // A heartbeat is sent after a third of a lease, and may be late.
    let timing = Timing { lease: Duration::from_secs(3), ..quick() };
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), timing).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "waits": true })).await;
    let message = app.planned().await.remove(0);
    // The task waits at a gate that is never opened: only the heartbeat ends it.
    let (answer, _) = tokio::join!(app.deliver("process_queue_task", &message.body), async {
        probe.until_runs(1).await;
        app.control("cancel", &job_id).await
    });
    assert_eq!(answer.status, StatusCode::OK);
    let stage = &app.audit(&job_id).await["stages"][0];
    assert_eq!(
        (&stage["skipped"], &stage["staleCompletionsRefused"]),
        (&json!(1), &json!(0)),
        "it came to no outcome: {stage}"
    );
}

/// Waits until a part of a plan is stored.
async fn until_tasks_are_stored(app: &TestApp) {
    let mut connection = app.connection().await;
    until("tasks are stored", async || {
        let are_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM tasks)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        are_there.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_cancelled_during_planning_is_closed() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3000], "plan_waits_at": 1500 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let (planned, cancelled) = tokio::join!(app.deliver("process_queue_job", &job.body), async {
        until_tasks_are_stored(&app).await;
        let cancelled = app.control("cancel", &job_id).await;
        probe.open_gate();
        cancelled
    });
    assert_eq!((planned.status, cancelled.status), (StatusCode::OK, StatusCode::OK));
    app.controller.reconcile().await.unwrap();
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled");
    let stage = &status["progress"][0];
    assert_eq!((&stage["planned"], &stage["open"]), (&json!(false), &json!(0)), "{stage}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retry_runs_only_failed_tasks_again() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    // Three attempts are not enough, six are.
    let parameters = json!({ "stages": [250, 3], "stumbles": [7, 140], "stumbling_attempts": 4 });
    let job_id = app.submitted("probe", parameters).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "failed");
    let answer = app.control("retry", &job_id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(
        (&answer.body["tasks_reset"], &answer.body["stage"], &answer.body["status"]),
        (&json!(2), &json!(1), &json!("processing"))
    );
    assert_eq!(app.status(&job_id).await["errorDetails"], serde_json::Value::Null);
    // Attempts start at 1 again, for the handler and for the limit.
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed", "stumbles in attempts 1 to 3 again");
    assert_eq!(probe.runs()["1/7"], 6);
    assert_eq!(probe.runs()["1/8"], 1, "what succeeded stays");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_cancelled_job_completes_after_a_retry() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [130, 4] })).await;
    let messages = app.planned().await;
    for message in &messages[..30] {
        app.deliver("process_queue_task", &message.body).await;
    }
    app.control("cancel", &job_id).await;
    let answer = app.control("retry", &job_id).await;
    assert_eq!(answer.body["tasks_reset"], 100, "{}", answer.body);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(probe.runs().len(), 134);
    assert!(probe.runs().values().all(|runs| *runs == 1));
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retry_finishes_an_interrupted_plan() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2400], "plan_waits_at": 1500 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    tokio::join!(app.deliver("process_queue_job", &job.body), async {
        until_tasks_are_stored(&app).await;
        app.control("cancel", &job_id).await;
        probe.open_gate();
    });
    app.queue.take(QueueRole::Tasks);
    // The interrupted planner keeps its lease until it expires.
    app.time_passes(Duration::from_secs(3600)).await;
    let answer = app.control("retry", &job_id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["status"], "queued");
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(probe.runs().len(), 2400);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_paused_job_stops_at_the_end_of_its_stage() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3, 2] })).await;
    let messages = app.planned().await;
    let answer = app.control("pause", &job_id).await;
    assert_eq!(
        (answer.status, &answer.body["paused"], &answer.body["pause_requested"]),
        (StatusCode::OK, &json!(false), &json!(true))
    );
    for message in &messages {
        app.deliver("process_queue_task", &message.body).await;
    }
    assert_eq!(probe.runs().len(), 3, "the stage runs to its end");
    // Long after the time after which a job message is presumed lost.
    for _ in 0..8 {
        app.time_passes(Duration::from_secs(3600)).await;
        app.controller.reconcile().await.unwrap();
        app.run_dry().await;
    }
    let status = app.status(&job_id).await;
    assert!(status["pausedAt"].is_string(), "{status}");
    assert_eq!((&status["status"], &status["stage"]), (&json!("queued"), &json!(2)));
    assert_eq!(probe.runs().len(), 3);
    let answer = app.control("resume", &job_id).await;
    assert_eq!(
        (answer.status, &answer.body["paused"]),
        (StatusCode::OK, &json!(false)),
        "{}",
        answer.body
    );
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    assert_eq!(probe.runs().len(), 5);
}

#[tokio::test]
async fn an_unplanned_job_is_paused_at_once() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    assert_eq!(app.control("pause", &job_id).await.body["paused"], true);
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["progress"][0]["total"], 0);
    app.control("resume", &job_id).await;
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn a_change_that_the_state_forbids_answers_409() {
    let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
    let open = app.submitted("probe", json!({ "stages": [1] })).await;
    for verb in ["retry", "resume"] {
        let answer = app.control(verb, &open).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{verb}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.ends_with("; it can be cancelled or paused"), "{verb}: {message}");
    }
    app.run_dry().await;
    for verb in ["cancel", "retry", "pause", "resume"] {
        let answer = app.control(verb, &open).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{verb}: {}", answer.body);
        assert!(
            answer.body["message"].as_str().unwrap().contains("completed"),
            "{verb}: {}",
            answer.body
        );
    }
    let unknown = "0".repeat(64);
    for verb in ["cancel", "retry", "pause", "resume"] {
        assert_eq!(app.control(verb, &unknown).await.status, StatusCode::NOT_FOUND, "{verb}");
        assert_eq!(app.control(verb, "not-an-id").await.status, StatusCode::BAD_REQUEST, "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_cancels_and_retries_stay_consistent() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let other = TestApp::on(&app.url, probe.clone().add_to(catalog()), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [200, 5] })).await;
    let messages = app.planned().await;
    let deliveries = async {
        for (turn, some) in messages.chunks(8).enumerate() {
            let via = if turn % 2 == 0 { &app } else { &other };
            let some = some.iter().map(|message| via.deliver("process_queue_task", &message.body));
            futures_util::future::join_all(some).await;
        }
    };
    let meddling = async {
        for turn in 0..6 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let verb = if turn % 2 == 0 { "cancel" } else { "retry" };
            let answers = tokio::join!(app.control(verb, &job_id), other.control(verb, &job_id));
            let succeeded = [answers.0.status, answers.1.status]
                .iter()
                .filter(|status| status.is_success())
                .count();
            assert!(succeeded <= 1, "{verb} happened twice");
        }
    };
    tokio::join!(deliveries, meddling);
    for _ in 0..40 {
        other.controller.reconcile().await.unwrap();
        app.controller.reconcile().await.unwrap();
        other.run_dry().await;
        let status = app.run_dry_and_status(&job_id).await;
        if status != "processing" && status != "queued" {
            break;
        }
        app.time_passes(Duration::from_secs(3600)).await;
    }
    let status = app.status(&job_id).await;
    assert!(["completed", "cancelled"].contains(&status["status"].as_str().unwrap()), "{status}");
    app.assert_consistent(&job_id).await;
    assert_eq!(app.audit(&job_id).await["consistent"], true);
}

#[tokio::test]
async fn a_stage_tolerates_failures_up_to_its_policy() {
    for (policy, status) in [
        (json!({ "tolerates": 2 }), "completed"),
        (json!({ "tolerates": 1 }), "failed"),
        (json!({ "tolerates_share": 0.2 }), "completed"),
        (json!({ "tolerates_share": 0.1 }), "failed"),
    ] {
        let app = TestApp::with_probe(Probe::default(), Timing::default()).await;
        let mut parameters = json!({ "stages": [10, 10], "fails": [3, 4] });
        for (name, value) in policy.as_object().unwrap() {
            parameters[name] = value.clone();
        }
        let job_id = app.submitted("probe", parameters).await;
        let end = app.run_until_finished(&job_id).await;
        assert_eq!(end["status"], status, "{policy}: {end}");
        if status == "completed" {
            assert_eq!(end["resultData"]["failed_tasks"], 4);
            assert_eq!(end["stageResults"]["1"]["errors"].as_array().unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_job_past_its_time_limit_fails_and_names_it() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3], "time_limit_ms": 600_000 })).await;
    app.planned().await;
    app.controller.reconcile().await.unwrap();
    assert_eq!(app.status(&job_id).await["status"], "processing");
    sqlx::query("UPDATE jobs SET deadline = deadline - interval '11 minutes'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!((report.jobs_timed_out, report.tasks_skipped), (1, 3));
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed");
    assert!(status["errorDetails"].as_str().unwrap().contains("time limit"), "{status}");
    app.assert_consistent(&job_id).await;
}
