//! `tile_areas`: the area of every Web Mercator tile of a zoom level, then one report of the
//! totals.

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Radius of a sphere with the volume of the Earth, in kilometres.
const RADIUS_KM: f64 = 6_371.000_8;

/// The area of every Web Mercator tile of a zoom level, and their total.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TileAreas {
    /// The zoom level: it has four times as many tiles as the one before.
    #[schemars(range(max = 9))]
    zoom: u32,
}

impl Job for TileAreas {
    const NAME: &'static str = "tile_areas";
    type Last = Report;
}

/// The first stage: one task for each tile.
#[derive(Debug)]
pub struct Measure;

/// The parameters of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tile {
    zoom: u32,
    x: u64,
    y: u64,
}

/// The result of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Area {
    km2: f64,
}

/// The summary of the first stage.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    tiles: u64,
    km2: f64,
}

impl Stage for Measure {
    const NAME: &'static str = "tile_areas_measure";
    type Job = TileAreas;
    type Previous = Start;
    type Task = Tile;
    type Output = Area;
    type Summary = Totals;

    fn plan(context: PlanContext<Self>) -> Plan<Tile> {
        let zoom = context.job.zoom;
        let side = 1_u64 << zoom;
        Plan::of(0..side * side, move |number| {
            let (x, y) = (number % side, number / side);
            (format!("tile_x{x}_y{y}"), Tile { zoom, x, y })
        })
    }

    async fn run(_: TaskContext<Self>, tile: Tile) -> Result<Area, TaskError> {
        Ok(Area { km2: area_km2(&tile) })
    }

    fn fold(totals: &mut Totals, area: Area) {
        totals.tiles += 1;
        totals.km2 += area.km2;
    }

    fn options(job: &TileAreas, _: usize) -> StageOptions {
        StageOptions::default().expected_tasks(4_u64.pow(job.zoom))
    }
}

/// The last stage: one task, which reports on all tiles. Its result is also its summary.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    tiles: u64,
    km2: f64,
    share_of_the_earth: f64,
}

impl Stage for Report {
    const NAME: &'static str = "tile_areas_report";
    type Job = TileAreas;
    type Previous = Measure;
    type Task = Totals;
    type Output = Self;
    type Summary = Self;

    fn plan(context: PlanContext<Self>) -> Plan<Totals> {
        // The summary that the fold of `Measure` computed.
        Plan::one("report", context.input)
    }

    async fn run(_: TaskContext<Self>, totals: Totals) -> Result<Self, TaskError> {
        let Totals { tiles, km2 } = totals;
        let earth = 4.0 * std::f64::consts::PI * RADIUS_KM * RADIUS_KM;
        Ok(Self { tiles, km2: km2.round(), share_of_the_earth: km2 / earth })
    }

    fn fold(summary: &mut Self, report: Self) {
        *summary = report;
    }
}

/// The area of a tile: an equal share of the sphere's zone between two parallels.
fn area_km2(tile: &Tile) -> f64 {
    let side = (1_u64 << tile.zoom) as f64;
    let sine = |y: u64| {
        let mercator = std::f64::consts::PI * (1.0 - 2.0 * y as f64 / side);
        mercator.tanh()
    };
    let height = sine(tile.y) - sine(tile.y + 1);
    2.0 * std::f64::consts::PI * RADIUS_KM * RADIUS_KM * height / side
}

#[cfg(test)]
mod tests {
    use lastlight::testing;

    use super::*;

    #[tokio::test]
    async fn the_tiles_of_a_level_cover_the_earth() {
        let job = testing::run(TileAreas { zoom: 3 }).duplicates().await.unwrap();
        assert_eq!(job.summary().tiles, 64);
        assert!((job.summary().share_of_the_earth - 0.996_272).abs() < 1e-6);
        let areas = job.stage::<Measure>();
        let polar = areas.output("tile_x0_y0").unwrap().km2;
        assert!(polar < areas.output("tile_x0_y3").unwrap().km2, "{polar}");
    }
}
