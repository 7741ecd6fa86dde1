//! Coarse messages: one message for up to 1000 tasks. The tasks here take microseconds, so a message
//! for each would cost more than the tasks. Each task still has its own attempts and its own result.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/tile_areas -d '{"zoom": 7}'`

use std::f64::consts::PI;

use lastlight::{TasksPerMessage, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const EARTH_RADIUS_KM: f64 = 6371.0;

/// The areas of all tiles of a web map at one zoom level.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TileAreas {
    #[schemars(range(max = 9))]
    pub zoom: u32,
}

impl Job for TileAreas {
    const NAME: &'static str = "tile_areas";
    type Last = Self;
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Tile {
    zoom: u32,
    y: u64,
}

impl Stage for TileAreas {
    type Job = Self;
    type Previous = Start;
    type Task = Tile;
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<Tile> {
        let zoom = context.job.zoom;
        Plan::of(0..4_u64.pow(zoom), move |tile| {
            let (x, y) = (tile >> zoom, tile & ((1 << zoom) - 1));
            (format!("{zoom}-{x}-{y}"), Tile { zoom, y })
        })
    }

    async fn run(_: TaskContext<Self>, Tile { zoom, y }: Tile) -> Result<f64, TaskError> {
        let tiles = 2_f64.powi(zoom as i32);
        let sine_of_latitude = |y: u64| (PI * (1.0 - 2.0 * y as f64 / tiles)).tanh();
        let height = sine_of_latitude(y) - sine_of_latitude(y + 1);
        Ok(EARTH_RADIUS_KM.powi(2) * height * 2.0 * PI / tiles)
    }

    fn fold(sum: &mut f64, km2: f64) {
        *sum += km2;
    }

    fn options(job: &Self, _: usize) -> StageOptions {
        StageOptions::default()
            .tasks_per_message(TasksPerMessage::try_from(500).unwrap_or_default())
            .expected_tasks(4_u64.pow(job.zoom))
    }
}

fn main() -> ExitCode {
    App::new().job::<TileAreas>().main()
}
