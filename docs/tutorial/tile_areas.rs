//! `tile_areas`: the area of every Web Mercator tile of a zoom level, then one report of the
//! totals.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use lastlight::job::{
    Fields, Fold, JobType, Plan, PlanContext, PlanError, StageSpec, Task, TaskDefinition,
    TaskError, to_json,
};
use lastlight::model::{Stage, TaskIndex};

const MEASURE: &str = "tile_areas_measure";
const REPORT: &str = "tile_areas_report";

/// Radius of a sphere with the volume of the Earth, in kilometres.
const RADIUS_KM: f64 = 6_371.000_8;

#[derive(Debug)]
pub struct TileAreas;

/// The parameters of a submission.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    zoom: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tile {
    zoom: u32,
    x: u64,
    y: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Area {
    km2: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Totals {
    tiles: u64,
    km2: f64,
}

#[async_trait]
impl JobType for TileAreas {
    type Parameters = Parameters;

    fn name(&self) -> &'static str {
        "tile_areas"
    }

    fn check(&self, fields: &mut Fields) {
        fields.integer("zoom", 0..=9);
    }

    fn stages(&self, parameters: &Parameters) -> Vec<StageSpec> {
        vec![
            StageSpec::new(MEASURE).with_expected_tasks(4_u64.pow(parameters.zoom)),
            StageSpec::new(REPORT).with_expected_tasks(1),
        ]
    }

    fn plan(&self, Parameters { zoom }: Parameters, context: PlanContext) -> Plan {
        if context.stage == Stage::FIRST {
            let side = 1_u64 << zoom;
            return stream::iter(context.from..side * side)
                .map(move |number| {
                    let (x, y) = (number % side, number / side);
                    task(&format!("tile_x{x}_y{y}"), &Tile { zoom, x, y })
                })
                .boxed();
        }
        // The summary that the fold below computed for stage 1.
        let report = task("report", &context.previous_summary);
        stream::iter([report]).skip(usize::try_from(context.from).unwrap_or(usize::MAX)).boxed()
    }

    async fn run(&self, task: Task<'_>) -> Result<Box<RawValue>, TaskError> {
        match task.task_type {
            MEASURE => {
                let tile: Tile = task.parameters()?;
                Ok(to_json(&Area { km2: area_km2(&tile) })?)
            }
            REPORT => {
                let Totals { tiles, km2 } = task.parameters()?;
                let earth = 4.0 * std::f64::consts::PI * RADIUS_KM * RADIUS_KM;
                Ok(to_json(
                    &json!({ "tiles": tiles, "km2": km2.round(), "share_of_the_earth": km2 / earth }),
                )?)
            }
            unknown => {
                Err(TaskError::permanent(format!("tile_areas has no task type {unknown:?}")))
            }
        }
    }

    fn fold(&self, stage: Stage) -> Box<dyn Fold> {
        if stage == Stage::FIRST {
            Box::new(Totals { tiles: 0, km2: 0.0 })
        } else {
            Box::new(Report(Value::Null))
        }
    }
}

/// Stage 1: keeps two numbers, for any number of tiles.
impl Fold for Totals {
    fn add(&mut self, result: &RawValue) {
        if let Ok(Area { km2 }) = serde_json::from_str(result.get()) {
            self.tiles += 1;
            self.km2 += km2;
        }
    }

    fn finish(self: Box<Self>) -> Value {
        json!(*self)
    }
}

/// Stage 2: the summary is its only result.
#[derive(Debug)]
struct Report(Value);

impl Fold for Report {
    fn add(&mut self, result: &RawValue) {
        self.0 = serde_json::from_str(result.get()).unwrap_or_default();
    }

    fn finish(self: Box<Self>) -> Value {
        self.0
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

fn task(index: &str, parameters: &impl Serialize) -> Result<TaskDefinition, PlanError> {
    Ok(TaskDefinition {
        index: TaskIndex::try_from(index).map_err(|error| PlanError(error.to_string()))?,
        parameters: to_json(parameters)?,
        predecessor: None,
    })
}
