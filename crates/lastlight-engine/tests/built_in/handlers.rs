//! The handlers `echo`, `fail` and `sleep`, and the names of all.

use std::{collections::BTreeSet, time::Duration};

use lastlight_engine::{
    App,
    builtin::reference,
    job::{TaskContext, TaskError, erased::Catalog},
};
use serde_json::{Value, json};

use super::calls::Calling;

fn catalog() -> Catalog {
    App::new().catalog()
}

async fn call(handler: &str, parameters: Value) -> Result<Value, TaskError> {
    Calling::default().value(&catalog(), handler, &parameters).await
}

async fn failure(handler: &str, parameters: Value) -> String {
    match call(handler, parameters).await {
        Err(TaskError::Permanent(reason)) => reason,
        other => panic!("not a permanent failure: {other:?}"),
    }
}

#[test]
fn every_app_has_the_built_in_handlers() {
    let catalog = catalog();
    let names: Vec<_> = catalog.handlers().names().collect();
    assert_eq!(names, ["echo", "fail", "http_call", "sleep"]);
    assert!(names.iter().all(|name| catalog.handlers().is_built_in(name)));
    assert!(!catalog.handlers().is_built_in("area"));
}

#[tokio::test]
async fn the_reference_has_the_parameters_that_handlers_take() {
    let catalog = catalog();
    let names: Vec<_> = reference::handlers().iter().map(|handler| handler.name).collect();
    assert_eq!(names, catalog.handlers().names().collect::<Vec<_>>());
    for handler in reference::handlers() {
        if handler.parameters.is_empty() {
            continue;
        }
        let error = failure(handler.name, json!({ "not_a_parameter": 1 })).await;
        let expected = error.split("expected").nth(1).unwrap_or_else(|| panic!("{error}"));
        let taken: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        let stated: BTreeSet<&str> = handler.parameters.iter().map(|one| one.name).collect();
        assert_eq!(stated, taken, "{}", handler.name);
    }
}

#[test]
fn a_handler_of_the_app_cannot_have_the_name_of_a_built_in_one() {
    async fn sleep(_: TaskContext, _: Value) -> Result<Value, TaskError> {
        Ok(Value::Null)
    }
    let app = App::new().handler("sleep", sleep).handler("rest", sleep);
    assert_eq!(
        app.problems(),
        [
            "the app's handler \"sleep\" has the name of the built-in handler \"sleep\": give it another name"
        ]
    );
    assert!(!app.catalog().handlers().is_built_in("rest"));
}

#[tokio::test]
async fn echo_returns_its_parameters_as_they_were_written() {
    let given = r#"{"_run_id":"r","_task_name":"t","_workflow":"w","area":{"km2":1.10,"none":null},"id":18446744073709551616,"_own":[]}"#;
    let result = Calling::default().text(&catalog(), "echo", given).await.unwrap();
    assert_eq!(result, r#"{"_own":[],"area":{"km2":1.10,"none":null},"id":18446744073709551616}"#);
    assert_eq!(failure("echo", json!([1])).await, "handler echo: its parameters must be an object");
}

#[tokio::test]
async fn parameters_that_do_not_match_are_named() {
    for (handler, parameters, problem) in [
        ("sleep", json!({}), "handler sleep: its parameters: missing field `seconds`"),
        (
            "sleep",
            json!({ "seconds": "5" }),
            "handler sleep: seconds: invalid type: string \"5\", expected a number",
        ),
        (
            "sleep",
            json!({ "seconds": 1, "secs": 2 }),
            "handler sleep: secs: unknown field `secs`, expected `seconds`",
        ),
        (
            "sleep",
            json!({ "seconds": 86401 }),
            "handler sleep: seconds: 86401 is not from 0 to 86400",
        ),
        (
            "sleep",
            json!({ "seconds": -0.5 }),
            "handler sleep: seconds: -0.5 is not from 0 to 86400",
        ),
        ("sleep", json!([]), "handler sleep: its parameters must be an object"),
        ("fail", json!({ "rate": 1.5 }), "handler fail: rate: 1.5 is not from 0 to 1"),
        (
            "fail",
            json!({ "kind": "sudden" }),
            "handler fail: kind: unknown variant `sudden`, expected `transient` or `permanent`",
        ),
        (
            "fail",
            json!({ "reason": "" }),
            "handler fail: reason: unknown field `reason`, expected one of `rate`, `kind`, `message`",
        ),
    ] {
        assert_eq!(failure(handler, parameters).await, problem);
    }
}

#[tokio::test]
async fn fail_fails_as_it_is_asked_to() {
    let task = json!({ "_run_id": "r", "_task_name": "t", "_workflow": "w" });
    assert_eq!(failure("fail", task).await, "the handler fail fails attempt 1, as asked for");
    let wrong = json!({ "message": "the disk is full" });
    assert_eq!(failure("fail", wrong).await, "the disk is full");
    let transient = call("fail", json!({ "kind": "transient" })).await;
    assert!(matches!(transient, Err(TaskError::Transient(_))), "{transient:?}");
    assert_eq!(call("fail", json!({ "rate": 0 })).await, Ok(json!({ "attempt": 1 })));
}

#[tokio::test]
async fn an_attempt_that_is_repeated_fails_or_passes_again() {
    let outcomes = async || {
        let mut outcomes = Vec::new();
        for task in 0..20 {
            for attempt in 1..=3 {
                let calling =
                    Calling { task_id: format!("task-{task}"), attempt, ..Calling::default() };
                let half = json!({ "rate": 0.5, "kind": "transient" });
                outcomes.push(calling.value(&catalog(), "fail", &half).await.is_ok());
            }
        }
        outcomes
    };
    let first = outcomes().await;
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(outcomes().await, first);
}

async fn slept(calling: &Calling, seconds: u32) -> Result<Value, TaskError> {
    calling.value(&catalog(), "sleep", &json!({ "seconds": seconds })).await
}

#[tokio::test(start_paused = true)]
async fn sleep_waits_and_reports_its_progress() {
    let calling = Calling::default();
    let notes = calling.notes.clone();
    let began = tokio::time::Instant::now();
    let watched = async {
        tokio::time::sleep(Duration::from_millis(30_500)).await;
        notes.take_changed().unwrap()
    };
    let (result, note) = tokio::join!(slept(&calling, 60), watched);
    assert_eq!(result, Ok(json!({ "slept_seconds": 60.0 })));
    assert!(began.elapsed() >= Duration::from_secs(60));
    assert_eq!((note.progress, note.message.as_deref()), (Some(0.5), Some("slept 30 of 60 s")));
    let last = calling.notes.take_changed().unwrap();
    assert_eq!((last.progress, last.message.as_deref()), (Some(1.0), Some("slept 60 s")));
}

#[tokio::test(start_paused = true)]
async fn a_sleep_without_time_ends_at_once() {
    let began = tokio::time::Instant::now();
    assert!(call("sleep", json!({ "seconds": 0 })).await.is_ok());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_sleep_ends_at_once() {
    let calling = Calling::default();
    let began = tokio::time::Instant::now();
    let cancelled = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        calling.cancellation.cancel();
    };
    let (result, ()) = tokio::join!(slept(&calling, 86_400), cancelled);
    assert!(matches!(result, Err(TaskError::Transient(_))), "{result:?}");
    // By the paused clock.
    assert_eq!(began.elapsed().as_secs(), 10);
}
