//! `GET /api/metrics`: what a Prometheus server may rely on.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lastlight::repositories::sender::QueueRole;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::TestApp;

async fn scrape(app: &TestApp) -> String {
    let request = Request::get("/api/metrics").body(Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let format = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(format, "text/plain; version=0.0.4; charset=utf-8");
    let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    without_process(&String::from_utf8(text.into()).unwrap())
}

/// The text without the name of the process, which must stand in every figure that a process counts for itself.
fn without_process(text: &str) -> String {
    let (_, name) = text.split_once("{process=\"").expect("the process has a name");
    let (name, _) = name.split_once('"').unwrap();
    assert_eq!(name.len(), 8);
    let label = format!("process=\"{name}\"");
    let own = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains(&label));
    for line in own {
        let shared = ["lastlight_up", "lastlight_set_aside", "lastlight_build_info"];
        assert!(shared.iter().any(|name| line.starts_with(name)), "{line}");
    }
    text.replace(&format!("{label},"), "")
        .replace(&format!("{{{label}}}"), "")
}

/// Each sample by its name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            (sample, value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_job_shows_in_messages_groups_and_answers() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 3 })).await;
    assert_eq!(app.run_until_over(&job_id).await["status"], "completed");
    app.controller.reconcile().await.unwrap();
    let text = scrape(&app).await;
    let samples = samples(&text);
    // Two stages of three tasks, and a job message for each stage.
    assert_eq!(
        samples["lastlight_messages_sent_total{path=\"queue_storage\"}"],
        8.0
    );
    assert_eq!(
        samples["lastlight_messages_sent_total{path=\"service_bus\"}"],
        0.0
    );
    for kind in ["claims", "completions"] {
        let of = |what: &str, le: &str| {
            samples[&*format!("lastlight_group_commit_requests_{what}{{kind=\"{kind}\"{le}}}")]
        };
        assert_eq!(of("sum", ""), 6.0, "{kind}");
        assert!((2.0..=6.0).contains(&of("count", "")), "{kind}");
        assert_eq!(of("bucket", ",le=\"+Inf\""), of("count", ""), "{kind}");
        assert_eq!(of("bucket", ",le=\"128\""), of("count", ""), "{kind}");
    }
    assert_eq!(
        samples["lastlight_answers_total{route=\"/process_queue_task\",status=\"2xx\"}"],
        6.0
    );
    assert_eq!(
        samples["lastlight_answers_total{route=\"/api/jobs/submit/{job_type}\",status=\"2xx\"}"],
        1.0
    );
    assert_eq!(samples["lastlight_tasks_running"], 0.0);
    assert_eq!(samples["lastlight_sweeps_total"], 1.0);
    assert!(samples["lastlight_last_sweep_timestamp_seconds"] > 1.7e9);
    assert_eq!(samples["lastlight_up{component=\"all\"}"], 1.0);
}

#[tokio::test]
async fn a_queue_that_is_away_is_down_and_costs_no_other_figure() {
    let app = TestApp::start().await;
    app.queue.put_aside(QueueRole::Tasks, "odd");
    app.bus.set_down(true);
    let text = scrape(&app).await;
    let samples = samples(&text);
    assert_eq!(samples["lastlight_up{component=\"all\"}"], 0.0);
    assert_eq!(samples["lastlight_up{component=\"database\"}"], 1.0);
    assert_eq!(samples["lastlight_up{component=\"queue_storage:tasks\"}"], 1.0);
    assert_eq!(samples["lastlight_up{component=\"service_bus:tasks\"}"], 0.0);
    assert_eq!(
        samples["lastlight_set_aside_messages{path=\"queue_storage\",queue=\"tasks-poison\"}"],
        1.0
    );
    assert!(!text.contains("queue=\"tasks/$DeadLetterQueue\""), "{text}");
}

#[tokio::test]
async fn sends_that_failed_are_counted_by_reason() {
    let app = TestApp::start().await;
    app.queue.set_down(true);
    app.submitted("hello_world", json!({ "n": 1 })).await;
    let text = scrape(&app).await;
    let failed = "lastlight_send_failures_total{path=\"queue_storage\",reason=\"unavailable\"}";
    assert_eq!(samples(&text)[failed], 1.0, "{text}");
}

#[tokio::test]
async fn whatever_is_asked_for_there_are_no_more_series_than_routes() {
    let app = TestApp::start().await;
    for path in [
        "/api/a",
        "/api/b/c",
        "/api/jobs/status/x",
        "/api/jobs/status/y",
        "/nothing",
    ] {
        app.request("GET", path, Body::empty()).await;
    }
    let text = scrape(&app).await;
    let answers: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("lastlight_answers_total{"))
        .collect();
    insta::assert_snapshot!(answers.join("\n"), @r#"
    lastlight_answers_total{route="/api/jobs/status/{job_id}",status="4xx"} 2
    lastlight_answers_total{route="/{function}",status="4xx"} 1
    lastlight_answers_total{route="none",status="4xx"} 2
    "#);
}

/// The names of metrics that a file mentions.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.starts_with("lastlight_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let app = TestApp::start().await;
    app.request("GET", "/api/health", Body::empty()).await;
    app.controller.reconcile().await.unwrap();
    let text = scrape(&app).await;
    let samples: BTreeSet<String> = samples(&text)
        .into_keys()
        .map(|sample| sample.split('{').next().unwrap().to_owned())
        .collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana");
    let dashboard = std::fs::read_to_string(root.join("lastlight.json")).unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(!parsed["panels"].as_array().unwrap().is_empty());
    for file in ["lastlight.json", "alerts.yml"] {
        let names = named(&std::fs::read_to_string(root.join(file)).unwrap());
        assert!(names.len() > 5, "{file} names {names:?}");
        for name in names {
            assert!(samples.contains(&name), "{file}: there is no {name}");
        }
    }
}
