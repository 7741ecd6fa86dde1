//! The laboratory: `chaos`, which injects faults and checks that no work is lost, done twice or
//! stuck, and benchmarks. Both run on the local cloud, against the real handler.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod bench;
pub mod chaos;
mod commands;
mod worker;

pub use commands::Commands;
