//! What is wrong with a schedule is said when it is made: the field, its value, and what is allowed.

use axum::body::Body;
use serde_json::{Value, json};

use super::app;

#[tokio::test]
async fn a_schedule_that_cannot_work_is_refused_with_the_reason() {
    let app = app().await;
    let whole = json!({
        "name": "s", "job_type": "probe", "cron": "@daily", "parameters": { "resource_id": "{{ due_at }}" },
    });
    let with = |field: &str, value: Value| {
        let mut body = whole.clone();
        body[field] = value;
        body
    };
    for (body, said) in [
        (
            with("cron", json!("0 0 30 2 *")),
            "cron \"0 0 30 2 *\" never fires: it has no due time within five years",
        ),
        (
            with("cron", json!("* * * * * *")),
            "cron must have five fields (minute, hour, day of month, month, day of week), not the 6 of \"* * * * * *\": the \
             shortest interval is a minute",
        ),
        (
            with("cron", json!("every day")),
            "cron must be five fields (minute, hour, day of month, month, day of week), such as",
        ),
        (with("cron", json!("61 * * * *")), "not \"61 * * * *\""),
        (
            with("time_zone", json!("Europe/Berlim")),
            "time_zone must be a name of the IANA time zone database, such as \"Europe/Berlin\" or \"UTC\", not \
             \"Europe/Berlim\"; did you mean \"Europe/Berlin\"?",
        ),
        (
            with("name", json!("a b")),
            "name must be 1 to 120 letters, digits, _, - and ., which begin with a letter or _, not \"a b\"",
        ),
        (with("name", json!("1st")), "not \"1st\""),
        (with("job_type", json!("nothing")), "there is no job type \"nothing\"; known job types: "),
        (with("parameters", json!({ "stages": "x" })), "stages"),
        (
            with("parameters", json!({ "resource_id": "{{ now }}" })),
            "parameters.resource_id has \"{{ now }}\", which is no placeholder: allowed are {{ due_at }}",
        ),
        (
            with("jitter_seconds", json!(4000)),
            "jitter_seconds must be a whole number from 0 to 3600, not 4000",
        ),
        (
            with("catch_up_limit", json!(1001)),
            "catch_up_limit must be a whole number from 1 to 1000, not 1001",
        ),
        (
            with("overlap", json!("wait")),
            "overlap must be \"skip\", \"queue\", \"allow\", not \"wait\"",
        ),
        (
            with("catch_up", json!("some")),
            "catch_up must be \"none\", \"last\", \"all\", not \"some\"",
        ),
        (with("parameters", json!([])), "parameters must be an object, not []"),
        (with("zone", json!("UTC")), "unknown field zone"),
        (json!({ "name": "s", "cron": "@daily" }), "job_type is missing"),
    ] {
        let answer = app.request("POST", "/api/schedules", body.to_string()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(said), "{body}: {message}");
    }
    for body in ["", "[]", "{", "\u{feff}null"] {
        let answer = app.request("POST", "/api/schedules", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    }
    let list = app.request("GET", "/api/schedules", Body::empty()).await;
    assert_eq!(list.body["schedules"], json!([]));
}

#[tokio::test]
async fn a_name_in_a_path_that_no_schedule_has_is_refused() {
    let app = app().await;
    for (method, path) in
        [("GET", "a%20b"), ("DELETE", "1"), ("POST", "run/%00"), ("POST", "pause/é")]
    {
        let answer = app.request(method, &format!("/api/schedules/{path}"), Body::empty()).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.body);
    }
    let long = "n".repeat(121);
    let answer = app.request("GET", &format!("/api/schedules/{long}"), Body::empty()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}
