//! One submission a due time, whichever processes live and wherever they end.

use std::time::Duration as Wait;

use futures_util::future::join_all;
use lastlight_engine::{model::ProcessingPath, transport::sender::QueueRole};

use super::{HOUR, MINUTE, NOON, app, finish, fire, hourly, runs, set, submitted};
use crate::harness::{Probe, TestApp, catalog, quick, until_idle};

async fn others(app: &TestApp, count: usize) -> Vec<TestApp> {
    let other = || TestApp::on(&app.url, Probe::default().add_to(catalog()), quick());
    join_all((0..count).map(|_| other())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_processes_submit_a_due_time_once() {
    let first = app().await;
    for number in 0..5 {
        set(&first, &hourly(&format!("s{number}"))).await;
    }
    // Different jobs of schedules with one due time.
    sqlx::query("UPDATE schedules SET parameters = json_build_object('stages', json_build_array(1), 'resource_id', '{{ schedule }} {{ due_at }}')")
        .execute(&mut first.connection().await)
        .await
        .unwrap();
    let mut apps = others(&first, 5).await;
    apps.push(first);
    for hour in 1..=4 {
        let now = NOON + HOUR * hour + MINUTE;
        join_all(apps.iter().map(|app| fire(app, now))).await;
    }
    let first = apps.pop().unwrap();
    assert_eq!(submitted(&first).await.len(), 20);
    for number in 0..5 {
        let runs = runs(&first, &format!("s{number}")).await;
        assert_eq!(
            runs,
            ["submitted 13:00", "submitted 14:00", "submitted 15:00", "submitted 16:00"]
        );
    }
    apps.push(first);
    let messages: usize = apps.iter().map(|app| app.queue.count(QueueRole::Jobs)).sum();
    assert_eq!(messages, 20, "one message for each job");
}

/// A firing that is dropped at any of its steps leaves all of a due time or nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_ends_midway_neither_loses_nor_doubles() {
    let first = app().await;
    set(&first, &hourly("s")).await;
    let second = others(&first, 1).await.remove(0);
    let mut now = NOON;
    for step in 0..40u64 {
        now += HOUR;
        let controller = first.controller.clone();
        let firing = tokio::spawn(async move { controller.fire_schedules_at(now).await });
        tokio::time::sleep(Wait::from_micros(step * 300)).await;
        firing.abort();
        let _ = firing.await;
    }
    until_idle(&mut first.connection().await).await;
    // What was not decided is late by now, and is made up for or missed, once.
    fire(&second, now).await;
    let decided: i64 = sqlx::query_scalar("SELECT sum(due_times)::bigint FROM schedule_runs")
        .fetch_one(&mut first.connection().await)
        .await
        .unwrap();
    assert_eq!(decided, 40);
    let (of_runs, jobs): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM schedule_runs WHERE decision = 'submitted'), (SELECT count(*) FROM jobs)",
    )
    .fetch_one(&mut first.connection().await)
    .await
    .unwrap();
    assert_eq!(of_runs, jobs, "a job for each run that says so");
    finish(&second).await;
}

#[tokio::test]
async fn a_job_whose_message_was_not_sent_is_sent_by_the_sweep() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    app.queue.set_down(true);
    fire(&app, NOON + HOUR).await;
    assert_eq!(runs(&app, "s").await, ["submitted 13:00"]);
    assert_eq!(app.queue.count(QueueRole::Jobs), 0);
    app.queue.set_down(false);
    finish(&app).await;
}

#[tokio::test]
async fn a_graph_is_submitted_as_any_job() {
    let text = "workflow: w\nparameters: {at: {type: str, required: true}}\nnodes:\n  a: {type: task, handler: echo, params: {at: \"{{ inputs.at }}\"}}\n";
    let workflows = crate::harness::Workflows::of([("w.yaml", text)]);
    let url = crate::harness::new_database_url().await;
    let app = workflows.on(&url, catalog(), quick()).await;
    let mut request = hourly("s");
    request.job_type = "w".to_owned();
    let parameters = serde_json::json!({ "at": "{{ due_at }}" });
    request.parameters = parameters.as_object().unwrap().clone();
    set(&app, &request).await;
    fire(&app, NOON + HOUR).await;
    let path: String =
        sqlx::query_scalar("SELECT processing_path FROM jobs WHERE definition_id IS NOT NULL")
            .fetch_one(&mut app.connection().await)
            .await
            .unwrap();
    assert_eq!(path, ProcessingPath::QueueStorage.as_str());
    finish(&app).await;
}

#[tokio::test]
async fn the_same_job_of_another_due_time_is_noted() {
    let app = app().await;
    let mut request = hourly("s");
    request.parameters.insert("resource_id".to_owned(), "{{ due_date }}".into());
    set(&app, &request).await;
    fire(&app, NOON + HOUR).await;
    fire(&app, NOON + HOUR * 2).await;
    assert_eq!(runs(&app, "s").await, ["submitted 13:00", "exists 14:00"]);
    assert_eq!(submitted(&app).await, ["2026-12-01"]);
}

#[tokio::test]
async fn a_process_waits_for_the_next_due_time_by_itself() {
    let app = app().await;
    let mut request = hourly("s");
    request.cron = "* * * * *".to_owned();
    app.controller.set_schedule(&request).await.unwrap();
    // The next minute is two seconds away.
    sqlx::query("UPDATE schedules SET next_fire_at = now() + interval '2 seconds', next_due_at = date_trunc('minute', now())")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.controller.fire_schedules_in_background();
    crate::harness::until("the schedule fires", async || {
        let runs = runs(&app, "s").await;
        runs.first().filter(|run| run.starts_with("submitted")).map(|_| ())
    })
    .await;
}
