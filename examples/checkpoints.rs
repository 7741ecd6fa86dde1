//! Checkpoints: a task that takes longer than one attempt may. An attempt saves what it has done, and
//! the next one continues there, also after a process died.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/water_level -d '{"days": 25}'`

use std::time::Duration;

use lastlight::{Backoff, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The level of a lake after some days of rain, computed day by day.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaterLevel {
    #[schemars(range(min = 1, max = 10_000))]
    pub days: u32,
}

impl Job for WaterLevel {
    const NAME: &'static str = "water_level";
    type Last = Self;
}

/// The checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lake {
    days: u32,
    metres: f64,
}

impl Stage for WaterLevel {
    type Job = Self;
    type Previous = Start;
    type Task = u32;
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<u32> {
        Plan::one("lake", context.job.days)
    }

    async fn run(context: TaskContext<Self>, days: u32) -> Result<f64, TaskError> {
        let mut lake: Lake = context.checkpoint().await?.unwrap_or_default();
        while lake.days < days {
            // Stands for the computation of a day.
            tokio::time::sleep(Duration::from_millis(100)).await;
            lake = Lake { days: lake.days + 1, metres: lake.metres / 2.0 + 1.0 };
            // In real work, once per minute is often enough.
            context.save_checkpoint(&lake).await?;
        }
        Ok(lake.metres)
    }

    fn fold(level: &mut f64, metres: f64) {
        *level = metres;
    }

    /// Attempts that are too short for 25 days.
    fn policy() -> TaskPolicy {
        TaskPolicy {
            max_attempts: Some(1000),
            backoff: Some(Backoff { first: Duration::ZERO, largest: Duration::ZERO }),
            timeout: Some(Duration::from_secs(1)),
        }
    }
}

fn main() -> ExitCode {
    App::new().job::<WaterLevel>().main()
}
