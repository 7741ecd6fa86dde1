//! Benchmarks on the local cloud: the real handler as a process of its own, real wire protocols, a
//! fresh local cloud for every measurement. They measure and print; nothing here judges the
//! results.

mod bed;
mod facts;
mod fanout;
mod progress;
mod reads;
mod run;
mod workers;
mod workflows;
mod years;

pub use bed::Stop;
pub(crate) use facts::peak_memory_mib;
pub use fanout::{FanoutLeg, FanoutOptions, FanoutReport, SendWay, bench_fanout};
pub use reads::{ReadReport, ReadsOptions, Stored, bench_reads};
pub use run::{RunOptions, RunReport, Sizes, bench_run};
pub use workers::{
    ProcessReport, StartReport, WaitingReport, WaitsAt, WorkersOptions, bench_process, bench_start,
    bench_waiting,
};
pub use workflows::{
    ChainReport, FileReport, GatesReport, WorkflowsOptions, bench_chain, bench_file, bench_gates,
};
pub use years::{PurgeReport, SizeReport, YearsOptions, bench_purge, bench_sizes};

use crate::worker::WorkerError;
use lastlight_local::{ApiError, CloudError};

/// Why a benchmark has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The local cloud did not start.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The API did not answer as it should.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A query of the database failed.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The worker cannot be made.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The job did not finish.
    #[error("the job is {status} after {seconds:.0} s: {detail}")]
    Job {
        status: String,
        /// Seconds since the job was submitted.
        seconds: f64,
        /// The reason, or the progress of the job.
        detail: String,
    },
    /// The counters of a server are measured.
    #[error("this is measured by the counters of a server: name one with --database-url")]
    NeedsServer,
    /// A worker that a command starts does not ask for tasks.
    #[error("no worker asked for tasks: the command was {0:?}; its output says why")]
    NoWorker(String),
    /// A folder cannot be written.
    #[error("the workflow of the benchmark cannot be written: {0}")]
    Folder(std::io::Error),
    /// The benchmark was stopped.
    #[error("stopped before the benchmark was done")]
    Stopped,
    /// The tables of a measurement could not be removed from the server.
    #[error(
        "schema {schema} stays on the server: {error}; remove it with DROP SCHEMA {schema} CASCADE"
    )]
    Left { schema: String, error: sqlx::Error },
}
