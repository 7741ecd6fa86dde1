//! Schedules that workflow files declare.

use axum::body::Body;
use serde_json::json;

use super::{HOUR, NOON, ask, fire, runs};
use crate::harness::{TestApp, Workflows, catalog, new_database_url, quick};

fn file(schedules: &str) -> String {
    format!(
        "workflow: scenes\nparameters: {{day: {{type: str, required: true}}}}\n{schedules}nodes:\n  \
         a: {{type: task, handler: echo, params: {{day: \"{{{{ inputs.day }}}}\"}}}}\n"
    )
}

const HOURLY: &str = "schedules:\n  hourly: {cron: \"0 * * * *\", overlap: allow, parameters: {day: \"{{ due_at }}\"}}\n";

async fn started(workflows: &Workflows, url: &str) -> TestApp {
    let app = workflows.on(url, catalog(), quick()).await;
    app.controller.declare_schedules_at(NOON).await.unwrap();
    app
}

async fn names(app: &TestApp) -> Vec<String> {
    let list = ask(app, "GET", "").await;
    let name = |schedule: &serde_json::Value| schedule["name"].as_str().unwrap().to_owned();
    list["schedules"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn a_file_declares_schedules_that_fire() {
    let workflows = Workflows::of([("scenes.yaml", file(HOURLY).as_str())]);
    let url = new_database_url().await;
    let app = started(&workflows, &url).await;
    fire(&app, NOON + HOUR).await;
    assert_eq!(runs(&app, "scenes.hourly").await, ["submitted 13:00"]);
    // Another process starts: the next due time and the history stay.
    let other = started(&workflows, &url).await;
    fire(&other, NOON + HOUR).await;
    fire(&other, NOON + HOUR * 2).await;
    assert_eq!(runs(&app, "scenes.hourly").await, ["submitted 13:00", "submitted 14:00"]);
    let schedule = &ask(&app, "GET", "/scenes.hourly").await["schedule"];
    assert_eq!(
        (&schedule["declared_by"], &schedule["job_type"]),
        (&json!("scenes"), &json!("scenes"))
    );
}

#[tokio::test]
async fn a_declared_schedule_is_paused_and_run_but_not_replaced() {
    let workflows = Workflows::of([("scenes.yaml", file(HOURLY).as_str())]);
    let url = new_database_url().await;
    let app = started(&workflows, &url).await;
    let body = json!({
        "name": "scenes.hourly", "job_type": "scenes", "cron": "@daily", "parameters": { "day": "{{ due_at }}" },
    });
    for (method, path, body) in [
        ("POST", "/api/schedules", body.to_string()),
        ("DELETE", "/api/schedules/scenes.hourly", String::new()),
    ] {
        let refused = app.request(method, path, Body::from(body)).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        let said = refused.body["message"].as_str().unwrap();
        assert!(
            said.starts_with("schedule \"scenes.hourly\" is declared in the file of workflow \"scenes\": change it there"),
            "{said}"
        );
    }
    ask(&app, "POST", "/run/scenes.hourly").await;
    ask(&app, "POST", "/pause/scenes.hourly").await;
    let again = started(&workflows, &url).await;
    let schedule = &ask(&again, "GET", "/scenes.hourly").await["schedule"];
    assert!(schedule["paused_at"].is_string(), "a start does not resume it: {schedule}");
}

#[tokio::test]
async fn a_schedule_goes_with_its_declaration_only() {
    let workflows = Workflows::of([("scenes.yaml", file(HOURLY).as_str())]);
    let url = new_database_url().await;
    let app = started(&workflows, &url).await;
    let own = json!({ "name": "own", "job_type": "scenes", "cron": "@daily", "parameters": { "day": "{{ due_at }}" } });
    assert_eq!(app.request("POST", "/api/schedules", own.to_string()).await.status, 200);
    // A file that is wrong loses nothing.
    workflows.write("scenes.yaml", &file("unknown: {}\n"));
    assert_eq!(names(&started(&workflows, &url).await).await, ["own", "scenes.hourly"]);
    workflows.write("scenes.yaml", &file(&HOURLY.replace("hourly", "later")));
    assert_eq!(names(&started(&workflows, &url).await).await, ["own", "scenes.later"]);
    workflows.write("scenes.yaml", &file(""));
    assert_eq!(names(&started(&workflows, &url).await).await, ["own"]);
    // A request that has the name already is not overwritten.
    let taken = json!({ "name": "scenes.hourly", "job_type": "scenes", "cron": "@daily", "parameters": { "day": "{{ due_at }}" } });
    assert_eq!(app.request("POST", "/api/schedules", taken.to_string()).await.status, 200);
    workflows.write("scenes.yaml", &file(HOURLY));
    let app = started(&workflows, &url).await;
    let schedule = &ask(&app, "GET", "/scenes.hourly").await["schedule"];
    assert_eq!((&schedule["cron"], &schedule["declared_by"]), (&json!("@daily"), &json!(null)));
}

#[tokio::test]
async fn a_file_whose_schedule_is_wrong_is_refused_with_the_place() {
    let wrong = HOURLY.replace("0 * * * *", "0 0 30 2 *");
    let workflows = Workflows::of([("scenes.yaml", file(&wrong).as_str())]);
    let app = started(&workflows, &new_database_url().await).await;
    assert_eq!(names(&app).await, Vec::<String>::new());
    let refused = app.submit("scenes", json!({ "day": "today" })).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let said = refused.body["message"].as_str().unwrap();
    assert!(
        said.contains("scenes.yaml:4:18: schedule \"hourly\": cron \"0 0 30 2 *\" never fires"),
        "{said}"
    );
}
