use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Squares the numbers below n, and adds the squares up.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Squares {
    #[schemars(range(min = 1, max = 1_000_000))]
    n: u64,
}

impl Job for Squares {
    const NAME: &'static str = "squares";
    type Last = Self;
}

impl Stage for Squares {
    type Job = Self;
    type Previous = Start;
    type Task = u64;
    type Output = u64;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..context.job.n, |n| (format!("square-{n}"), n))
    }

    async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> {
        Ok(n * n)
    }

    fn fold(sum: &mut u64, square: u64) {
        *sum += square;
    }
}

fn main() -> ExitCode {
    App::new().job::<Squares>().main()
}
