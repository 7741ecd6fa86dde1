//! The local cloud: everything that lastlight needs of Azure, on one machine, on loopback.
//!
//! [`LocalCloud`] puts it together; the handler that it starts is the same that Azure starts, and the only difference
//! is its settings.

mod api;
mod bench;
pub mod broker;
pub mod chaos;
mod cloud;
mod database;
mod demo;
pub mod host;

pub use api::ApiError;
pub use bench::{
    BenchError, FanoutLeg, FanoutOptions, FanoutReport, ReadReport, ReadsOptions, RunOptions, RunReport,
    SendWay, Sizes, Stop as BenchStop, Stored, bench_fanout, bench_reads, bench_run,
};
pub use cloud::{CloudError, CloudOptions, LocalCloud};
pub use database::{EmbeddedDatabase, EmbeddedDatabaseError};
pub use demo::{DemoError, DemoOptions, DemoReport, PathReport, demo};
