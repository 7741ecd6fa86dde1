//! A stage in Rust whose tasks run at workers: it names a queue, and the handler has the stage's name.

use lastlight_engine::{
    config::Timing,
    job::{Job, Plan, PlanContext, Stage, StageOptions, Start, TaskContext, TaskError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::row;
use crate::harness::{OfThisApp, TestApp, TestWorker};

/// Cuts tiles in this process, and renders them at workers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Render {
    tiles: u64,
}

impl Job for Render {
    const NAME: &'static str = "render";
    type Last = Rendered;
}

struct Cut;

impl Stage for Cut {
    const NAME: &'static str = "cut";
    type Job = Render;
    type Previous = Start;
    type Task = u64;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..context.job.tiles, |n| (format!("tile-{n}"), n))
    }

    async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> {
        Ok(n * 10)
    }

    fn fold(sum: &mut u64, n: u64) {
        *sum += n;
    }
}

/// What a worker renders.
#[derive(Debug, Serialize, Deserialize)]
struct Tile {
    n: u64,
}

struct Rendered;

impl Stage for Rendered {
    const NAME: &'static str = "rendered";
    type Job = Render;
    type Previous = Cut;
    type Task = Tile;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<Tile> {
        Plan::of(0..context.job.tiles, |n| (format!("tile-{n}"), Tile { n }))
    }

    async fn run(_: TaskContext<Self>, _: Tile) -> Result<u64, TaskError> {
        Err(TaskError::permanent("a worker runs it"))
    }

    fn fold(sum: &mut u64, n: u64) {
        *sum += n;
    }

    fn options(_: &Render, _: usize) -> StageOptions {
        StageOptions::default().queue("gpu")
    }
}

#[tokio::test]
async fn a_stage_that_names_a_queue_runs_at_its_workers() {
    let app = TestApp::with_job::<Render>(Timing::default()).await;
    let job_id = app.submitted("render", json!({ "tiles": 30 })).await;
    app.run_dry().await;
    let worker = TestWorker { queue: "gpu", ..TestWorker::of(&app, &["rendered"]) };
    assert!(TestWorker::of(&app, &["rendered"]).claim(1).await.is_empty(), "of another queue");
    let wrong = worker.claim(1).await.remove(0);
    let odd = json!({ "outcome": "completed", "result": "no number" });
    assert_eq!(worker.ends(&wrong, odd).await, "counted");
    let shown = row(&app, &wrong).await;
    let reason = shown["error_details"].as_str().unwrap_or_else(|| panic!("{shown}"));
    assert!(shown["status"] == "failed" && reason.contains("u64"), "{shown}");
    let render = |task: &Value| {
        let before = task["predecessor_result"].as_u64().unwrap_or_else(|| panic!("{task}"));
        assert_eq!(task["params"], json!({ "n": before / 10 }), "{task}");
        json!(before + 1)
    };
    assert_eq!(worker.serve(render).await, 29);
    assert_eq!(app.status(&job_id).await["status"], "failed");
    assert_eq!(app.control("retry", &job_id).await.status, 200);
    assert_eq!(worker.serve(render).await, 1);
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    app.assert_consistent(&job_id).await;
}
