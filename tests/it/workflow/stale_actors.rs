//! Stale actors: processes that were paused while the job continued without them, whose later
//! writes must not count. The model in tests/protocol_model found each case as a counterexample and
//! keeps it as a mutation.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use lastlight_engine::{
    model::{JobStatus, Stage, TaskId, TaskIndex, UserRequest},
    store::{
        Claim, ClaimRequest, Completion, Database, RunningTask, StageKey, TaskClaims,
        TaskCompletions, TaskOutcome,
    },
    transport::sender::QueueRole,
};
use serde_json::json;
use sqlx::Connection;

use crate::harness::{OfThisApp, Probe, TestApp, database_settings, quick, until};

/// The repository as another process would use it.
async fn database(app: &TestApp) -> Database {
    let database = Database::new(&database_settings(&app.url));
    database.migrate().await.unwrap();
    database
}

fn first_stage(job_id: &str) -> StageKey {
    StageKey { job_id: job_id.parse().unwrap(), stage: Stage::FIRST }
}

/// Runs a task to its failure in a process that dies before it checks whether the task was the last
/// one.
async fn fail_and_die(database: &Database, key: &StageKey, number: u64) {
    let index = TaskIndex::try_from(format!("t-{number}").as_str()).unwrap();
    let task_id = TaskId::derive(&key.job_id, key.stage, &index);
    let StageKey { job_id, stage } = *key;
    let request = ClaimRequest { job_id, stage, task_id: task_id.clone() };
    let claim = TaskClaims::start(database.clone(), 60.0).claim(request).await.unwrap();
    let Claim::Claimed(claimed) = claim else { panic!("{claim:?}") };
    let completion = Completion {
        task: RunningTask { job_id, stage, task_id, attempt: claimed.attempt },
        outcome: TaskOutcome::Failed("it failed".to_owned()),
        claim: None,
    };
    let completions = TaskCompletions::start(database.clone(), 60.0);
    let record = completions.complete(Arc::new(completion)).await.unwrap();
    assert!(record.written && record.stage_ended);
}

#[tokio::test]
async fn advance_computed_before_a_retry_is_rejected() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let database = database(&app).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    let key = first_stage(&job_id);
    let messages = app.planned().await;
    app.deliver("process_queue_task", &messages[0].body).await;
    let ended = database
        .jobs()
        .end_early(&key.job_id, JobStatus::Cancelled, "cancelled", &UserRequest::NOBODY)
        .await;
    assert!(ended.unwrap().is_some());
    database.tasks().skip_open(&key, "", 10).await.unwrap();
    // A process with an outcome to record reads the stage before it is closed, and is paused while
    // it folds the results.
    let read = database.stages().ended(&key).await.unwrap().unwrap();
    assert_eq!((read.completed, read.failed, read.skipped), (1, 0, 1));
    assert!(database.stages().close(&key).await.unwrap());
    let answer = app.control("retry", &job_id).await;
    assert_eq!((answer.status, &answer.body["tasks_reset"]), (StatusCode::OK, &json!(1)));
    app.queue.take(QueueRole::Tasks);
    fail_and_die(&database, &key, 1).await;
    let went_on = database
        .stages()
        .end_job(&key, &read, JobStatus::Completed, "{}", Some("{}"), None)
        .await
        .unwrap();
    assert!(!went_on, "the job completed by counters of before");
    app.controller.reconcile().await.unwrap();
    assert_eq!(app.status(&job_id).await["status"], "failed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_planner_without_its_lease_cannot_fail_a_job() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app
        .submitted("probe", json!({ "stages": [3], "plan_waits_at": 1, "plan_fails_after": 1 }))
        .await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let mut connection = app.connection().await;
    let meanwhile = async {
        // The planner is paused past its lease, and another one plans the stage.
        until("the stage is leased", async || {
            let changed = sqlx::query(
                "UPDATE stages SET lease_owner = gen_random_uuid() WHERE lease_owner IS NOT NULL",
            )
            .execute(&mut connection)
            .await
            .unwrap();
            (changed.rows_affected() == 1).then_some(())
        })
        .await;
        probe.open_gate();
    };
    let (answer, ()) = tokio::join!(app.deliver("process_queue_job", &job.body), meanwhile);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.status(&job_id).await["status"], "processing");
}

#[tokio::test]
async fn an_interrupted_retry_is_skipped_again() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let database = database(&app).await;
    let job_id = app.submitted("probe", json!({ "stages": [250] })).await;
    let key = first_stage(&job_id);
    for message in &app.planned().await[..10] {
        app.deliver("process_queue_task", &message.body).await;
    }
    app.control("cancel", &job_id).await;
    // The retry reopened the first batch and died.
    let reopened = database.tasks().reopen(&key, -1, 1).await.unwrap();
    assert!(reopened.tasks >= 90, "{reopened:?}");
    assert_eq!(
        database.jobs().reopen(&key, "{}", 60.0, &UserRequest::NOBODY).await.unwrap(),
        None,
        "a job whose tasks are not all ready must not go on"
    );
    let early = app.controller.reconcile().await.unwrap();
    assert_eq!(early.retries_cut_off, 0, "the retry may still be running");
    app.time_passes(quick().lost_after * 2).await;
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!((report.retries_cut_off, report.tasks_skipped), (1, reopened.tasks));
    let audit = app.audit(&job_id).await;
    assert_eq!((&audit["consistent"], &audit["stages"][0]["open"]), (&json!(true), &json!(0)));
    // A user may still retry the job.
    let answer = app.control("retry", &job_id).await;
    assert_eq!((answer.status, &answer.body["tasks_reset"]), (StatusCode::OK, &json!(240)));
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn heartbeats_lock_in_the_order_of_completions() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let database = database(&app).await;
    let job_id = app.submitted("probe", json!({ "stages": [2] })).await;
    let key = first_stage(&job_id);
    app.planned().await;
    let mut other = app.connection().await;
    sqlx::query("UPDATE tasks SET status = 'processing', attempt = 1")
        .execute(&mut other)
        .await
        .unwrap();
    let ids: Vec<String> = sqlx::query_scalar("SELECT task_id FROM tasks ORDER BY task_id")
        .fetch_all(&mut other)
        .await
        .unwrap();
    let attempts: Vec<RunningTask> = ids
        .iter()
        .rev()
        .map(|task_id| RunningTask {
            job_id: key.job_id,
            stage: key.stage,
            task_id: TaskId::try_from(task_id.as_str()).unwrap(),
            attempt: 1,
        })
        .collect();
    // Another session locks the first task by key, which is the last one here.
    let mut holder = app.connection().await;
    let lock = "SELECT task_id FROM tasks WHERE task_id = $1 FOR UPDATE NOWAIT";
    let mut held = holder.begin().await.unwrap();
    sqlx::query(lock).bind(&ids[0]).execute(&mut *held).await.unwrap();
    let beat = tokio::spawn(async move { database.tasks().extend_leases(&attempts, 60.0).await });
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        if waiting > 0 {
            break;
        }
        assert!(!beat.is_finished(), "the heartbeat did not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The heartbeat waits without holding a lock: a session that locks the first and then the
    // second task is not blocked.
    sqlx::query(lock).bind(&ids[1]).execute(&mut *held).await.unwrap();
    held.commit().await.unwrap();
    assert_eq!(beat.await.unwrap().unwrap(), [true, true]);
}
