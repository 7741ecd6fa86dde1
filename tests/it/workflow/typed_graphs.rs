//! A job in Rust whose stages form a graph: its plans receive the summaries of all stages before them,
//! and its tasks read the results that the plans name.

use std::sync::atomic::{AtomicBool, Ordering};

use lastlight_engine::{
    config::Timing,
    job::{Job, Plan, PlanContext, Planned, Stage, Start, TaskContext, TaskError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::harness::{OfThisApp, TestApp};

/// Tiles, their hills and their water, and a map of both.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Terrain {
    tiles: u64,
    #[serde(default)]
    has_fog: bool,
}

impl Job for Terrain {
    const NAME: &'static str = "terrain";
    type Last = Map;
}

struct Tiles;

impl Stage for Tiles {
    const NAME: &'static str = "tiles";
    type Job = Terrain;
    type Previous = Start;
    type Task = u64;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..context.job.tiles, |n| (format!("tile-{n}"), n))
    }

    async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> {
        Ok(n)
    }

    fn fold(sum: &mut u64, n: u64) {
        *sum += n;
    }
}

static FOG_IS_GONE: AtomicBool = AtomicBool::new(false);

struct Hills;

impl Stage for Hills {
    const NAME: &'static str = "hills";
    type Job = Terrain;
    type Previous = Tiles;
    type Task = bool;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<bool> {
        let Terrain { tiles, has_fog } = context.job;
        // The predecessors are the tiles with the same index.
        Plan::of(0..tiles, move |n| (format!("tile-{n}"), has_fog))
    }

    async fn run(context: TaskContext<Self>, has_fog: bool) -> Result<u64, TaskError> {
        if has_fog && !FOG_IS_GONE.load(Ordering::SeqCst) {
            return Err(TaskError::permanent("there is fog"));
        }
        Ok(100 + context.predecessor()?)
    }

    fn fold(sum: &mut u64, hill: u64) {
        *sum += hill;
    }
}

struct Water;

impl Stage for Water {
    const NAME: &'static str = "water";
    type Job = Terrain;
    type Previous = Tiles;
    type Task = ();
    type Output = u64;
    type Summary = Vec<u64>;

    fn plan(context: PlanContext<Self>) -> Plan<()> {
        let sum_of_tiles = context.input;
        assert_eq!(sum_of_tiles, (0..context.job.tiles).sum::<u64>());
        Plan::of(0..context.job.tiles, |n| {
            Planned::new(format!("water-{n}"), ()).after(format!("tile-{n}"))
        })
    }

    async fn run(context: TaskContext<Self>, (): ()) -> Result<u64, TaskError> {
        Ok(1000 + context.predecessor()?)
    }

    fn fold(depths: &mut Vec<u64>, depth: u64) {
        depths.push(depth);
        depths.sort_unstable();
        depths.truncate(2);
    }
}

struct Map;

impl Stage for Map {
    const NAME: &'static str = "map";
    type Job = Terrain;
    type Previous = (Hills, Water);
    type Task = (u64, Vec<u64>);
    type Output = (u64, Vec<u64>, u64);
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<(u64, Vec<u64>)> {
        let before = context.input;
        Plan::of([0, 1], move |n| match n {
            0 => Planned::new("of-a-tile", before.clone()).after_in::<Tiles>("tile-2"),
            _ => Planned::new("of-water", before.clone()).after_in::<Water>("water-2"),
        })
    }

    async fn run(
        context: TaskContext<Self>,
        (hills, water): (u64, Vec<u64>),
    ) -> Result<(u64, Vec<u64>, u64), TaskError> {
        let before = match context.task_id().ends_with("of-a-tile") {
            true => context.predecessor_of::<Tiles>()?,
            false => context.predecessor_of::<Water>()?,
        };
        Ok((hills, water, before))
    }

    fn fold(sum: &mut u64, (_, _, before): (u64, Vec<u64>, u64)) {
        *sum += before;
    }
}

#[tokio::test]
async fn a_graph_of_rust_stages_completes_over_both_paths() {
    let app = TestApp::with_job::<Terrain>(Timing::default()).await;
    for use_service_bus in [false, true] {
        let parameters = json!({ "tiles": 3, "use_service_bus": use_service_bus });
        let job_id = app.submitted("terrain", parameters).await;
        app.run_dry().await;
        let status = app.status(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(status["totalStages"], 4);
        let results = &status["stageResults"];
        for (stage, name, summary) in [
            ("1", "tiles", json!(3)),
            ("2", "hills", json!(303)),
            ("3", "water", json!([1000, 1001])),
            ("4", "map", json!(1004)),
        ] {
            assert_eq!(
                (&results[stage]["name"], &results[stage]["summary"]),
                (&json!(name), &summary)
            );
        }
        for (place, expected) in
            [json!([303, [1000, 1001], 2]), json!([303, [1000, 1001], 1002])].iter().enumerate()
        {
            assert_eq!(&results["4"]["samples"][place]["result"], expected, "{results}");
        }
    }
}

#[tokio::test]
async fn a_failed_stage_skips_those_after_it_until_a_retry() {
    let app = TestApp::with_job::<Terrain>(Timing::default()).await;
    let job_id = app.submitted("terrain", json!({ "tiles": 3, "has_fog": true })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed", "{status}");
    let reason = status["errorDetails"].as_str().unwrap();
    assert!(reason.starts_with("hills: 3 of 3 tasks failed; first: tile-"), "{reason}");
    let outcome =
        |status: &serde_json::Value, stage: &str| status["stageResults"][stage]["status"].clone();
    assert_eq!(outcome(&status, "3"), "completed", "it does not follow the hills: {status}");
    assert_eq!(outcome(&status, "4"), "skipped", "{status}");
    FOG_IS_GONE.store(true, Ordering::SeqCst);
    let answer = app.control("retry", &job_id).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    // The plan of the map receives the new summary of one stage and the old one of the other.
    assert_eq!(
        status["stageResults"]["4"]["samples"][0]["result"],
        json!([303, [1000, 1001], 2]),
        "{status}"
    );
}
