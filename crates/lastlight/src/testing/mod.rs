//! Tests of jobs: [`run`] runs a job in memory, in milliseconds and without services. With the
//! feature `local`, `cluster` runs an app on the real engine with PostgreSQL and both queues.
//!
//! ```
//! use lastlight::{prelude::*, testing};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! # struct Squares { n: u64 }
//! # impl Job for Squares {
//! #     const NAME: &'static str = "squares";
//! #     type Last = Self;
//! # }
//! # impl Stage for Squares {
//! #     type Job = Self;
//! #     type Previous = Start;
//! #     type Task = u64;
//! #     type Output = u64;
//! #     type Summary = u64;
//! #     fn plan(context: PlanContext<Self>) -> Plan<u64> {
//! #         Plan::of(0..context.job.n, |n| (format!("square-{n}"), n))
//! #     }
//! #     async fn run(_: TaskContext<Self>, n: u64) -> Result<u64, TaskError> { Ok(n * n) }
//! #     fn fold(sum: &mut u64, square: u64) { *sum += square; }
//! # }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let job = testing::run(Squares { n: 4 }).duplicates().await.unwrap();
//! assert_eq!(job.summary(), &14);
//! assert_eq!(job.stage::<Squares>().output("square-3"), Some(&9));
//! # }
//! ```

mod attempts;
#[cfg(feature = "local")]
mod cluster;
mod outcome;
mod records;
mod run;

#[cfg(feature = "local")]
pub use cluster::{Cluster, ClusterError, Completed, cluster};
pub use outcome::{Finished, JobFailed, StageRun, TaskFailed};
pub use run::{Run, call, run};
