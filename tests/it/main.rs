//! The behaviour that users rely on, by capability. Every test has its own database on a real
//! PostgreSQL, which `scripts/test` starts together with Azurite. A missing service fails a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cli;
mod docs;
mod harness;
mod http;
mod lab;
mod local;
mod operations;
mod security;
mod store;
mod transports;
mod workers;
mod workflow;
mod workflow_files;
