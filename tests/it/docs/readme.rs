//! README.md shows the job of `examples/squares.rs` as it is and a workflow that runs, and stays short.

use lastlight::{App, TaskContext, TaskError};
use serde::Deserialize;
use serde_json::json;

use super::workflow_files::{app_with, node};
use crate::harness::{TestApp, quick};

#[allow(dead_code, reason = "its main is not run")]
mod squares {
    include!("../../../examples/squares.rs");

    /// Its job types.
    pub(super) fn catalog() -> lastlight_engine::job::erased::Catalog {
        App::new().job::<Squares>().into_engine().catalog()
    }
}

const README: &str = include_str!("../../../README.md");
const CODE: &str = include_str!("../../../examples/squares.rs");

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
    let app = TestApp::with(squares::catalog(), quick()).await;
    let job_id = app.submitted("squares", json!({ "n": 12 })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"], 506, "{status}");
}

#[derive(Debug, Deserialize)]
struct Number {
    n: u64,
}

async fn square(_: TaskContext, Number { n }: Number) -> Result<u64, TaskError> {
    Ok(n * n)
}

#[tokio::test]
async fn the_workflow_of_the_readme_runs() {
    let shown = README.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let app = app_with(App::new().handler("square", square), shown).await;
    let job_id = app.submitted("sum_of_squares", json!({ "numbers": [1, 2, 3] })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(node(&status, "total")["output"], json!({ "total": 14 }), "{status}");
}
