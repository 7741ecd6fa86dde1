//! Progress, messages and a log: shown with a task while it runs. The work computes for minutes
//! without an `await`, so it has a thread of its own, which stops when its job is cancelled.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/hillshade -d '{"strips": 2, "rows": 2000}'`

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

/// The mean brightness of an artificial landscape in the light of the morning.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Hillshade {
    #[schemars(range(min = 1, max = 1000))]
    pub strips: u32,
    /// Rows of a strip.
    pub rows: u32,
}

impl Job for Hillshade {
    const NAME: &'static str = "hillshade";
    type Last = Self;
}

impl Stage for Hillshade {
    type Job = Self;
    type Previous = Start;
    type Task = (u32, u32);
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<(u32, u32)> {
        let Hillshade { strips, rows } = context.job;
        Plan::of(0..strips, move |strip| (format!("strip-{strip}"), (strip, rows)))
    }

    async fn run(context: TaskContext<Self>, (strip, rows): (u32, u32)) -> Result<f64, TaskError> {
        spawn_blocking(move || shade(&context, strip, rows)).await?
    }

    fn fold(brightest: &mut f64, brightness: f64) {
        *brightest = brightest.max(brightness);
    }
}

fn shade(context: &TaskContext<Hillshade>, strip: u32, rows: u32) -> Result<f64, TaskError> {
    let (columns, mut sum) = (10_000, 0.0);
    for row in 0..rows {
        if context.is_cancelled() {
            return Err(TaskError::transient("nobody waits for the result any more"));
        }
        context.progress(f64::from(row) / f64::from(rows), format!("row {row} of {rows}"));
        let north = f64::from(strip + row) / 50.0;
        let slope = |column| (north + f64::from(column) / 5000.0).cos();
        let light: f64 = (0..columns).map(|column| slope(column).max(0.0)).sum();
        if light == 0.0 {
            context.log(format!("row {row} has no light"));
        }
        sum += light / f64::from(columns);
    }
    Ok(sum / f64::from(rows.max(1)))
}

fn main() -> ExitCode {
    App::new().job::<Hillshade>().main()
}
