//! Jobs are submitted at their due times: exactly one submission each, whatever processes live, end or come late, also
//! when clocks change; and what is wrong with a schedule is said when it is made.

mod bad_input;
mod declared;
mod due_times;
mod once;
mod orders;

use axum::body::Body;
use lastlight_api::schedules::{CatchUp, Overlap, ScheduleRequest};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::harness::{OfThisApp, Probe, TestApp, quick};

/// The time at which the tests make their schedules: a Tuesday.
const NOON: OffsetDateTime = datetime!(2026-12-01 12:00 UTC);

const MINUTE: Duration = Duration::MINUTE;
const HOUR: Duration = Duration::HOUR;

/// A schedule of each hour whose jobs have one task and their due time as a parameter.
fn hourly(name: &str) -> ScheduleRequest {
    let Value::Object(parameters) = json!({ "stages": [1], "resource_id": "{{ due_at }}" }) else {
        unreachable!()
    };
    ScheduleRequest {
        name: name.to_owned(),
        job_type: "probe".to_owned(),
        parameters,
        cron: "0 * * * *".to_owned(),
        time_zone: None,
        jitter_seconds: None,
        overlap: Some(Overlap::Allow),
        catch_up: Some(CatchUp::Last),
        catch_up_limit: None,
    }
}

async fn app() -> TestApp {
    TestApp::with_probe(Probe::default(), quick()).await
}

async fn set(app: &TestApp, request: &ScheduleRequest) {
    app.controller.set_schedule_at(request, NOON).await.unwrap();
}

async fn fire(app: &TestApp, now: OffsetDateTime) {
    app.controller.fire_schedules_at(now).await.unwrap();
}

async fn ask(app: &TestApp, method: &str, path: &str) -> Value {
    let answer = app.request(method, &format!("/api/schedules{path}"), Body::empty()).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
    answer.body
}

/// What became of the due times of a schedule, the oldest first: `submitted 13:00`, `missed 15:00 x2`.
async fn runs(app: &TestApp, name: &str) -> Vec<String> {
    let details = ask(app, "GET", &format!("/{name}")).await;
    let mut runs: Vec<String> = details["runs"].as_array().unwrap().iter().map(words).collect();
    runs.reverse();
    runs
}

fn words(run: &Value) -> String {
    let (decision, due) = (run["decision"].as_str().unwrap(), run["due_at"].as_str().unwrap());
    let manual = if run["is_manual"] == true { "ordered " } else { "" };
    match run["due_times"].as_u64().unwrap() {
        1 => format!("{manual}{decision} {}", &due[11..16]),
        times => format!("{manual}{decision} {} x{times}", &due[11..16]),
    }
}

/// The `resource_id` of all jobs, in order.
async fn submitted(app: &TestApp) -> Vec<String> {
    sqlx::query_scalar("SELECT parameters ->> 'resource_id' FROM jobs ORDER BY 1")
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap()
}

/// Runs all jobs to their end.
async fn finish(app: &TestApp) {
    let jobs: Vec<String> = sqlx::query_scalar("SELECT job_id FROM jobs WHERE finished_at IS NULL")
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap();
    for job_id in jobs {
        let status = app.sweep_until_finished(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        app.assert_consistent(&job_id).await;
    }
}
