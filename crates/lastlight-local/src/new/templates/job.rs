//! `{{job}}`: squares the numbers below n and adds the squares up. Put your own work in their place.

use lastlight::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Squares the numbers below n and adds the squares up.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct {{Job}} {
    /// Number of tasks.
    #[schemars(range(min = 1, max = 1_000_000), example = 100)]
    n: u64,
}

impl Job for {{Job}} {
    const NAME: &'static str = "{{job}}";
    type Last = Self;
}

// A job with one stage can be this stage itself. Further stages are types of their own, and each names
// the stage before it as `Previous`.
impl Stage for {{Job}} {
    type Job = Self;
    type Previous = Start;
    type Task = u64;
    type Output = u64;
    type Summary = u64;

    /// One task per number: its index, which is unique in the stage, and its parameters.
    fn plan(context: PlanContext<Self>) -> Plan<u64> {
        Plan::of(0..context.job.n, |n| (format!("square-{n}"), n))
    }

    /// The work of one task. It may run more than once for the same task.
    async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> {
        Ok(n * n)
    }

    /// Adds the result of one task to the summary of the stage.
    fn fold(sum: &mut u64, square: u64) {
        *sum += square;
    }
}

#[cfg(test)]
mod tests {
    use lastlight::testing;

    use super::*;

    #[tokio::test]
    async fn squares_are_added_up() {
        let job = {{Job}} { n: 4 };
        let finished = testing::run(job).duplicates().await.unwrap();
        assert_eq!(finished.summary(), &14);
    }

    #[tokio::test]
    async fn a_job_has_at_least_one_task() {
        let job = {{Job}} { n: 0 };
        let reason = testing::run(job).await.unwrap_err().to_string();
        assert!(reason.contains("n must be a whole number"), "{reason}");
    }
}
