//! Invariants 4 and 7: after any crash or loss a job continues from the state in PostgreSQL.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use serde_json::json;

use crate::harness::{OfThisApp, Probe, TestApp, catalog, quick, until, until_idle};

async fn reconcile(app: &TestApp) {
    let answer = app.deliver("reconcile", "{}").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_new_planner_continues_for_a_dead_one() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2500], "plan_waits_at": 2200 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    // Dropped midway, as by a kill: some chunks are written, and some of their batches are sent.
    tokio::select! {
        answer = app.deliver("process_queue_job", &job.body) => panic!("the plan is through: {answer:?}"),
        () = until("batches are sent", async || (app.queue.count(QueueRole::Tasks) > 0).then_some(())) => {}
    }
    let sent_before = app.queue.take(QueueRole::Tasks).len();
    let progress = app.status(&job_id).await["progress"][0].clone();
    assert_eq!(progress["planned"], false, "{progress}");
    probe.open_gate();
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["resultData"]["completed_tasks"], 2500);
    assert!(sent_before < 2500);
    assert!(probe.runs().values().all(|runs| *runs == 1));
    app.assert_consistent(&job_id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_requests_leave_no_open_transaction() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut jobs = Vec::new();
    for number in 0..12 {
        jobs.push(app.submitted("probe", json!({ "stages": [3000], "number": number })).await);
    }
    let messages = app.queue.take(QueueRole::Jobs);
    let mut watcher = app.connection().await;
    for round in 0..200 {
        let message = &messages[round % messages.len()];
        let moment = Duration::from_micros(fastrand::u64(500..12_000));
        let gone =
            tokio::time::timeout(moment, app.deliver("process_queue_job", &message.body)).await;
        if gone.is_ok() {
            continue;
        }
        // The running statement is rolled back before its connection is used again, and nobody else
        // is there to use it.
        until_idle(&mut watcher).await;
    }
    for job_id in &jobs {
        assert_eq!(app.sweep_until_finished(job_id).await["status"], "completed");
    }
}

#[tokio::test]
async fn unsent_batches_are_sent_by_a_later_sweep() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1500] })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.queue.goes_down_after(4);
    assert_eq!(app.deliver("process_queue_job", &job.body).await.status, StatusCode::OK);
    let progress = &app.status(&job_id).await["progress"][0];
    assert_eq!(progress["planned"], true);
    assert_eq!(progress["pendingQueue"], 1100, "four batches of a hundred were sent");
    app.queue.set_down(false);
    let mut connection = app.connection().await;
    sqlx::query("UPDATE task_batches SET next_send_at = now()")
        .execute(&mut connection)
        .await
        .unwrap();
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 1500);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn an_emptied_queue_only_delays_a_job() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [250, 10] })).await;
    app.queue.take(QueueRole::Jobs);
    app.time_passes(AN_HOUR).await;
    reconcile(&app).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &job.body).await;
    let tasks = app.queue.take(QueueRole::Tasks);
    for task in tasks.iter().take(30) {
        app.deliver("process_queue_task", &task.body).await;
    }
    let first_ids: Vec<_> = tasks.iter().map(|task| task.message_id.clone()).collect();
    app.time_passes(AN_HOUR).await;
    reconcile(&app).await;
    let again = app.queue.take(QueueRole::Tasks);
    assert_eq!(again.len(), 220, "only what is open is sent again");
    assert!(
        again.iter().all(|message| !first_ids.contains(&message.message_id)),
        "duplicate detection would drop it"
    );
    for task in again {
        app.deliver("process_queue_task", &task.body).await;
    }
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 260);
    assert!(probe.runs().values().all(|runs| *runs == 1));
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn the_wait_for_a_lost_batch_has_an_upper_limit() {
    let timing = Timing { lost_after: Duration::from_secs(10), ..quick() };
    let app = TestApp::with(catalog(), timing).await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    assert_eq!(app.planned().await.len(), 3);
    let mut connection = app.connection().await;
    for (seconds_ago, resent) in [(159, 0), (161, 3)] {
        // Sent eleven times so far, always in vain, the last time `seconds_ago` seconds ago.
        sqlx::query(
            "WITH silent AS (UPDATE stages SET updated_at = now() - interval '1 hour' WHERE job_id = $1)
             UPDATE task_batches SET sends = 11, sent_at = now() - make_interval(secs => $2) WHERE job_id = $1",
        )
        .bind(&job_id)
        .bind(f64::from(seconds_ago))
        .execute(&mut connection)
        .await
        .unwrap();
        reconcile(&app).await;
        assert_eq!(
            app.queue.take(QueueRole::Tasks).len(),
            resent,
            "{seconds_ago} s after the last send"
        );
    }
}

#[tokio::test]
async fn a_task_of_a_dead_process_runs_after_its_lease() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [2], "waits": true })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &job.body).await;
    let tasks = app.queue.take(QueueRole::Tasks);
    // Dropped while the task runs, as by a kill.
    tokio::select! {
        answer = app.deliver("process_queue_task", &tasks[0].body) => panic!("it does not run any more: {answer:?}"),
        () = probe.until_runs(1) => {}
    }
    assert_eq!(app.deliver("process_queue_task", &tasks[0].body).await.status, StatusCode::OK);
    assert_eq!(
        probe.runs().values().sum::<u32>(),
        1,
        "a delivery within the lease must not run it again"
    );
    probe.open_gate();
    app.deliver("process_queue_task", &tasks[1].body).await;
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(probe.runs()["1/0"], 2);
    app.assert_consistent(&job_id).await;
}

/// The lease is extended three times while the task runs. A machine that is ten seconds late loses
/// it.
const A_LEASE_TO_WAIT_FOR: Timing = Timing { lease: Duration::from_secs(15), ..Timing::DEFAULT };

/// Runs `meddle` until a lease ends later than at first.
async fn until_extended(
    connection: &mut sqlx::PgConnection,
    lease: &'static str,
    mut meddle: impl AsyncFnMut(),
) {
    let mut first: Option<String> = None;
    until("the lease is extended", async || {
        meddle().await;
        let now: Option<String> =
            sqlx::query_scalar(lease).fetch_one(&mut *connection).await.unwrap();
        let is_extended = first.is_some() && now > first;
        first = first.take().or(now);
        is_extended.then_some(())
    })
    .await;
}

#[tokio::test]
async fn heartbeats_extend_the_lease_of_a_long_task() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), A_LEASE_TO_WAIT_FOR).await;
    let job_id = app.submitted("probe", json!({ "stages": [1], "waits": true })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &job.body).await;
    let task = app.queue.take(QueueRole::Tasks).remove(0);
    let mut connection = app.connection().await;
    let meddle = async {
        probe.until_runs(1).await;
        until_extended(&mut connection, "SELECT lease_until::text FROM tasks", async || {
            reconcile(&app).await;
            for again in app.queue.take(QueueRole::Tasks) {
                app.deliver("process_queue_task", &again.body).await;
            }
        })
        .await;
        probe.open_gate();
    };
    let (answer, ()) = tokio::join!(app.deliver("process_queue_task", &task.body), meddle);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert_eq!(probe.runs()["1/0"], 1);
}

#[tokio::test]
async fn a_finished_stage_is_advanced_after_a_crash() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [1, 1] })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    app.deliver("process_queue_job", &job.body).await;
    let task = app.queue.take(QueueRole::Tasks).remove(0);
    let mut connection = app.connection().await;
    // As if the process had died after recording the last outcome and before advancing the stage.
    for statement in [
        r#"UPDATE tasks SET status = 'completed', result_data = '{"filler": "", "ran": "1/0"}', finished_at = now()"#,
        "UPDATE stages SET completed = 1",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    // Either the message is redelivered, …
    app.deliver("process_queue_task", &task.body).await;
    assert_eq!(app.queue.count(QueueRole::Jobs), 1);
    // … or the sweep finds the stage.
    app.run_dry().await;
    assert_eq!(app.sweep_until_finished(&job_id).await["status"], "completed");
}

#[tokio::test]
async fn concurrent_sweeps_send_each_message_once() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), quick()).await;
    let other = TestApp::on(&app.url, probe.add_to(catalog()), quick()).await;
    app.queue.set_down(true);
    for number in 0..20 {
        app.submitted("probe", json!({ "stages": [1], "number": number })).await;
    }
    app.queue.set_down(false);
    // After the grace period, but before the messages are presumed lost.
    app.time_passes(quick().send_grace).await;
    futures_util::future::join_all(
        (0..6).map(|turn| reconcile(if turn % 2 == 0 { &app } else { &other })),
    )
    .await;
    let mailboxes = [&app.queue, &other.queue];
    let mut sent: Vec<_> = mailboxes
        .iter()
        .flat_map(|mailbox| mailbox.take(QueueRole::Jobs))
        .map(|message| message.message_id)
        .collect();
    sent.sort();
    assert_eq!(sent.len(), 20, "{sent:#?}");
}

#[tokio::test]
async fn a_sweep_of_an_idle_system_finds_nothing() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let job_id = app.submitted("probe", json!({ "stages": [3] })).await;
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    app.time_passes(AN_HOUR).await;
    assert_eq!(
        app.controller.reconcile().await.unwrap(),
        lastlight_engine::workflow::ReconcileReport::default()
    );
}

#[tokio::test]
async fn a_path_that_is_down_does_not_block_the_other() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    let mut unsent = Vec::new();
    for use_service_bus in [true, false] {
        let parameters = json!({ "stages": [900], "use_service_bus": use_service_bus });
        unsent.push(app.submitted("probe", parameters).await);
    }
    app.bus.goes_down_after(0);
    app.queue.goes_down_after(0);
    for (mailbox, function) in [(&app.bus, "process_sb_job"), (&app.queue, "process_queue_job")] {
        let message = mailbox.take(QueueRole::Jobs).remove(0);
        app.deliver(function, &message.body).await;
    }
    app.queue.set_down(false);
    // During its lease the planner sends them.
    app.time_passes(quick().lease).await;
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!((report.batches_sent, report.sends_failed), (9, 9), "{report:?}");
    app.run_dry().await;
    assert_eq!(app.status(&unsent[1]).await["status"], "completed");
    app.bus.set_down(false);
    assert_eq!(app.sweep_until_finished(&unsent[0]).await["status"], "completed");
}

#[tokio::test]
async fn a_sweep_never_scans_a_whole_table() {
    let app = TestApp::with_probe(Probe::default(), quick()).await;
    for number in 0..5 {
        app.submitted("probe", json!({ "stages": [200], "number": number })).await;
    }
    app.run_dry().await;
    // Finished work is measured once, by the next sweep.
    app.controller.reconcile().await.unwrap();
    let mut connection = app.connection().await;
    let mut read = async || -> (i64, i64) {
        // A session reports its statistics when it ends.
        app.end_connections().await;
        until("the sessions have ended", async || {
            let left: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lastlight'",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            (left == 0).then_some(())
        })
        .await;
        sqlx::query_as(
            "SELECT sum(seq_tup_read)::bigint, sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables
             WHERE schemaname = 'app' AND relname IN ('jobs', 'stages', 'tasks', 'task_batches', 'outbox')",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap()
    };
    let before = read().await;
    for _ in 0..10 {
        // The first sweep may use the connections that were ended.
        while app.controller.reconcile().await.is_err() {}
    }
    let after = read().await;
    assert_eq!(after.0, before.0, "rows read by scans");
    // To find jobs that were deleted by hand, the sweep reads the first task of each of the five
    // jobs and the job itself; this walk starts anywhere and wraps around, so it may read them
    // twice. It reads none of their other 995 tasks.
    assert!(after.1 - before.1 <= 10 * (1 + 2 * 2 * 5), "{} rows fetched", after.1 - before.1);
}

#[tokio::test]
async fn a_slow_plan_keeps_its_lease() {
    let probe = Probe::default();
    let app = TestApp::with_probe(probe.clone(), A_LEASE_TO_WAIT_FOR).await;
    let job_id = app.submitted("probe", json!({ "stages": [8], "plan_waits_at": 4 })).await;
    let job = app.queue.take(QueueRole::Jobs).remove(0);
    let mut connection = app.connection().await;
    let meddle = async {
        until_extended(&mut connection, "SELECT lease_until::text FROM stages", async || {
            reconcile(&app).await;
            assert_eq!(app.queue.count(QueueRole::Jobs), 0, "a second planner was started");
        })
        .await;
        probe.open_gate();
    };
    tokio::join!(app.deliver("process_queue_job", &job.body), meddle);
    let progress = &app.status(&job_id).await["progress"][0];
    assert_eq!((&progress["planned"], &progress["total"]), (&json!(true), &json!(8)));
}

/// Two jobs, sent one after the other and silent for longer than the time after which messages are
/// presumed lost. Then a task of the first job starts, which moves the queue's watermark there.
async fn one_behind_the_other(seconds_since: f64) -> (TestApp, sqlx::PgConnection) {
    let timing = Timing { lost_after: Duration::from_secs(10), ..quick() };
    let app = TestApp::with_probe(Probe::default(), timing).await;
    app.controller.report_in_background();
    let mut connection = app.connection().await;
    let mut messages = Vec::new();
    for number in 0..2 {
        app.submitted("probe", json!({ "stages": [2], "number": number })).await;
        messages.extend(app.planned().await.into_iter().map(|message| message.body));
    }
    // The first job's messages were sent a second before the other's.
    sqlx::query(
        "WITH silent AS (UPDATE stages SET updated_at = now() - interval '1 hour')
         UPDATE task_batches b SET sent_at = now() - make_interval(secs => CASE WHEN j.number = '0' THEN $1 + 1 ELSE $1 END)
         FROM (SELECT job_id, parameters ->> 'number' AS number FROM jobs) j WHERE j.job_id = b.job_id",
    )
    .bind(seconds_since)
    .execute(&mut connection)
    .await
    .unwrap();
    app.deliver("process_queue_task", &messages[0]).await;
    for _ in 0..100 {
        let is_said: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM instances WHERE queue_storage_reached_at IS NOT NULL)",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if is_said {
            return (app, connection);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no instance reported the watermark of the queue");
}

/// The number of messages that a sweep sends, and its count of lost batches.
async fn swept(app: &TestApp) -> (usize, u64) {
    let report = app.controller.reconcile().await.unwrap();
    (app.queue.take(QueueRole::Tasks).len(), report.batches_lost)
}

#[tokio::test]
async fn waiting_messages_are_not_presumed_lost() {
    let (app, mut connection) = one_behind_the_other(20.0).await;
    assert_eq!(swept(&app).await, (0, 0), "the second job's wait behind them");

    // The watermark moves past the second job's messages: those are lost.
    sqlx::query("UPDATE instances SET queue_storage_reached = now() - interval '19 seconds'")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(swept(&app).await.1, 1);
}

#[tokio::test]
async fn missing_messages_of_an_idle_queue_are_lost() {
    let (app, mut connection) = one_behind_the_other(20.0).await;
    sqlx::query("UPDATE instances SET queue_storage_reached_at = now() - interval '11 seconds'")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(swept(&app).await, (2, 1));
}

#[tokio::test]
async fn a_long_queue_delays_resending_up_to_a_limit() {
    let (app, _) = one_behind_the_other(161.0).await;
    assert_eq!(swept(&app).await.1, 1, "sixteen times the time after which messages are lost");
}

#[tokio::test]
async fn the_watermark_of_one_path_ignores_the_other() {
    let (app, mut connection) = one_behind_the_other(20.0).await;
    sqlx::query(
        "UPDATE jobs SET processing_path = 'service_bus' WHERE parameters ->> 'number' = '1'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    assert_eq!(swept(&app).await.1, 1);
}
