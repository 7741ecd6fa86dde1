//! Benchmarks on the local cloud: the real handler as a process of its own, real wire protocols, a
//! fresh local cloud for every figure. They measure and print; nothing here decides whether a
//! figure is good.

mod bed;
mod facts;
mod fanout;
mod reads;
mod run;

pub use bed::Stop;
pub(crate) use facts::peak_memory_mib;
pub use fanout::{FanoutLeg, FanoutOptions, FanoutReport, SendWay, bench_fanout};
pub use reads::{ReadReport, ReadsOptions, Stored, bench_reads};
pub use run::{RunOptions, RunReport, Sizes, bench_run};

use lastlight_local::{ApiError, CloudError};

/// Why a benchmark has no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The local cloud did not start.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The API did not answer as it should.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The database could not be asked.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The job did not come to its end.
    #[error("the job is {status} after {seconds:.0} s: {detail}")]
    Job {
        status: String,
        /// After this long.
        seconds: f64,
        /// Why, or how far it came.
        detail: String,
    },
    /// It was asked to stop.
    #[error("stopped before the benchmark was done")]
    Stopped,
    /// A figure's tables could not be removed from the server.
    #[error(
        "schema {schema} stays on the server: {error}; remove it with DROP SCHEMA {schema} CASCADE"
    )]
    Left { schema: String, error: sqlx::Error },
}
