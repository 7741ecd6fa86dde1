//! The workflow of the tutorial is the file that its text shows, and the requests of the text lead to
//! what it describes.

use std::fmt::Write;

use lastlight::App;
use lastlight_workflow::{Known, Workflow};
use serde_json::{Value, json};

use super::workflow_files::{app_with, node, until_gate};
use crate::harness::TestApp;

// The file is written for `src`, from where its handlers are named.
#[allow(unreachable_pub)]
#[path = "../../../docs/tutorial/flood_warning.rs"]
mod flood_warning;

const TEXT: &str = include_str!("../../../docs/WORKFLOW_TUTORIAL.md");
const FILE: &str = include_str!("../../../docs/tutorial/flood_warning.yaml");
const CODE: &str = include_str!("../../../docs/tutorial/flood_warning.rs");

/// The blocks of the text in a language; "" for blocks without one.
fn blocks(language: &str) -> Vec<&'static str> {
    // Every second part is inside of a block.
    let inside = TEXT.split("\n```").skip(1).step_by(2);
    let blocks = inside.filter_map(|part| part.split_once('\n'));
    blocks.filter(|(named, _)| *named == language).map(|(_, block)| block).collect()
}

/// The body of the request in the text whose address has this part.
fn body(address: &str) -> Value {
    let mut requests = blocks("sh").into_iter().flat_map(|block| block.split("curl "));
    let request = requests.find(|request| request.contains(address)).unwrap();
    let body = request.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    serde_json::from_str(body).unwrap()
}

async fn app() -> TestApp {
    let app = App::new()
        .handler("highest_level", flood_warning::highest_level)
        .handler("write_warning", flood_warning::write_warning);
    let yaml = blocks("yaml");
    assert_eq!(yaml.len(), 1);
    app_with(app, yaml[0]).await
}

/// What the text sends to submit a job, at another alarm level.
fn stations(alarm_cm: u32) -> Value {
    let mut body = body("submit/flood_warning");
    body["alarm_cm"] = json!(alarm_cm);
    body
}

#[tokio::test]
async fn the_workflow_of_the_tutorial_warns_once_it_is_approved() {
    let app = app().await;
    let job_id = app.submitted("flood_warning", body("submit/flood_warning")).await;
    let waiting = until_gate(&app, &job_id, "confirm").await;
    assert_eq!(waiting["status"], "processing", "{waiting}");
    let decision = body("/confirm");
    let path = format!("/api/jobs/gate/{job_id}/confirm");
    let answer = app.request("POST", &path, decision.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(node(&status, "too_high")["output"], json!({ "total": 1 }), "{status}");
    assert_eq!(node(&status, "confirm")["output"]["by"], "Ada", "{status}");
    let warning = &status["stageResults"]["5"]["summary"]["result"];
    assert_eq!(warning, "1 of 2 stations are too high, confirmed by Ada", "{status}");
    assert_eq!(node(&status, "finalize")["outcome"], "completed", "{status}");
    let reject = json!({ "decision": "reject" }).to_string();
    assert_eq!(app.request("POST", &path, reject).await.status, 409);
}

#[tokio::test]
async fn the_workflow_of_the_tutorial_does_not_warn_if_it_is_rejected_or_calm() {
    let app = app().await;
    let job_id = app.submitted("flood_warning", stations(300)).await;
    until_gate(&app, &job_id, "confirm").await;
    let reject = json!({ "decision": "reject" }).to_string();
    let path = format!("/api/jobs/gate/{job_id}/confirm");
    assert_eq!(app.request("POST", &path, reject).await.status, 200);
    let rejected = app.run_until_finished(&job_id).await;
    let job_id = app.submitted("flood_warning", stations(500)).await;
    let calm = app.run_until_finished(&job_id).await;
    for (status, confirm) in [(&rejected, "rejected"), (&calm, "skipped")] {
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(node(status, "confirm")["outcome"], confirm, "{status}");
        assert_eq!(node(status, "warn")["outcome"], "skipped", "{status}");
        assert_eq!(node(status, "finalize")["outcome"], "completed", "{status}");
    }
}

#[test]
fn the_workflow_tutorial_shows_its_files() {
    assert_eq!(blocks("yaml"), [FILE.trim_end()]);
    let shown = blocks("rust");
    assert_eq!(shown.len(), 2);
    for piece in shown {
        assert!(CODE.contains(piece.trim_end()), "the file has no such lines:\n{piece}");
    }
}

#[test]
fn the_workflow_tutorial_shows_what_check_and_show_print() {
    let name = "workflows/flood_warning.yaml";
    let outputs = blocks("");
    let workflow = Workflow::read(name, FILE, &Known::blob_validators()).unwrap();
    assert!(outputs.contains(&workflow.as_text().trim_end()), "{}", workflow.as_text());
    let mut checked = String::new();
    let nodes = workflow.nodes().len();
    write!(checked, "{name}: {}, version {}, {nodes} nodes", workflow.name(), workflow.version())
        .unwrap();
    assert!(outputs.iter().any(|output| output.starts_with(&checked)), "{checked}");
    let wrong = FILE.replacen("condition: too_high.total", "condition: to_high.total", 1);
    let problems = Workflow::read(name, &wrong, &Known::blob_validators()).unwrap_err().to_string();
    assert!(outputs.contains(&problems.trim_end()), "{problems}");
}
