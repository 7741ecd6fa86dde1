//! Tolerated failures: a stage may complete although some of its tasks failed. Its summary has only
//! the results of the others, and the next stage asks whether the predecessor of a task completed.
//!
//! `curl -X POST localhost:7071/api/jobs/submit/river -d '{"depths": {"km-1": [0, 2, 0], "km-2": [0, 3, 1], "km-3": []}}'`

use std::collections::BTreeMap;

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The cross sections of a river, and the share of each in the sum of their areas.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct River {
    /// The depths of each cross section in metres, one metre apart.
    pub depths: BTreeMap<String, Vec<f64>>,
}

impl Job for River {
    const NAME: &'static str = "river";
    type Last = Share;
}

pub struct Area;

impl Stage for Area {
    const NAME: &'static str = "area";
    type Job = River;
    type Previous = Start;
    type Task = Vec<f64>;
    type Output = f64;
    type Summary = f64;

    fn plan(context: PlanContext<Self>) -> Plan<Vec<f64>> {
        Plan::of(context.job.depths, |section| section)
    }

    async fn run(_: TaskContext<Self>, depths: Vec<f64>) -> Result<f64, TaskError> {
        if depths.len() < 2 {
            return Err(TaskError::permanent("a cross section has at least two depths"));
        }
        Ok(depths.windows(2).map(|two| (two[0] + two[1]) / 2.0).sum())
    }

    fn fold(sum: &mut f64, m2: f64) {
        *sum += m2;
    }

    fn options(_: &River, _: usize) -> StageOptions {
        StageOptions::default().tolerate(FailurePolicy::TolerateShare(0.5))
    }
}

pub struct Share;

impl Stage for Share {
    const NAME: &'static str = "share";
    type Job = River;
    type Previous = Area;
    type Task = f64;
    type Output = Option<f64>;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<f64> {
        let (sum, sections) = (context.input, context.job.depths.into_keys());
        Plan::of(sections, move |section| (section, sum))
    }

    async fn run(context: TaskContext<Self>, sum: f64) -> Result<Option<f64>, TaskError> {
        Ok(context.predecessor_if_completed()?.map(|m2| m2 / sum))
    }

    fn fold(without_area: &mut u64, share: Option<f64>) {
        *without_area += u64::from(share.is_none());
    }
}

fn main() -> ExitCode {
    App::new().job::<River>().main()
}
