//! Stages that form a graph: two stages work on the results of the first one at the same time, and
//! the last one begins when both have completed. Here the tiles of an artificial terrain are made,
//! their highest points and their lakes are found, and a map of each tile is drawn.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/terrain -d '{"tiles": 10}'`

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A map of artificial hills and lakes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Terrain {
    #[schemars(range(min = 1, max = 10_000))]
    pub tiles: u32,
}

impl Job for Terrain {
    const NAME: &'static str = "terrain";
    type Last = Map;
}

/// Metres above the sea, from west to east.
pub type Heights = Vec<f64>;

/// The heights of each tile.
pub struct Tiles;

impl Stage for Tiles {
    const NAME: &'static str = "tiles";
    type Job = Terrain;
    type Previous = Start;
    type Task = u32;
    type Output = Heights;
    type Summary = ();

    fn plan(context: PlanContext<Self>) -> Plan<u32> {
        Plan::of(0..context.job.tiles, |tile| (format!("tile-{tile}"), tile))
    }

    async fn run(_: TaskContext<Self>, tile: u32) -> Result<Heights, TaskError> {
        let height = |place: u32| {
            let km = f64::from(tile) + f64::from(place) / 40.0;
            400.0 * (km * 3.0).sin() + 200.0 * (km * 7.0).cos() + 100.0
        };
        Ok((0..40).map(height).collect())
    }

    fn fold((): &mut (), _: Heights) {}
}

/// The highest point.
pub struct Hills;

impl Stage for Hills {
    const NAME: &'static str = "hills";
    type Job = Terrain;
    type Previous = Tiles;
    type Task = ();
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<()> {
        Plan::of(0..context.job.tiles, |tile| (format!("tile-{tile}"), ()))
    }

    async fn run(context: TaskContext<Self>, (): ()) -> Result<f64, TaskError> {
        // The predecessor is the task with the same index in the stage before.
        Ok(context.predecessor()?.into_iter().fold(0.0, f64::max))
    }

    fn fold(highest: &mut f64, height: f64) {
        *highest = highest.max(height);
    }
}

/// The deepest point of a lake. It runs at the same time as the stage `Hills`.
pub struct Lakes;

impl Stage for Lakes {
    const NAME: &'static str = "lakes";
    type Job = Terrain;
    type Previous = Tiles;
    type Task = ();
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<()> {
        Plan::of(0..context.job.tiles, |tile| (format!("tile-{tile}"), ()))
    }

    async fn run(context: TaskContext<Self>, (): ()) -> Result<f64, TaskError> {
        Ok(context.predecessor()?.into_iter().fold(0.0, f64::min))
    }

    fn fold(deepest: &mut f64, height: f64) {
        *deepest = deepest.min(height);
    }
}

/// A map of each tile.
pub struct Map;

impl Stage for Map {
    const NAME: &'static str = "map";
    type Job = Terrain;
    type Previous = (Hills, Lakes);
    type Task = (f64, f64);
    type Output = String;
    /// The number of lakes.
    type Summary = usize;

    fn plan(context: PlanContext<Self>) -> Plan<(f64, f64)> {
        // The summaries of both stages.
        let (highest, deepest) = context.input;
        Plan::of(0..context.job.tiles, move |tile| {
            Planned::new(format!("map-{tile}"), (deepest, highest))
                .after_in::<Tiles>(format!("tile-{tile}"))
        })
    }

    async fn run(
        context: TaskContext<Self>,
        (deepest, highest): (f64, f64),
    ) -> Result<String, TaskError> {
        // A result of the stage that the plan names.
        let heights = context.predecessor_of::<Tiles>()?;
        Ok(heights.into_iter().map(|height| symbol(height, deepest, highest)).collect())
    }

    fn fold(lakes: &mut usize, map: String) {
        *lakes += map.split(['.', '+', '^']).filter(|lake| !lake.is_empty()).count();
    }
}

fn symbol(height: f64, deepest: f64, highest: f64) -> char {
    match height {
        _ if height < deepest / 2.0 => '#',
        _ if height < 0.0 => '~',
        _ if height < highest / 3.0 => '.',
        _ if height < highest * 2.0 / 3.0 => '+',
        _ => '^',
    }
}

fn main() -> ExitCode {
    App::new().job::<Terrain>().main()
}
