//! README.md shows the job of `examples/squares.rs` as it is, and stays short.

use serde_json::json;

use crate::harness::{TestApp, quick};

#[allow(dead_code)]
#[path = "../../examples/squares.rs"]
mod squares;

const README: &str = include_str!("../../README.md");
const CODE: &str = include_str!("../../examples/squares.rs");

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let shown = README.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(CODE.contains(shown.trim()), "{shown}");
}

#[test]
fn the_readme_has_fewer_than_700_words() {
    let words = README.split_whitespace().count();
    assert!(words < 700, "{words} words; every other text has a page in docs");
}

#[tokio::test]
async fn the_job_of_the_readme_runs() {
    let app = TestApp::with(squares::app().catalog(), quick()).await;
    let job_id = app.submitted("squares", json!({ "n": 12 })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"]["squares"], 12, "{status}");
}
