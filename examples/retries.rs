//! Errors: `?` makes any error transient, so the task is tried again; `.permanent()` makes the task
//! fail at once. The policy of a stage says how often a task is tried, and with which pauses.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/highest_point -d '{"folder": "/data", "sheets": ["bern", "thun"]}'`

use std::{path::PathBuf, time::Duration};

use lastlight::{Backoff, prelude::*};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The highest point on the sheets of a map.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HighestPoint {
    /// A folder with a file `{sheet}.txt` for each sheet: heights in metres.
    pub folder: PathBuf,
    pub sheets: Vec<String>,
}

impl Job for HighestPoint {
    const NAME: &'static str = "highest_point";
    type Last = Self;
}

impl Stage for HighestPoint {
    type Job = Self;
    type Previous = Start;
    type Task = PathBuf;
    type Output = f64;
    type Summary = Option<f64>;

    fn plan(context: PlanContext<Self>) -> Plan<PathBuf> {
        let HighestPoint { folder, sheets } = context.job;
        Plan::of(sheets, move |sheet| {
            let file = folder.join(format!("{sheet}.txt"));
            (sheet, file)
        })
    }

    async fn run(_: TaskContext<Self>, file: PathBuf) -> Result<f64, TaskError> {
        // The file may be delivered later: the task is tried again.
        let heights = tokio::fs::read_to_string(file).await?;
        let mut highest = f64::MIN;
        for height in heights.split_whitespace() {
            // This text will never be a number: the task fails.
            highest = highest.max(height.parse().permanent()?);
        }
        Ok(highest)
    }

    fn fold(highest: &mut Option<f64>, height: f64) {
        *highest = Some(highest.map_or(height, |highest| highest.max(height)));
    }

    fn policy() -> TaskPolicy {
        // The pause doubles after each attempt.
        let backoff = Backoff { first: Duration::from_secs(1), largest: Duration::from_secs(300) };
        TaskPolicy { max_attempts: Some(10), backoff: Some(backoff), ..TaskPolicy::default() }
    }
}

fn main() -> ExitCode {
    App::new().job::<HighestPoint>().main()
}
