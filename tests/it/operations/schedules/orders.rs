//! What users order: to make, replace, show, pause, resume, run and delete a schedule.

use axum::body::Body;
use lastlight_api::schedules::Overlap;
use serde_json::{Value, json};

use super::{HOUR, MINUTE, NOON, app, ask, fire, hourly, runs, set, submitted};

#[tokio::test]
async fn a_schedule_is_made_shown_and_deleted_over_http() {
    let app = app().await;
    let body = json!({
        "name": "nightly", "job_type": "probe", "cron": "30  2 * * *", "time_zone": "europe/berlin",
        "parameters": { "resource_id": "{{ due_date }}" },
    });
    let made = app.request("POST", "/api/schedules", body.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!((&made.body["is_new"], &made.body["warnings"]), (&json!(true), &json!([])));
    let schedule = &made.body["schedule"];
    assert_eq!(
        (&schedule["cron"], &schedule["time_zone"]),
        (&json!("30 2 * * *"), &json!("Europe/Berlin"))
    );
    assert_eq!((&schedule["overlap"], &schedule["catch_up"]), (&json!("skip"), &json!("last")));
    assert_eq!(made.body["next_due_times"].as_array().unwrap().len(), 5);
    assert!(
        made.body["message"].as_str().unwrap().contains("its next due time is 20"),
        "{}",
        made.body
    );
    let again = app.request("POST", "/api/schedules", body.to_string()).await;
    assert_eq!(
        (&again.body["is_new"], &again.body["schedule"]["next_due_at"]),
        (&json!(false), &schedule["next_due_at"])
    );

    let list = ask(&app, "GET", "").await;
    assert_eq!(list["schedules"][0]["name"], "nightly");
    assert_eq!(list["schedules"][0]["last_run"], Value::Null);
    let details = ask(&app, "GET", "/nightly").await;
    assert_eq!(details["next_due_times"], made.body["next_due_times"]);
    assert_eq!(details["schedule"]["parameters"]["resource_id"], "{{ due_date }}");

    ask(&app, "DELETE", "/nightly").await;
    for (method, path) in [
        ("GET", "nightly"),
        ("DELETE", "nightly"),
        ("POST", "pause/nightly"),
        ("POST", "resume/nightly"),
        ("POST", "run/nightly"),
    ] {
        let gone = app.request(method, &format!("/api/schedules/{path}"), Body::empty()).await;
        assert_eq!(gone.status, 404, "{method} {path}: {}", gone.body);
        assert_eq!(gone.body["message"], "there is no schedule \"nightly\"");
    }
}

#[tokio::test]
async fn a_paused_schedule_submits_nothing_and_makes_up_for_nothing() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    let paused = ask(&app, "POST", "/pause/s").await;
    assert!(paused["paused_at"].is_string() && paused["next_due_at"].is_null(), "{paused}");
    fire(&app, NOON + HOUR * 3).await;
    assert_eq!(submitted(&app).await, Vec::<String>::new());
    assert_eq!(ask(&app, "GET", "/s").await["schedule"]["next_due_at"], Value::Null);
    // Replacing it does not resume it.
    set(&app, &hourly("s")).await;
    fire(&app, NOON + HOUR * 3).await;
    assert_eq!(submitted(&app).await, Vec::<String>::new());
    let resumed = app.controller.resume_schedule_at("s", NOON + HOUR * 3 + MINUTE).await.unwrap();
    assert_eq!(resumed.next_due_at.map(|next| next.0), Some(NOON + HOUR * 4));
    // Once more changes nothing.
    let resumed = app.controller.resume_schedule_at("s", NOON + HOUR * 9).await.unwrap();
    assert_eq!(resumed.next_due_at.map(|next| next.0), Some(NOON + HOUR * 4));
    fire(&app, NOON + HOUR * 4).await;
    assert_eq!(runs(&app, "s").await, ["submitted 16:00"]);
}

#[tokio::test]
async fn a_user_runs_a_schedule_now_even_while_it_is_paused() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    ask(&app, "POST", "/pause/s").await;
    let ran = ask(&app, "POST", "/run/s").await;
    assert_eq!(
        (&ran["run"]["decision"], &ran["run"]["is_manual"]),
        (&json!("submitted"), &json!(true))
    );
    let job_id = ran["run"]["job_id"].as_str().unwrap();
    assert_eq!(app.run_until_finished(job_id).await["status"], "completed");
    let details = ask(&app, "GET", "/s").await;
    let run = &details["runs"][0];
    assert_eq!((&run["job_status"], &run["job_id"]), (&json!("completed"), &json!(job_id)));
    assert!(details["schedule"]["paused_at"].is_string());
}

#[tokio::test]
async fn a_run_that_was_ordered_changes_no_due_time() {
    let app = app().await;
    let mut request = hourly("s");
    request.overlap = Some(Overlap::Skip);
    set(&app, &request).await;
    ask(&app, "POST", "/run/s").await;
    // It counts as a run that goes on.
    fire(&app, NOON + HOUR).await;
    let mut runs = runs(&app, "s").await;
    runs.retain(|run| !run.starts_with("ordered submitted"));
    assert_eq!(runs, ["skipped 13:00"]);
}

#[tokio::test]
async fn replacing_a_schedule_keeps_what_is_due_and_its_history() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    fire(&app, NOON + HOUR).await;
    // Due already, and not fired yet: other parameters do not lose it.
    let mut request = hourly("s");
    request.parameters.insert("dataset_id".to_owned(), "other".into());
    app.controller.set_schedule_at(&request, NOON + HOUR * 2 + MINUTE).await.unwrap();
    fire(&app, NOON + HOUR * 2 + MINUTE).await;
    assert_eq!(runs(&app, "s").await, ["submitted 13:00", "submitted 14:00"]);
    // Other due times count from now on.
    request.cron = "30 * * * *".to_owned();
    app.controller.set_schedule_at(&request, NOON + HOUR * 5).await.unwrap();
    fire(&app, NOON + HOUR * 5 + MINUTE * 30).await;
    assert_eq!(runs(&app, "s").await, ["submitted 13:00", "submitted 14:00", "submitted 17:30"]);
}

#[tokio::test]
async fn a_job_that_is_refused_is_in_the_history_with_the_reason() {
    let app = app().await;
    set(&app, &hourly("s")).await;
    sqlx::query("UPDATE schedules SET parameters = '{\"stages\": 5}'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    fire(&app, NOON + HOUR).await;
    assert_eq!(runs(&app, "s").await, ["failed 13:00"]);
    let reason = ask(&app, "GET", "/s").await["runs"][0]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("stages"), "{reason}");
    // A process that does not know the job type may be an older one: others have two minutes.
    sqlx::query("UPDATE schedules SET job_type = 'newer'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    fire(&app, NOON + HOUR * 2).await;
    assert_eq!(runs(&app, "s").await.len(), 1);
    fire(&app, NOON + HOUR * 2 + MINUTE * 2).await;
    assert_eq!(runs(&app, "s").await, ["failed 13:00", "failed 14:00"]);
}

#[tokio::test]
async fn what_is_probably_not_meant_is_a_warning() {
    let app = app().await;
    let body = json!({ "name": "s", "job_type": "probe", "cron": "@daily" });
    let made = app.request("POST", "/api/schedules", body.to_string()).await;
    let warning = made.body["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("no parameter depends on the due time"), "{warning}");
}

#[tokio::test]
async fn a_schedule_that_cannot_be_fired_keeps_no_other_from_it() {
    let app = app().await;
    set(&app, &hourly("broken")).await;
    set(&app, &hourly("sound")).await;
    sqlx::query("UPDATE schedules SET time_zone = 'Nowhere' WHERE name = 'broken'")
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    fire(&app, NOON + HOUR).await;
    assert_eq!(runs(&app, "sound").await, ["submitted 13:00"]);
    assert_eq!(runs(&app, "broken").await, Vec::<String>::new());
    let list = ask(&app, "GET", "").await;
    assert_eq!(list["schedules"].as_array().unwrap().len(), 2, "it is shown: {list}");
}
