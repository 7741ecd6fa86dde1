//! The local cloud: everything that lastlight needs from Azure, on the loopback interface of one
//! machine.
//!
//! [`LocalCloud`] starts all parts. The handler is the same one that Azure starts; only its
//! settings differ.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod broker;
mod cloud;
pub mod commands;
mod demo;
pub mod host;
mod new;
pub mod postgres;
mod sample;
mod worker;
mod workflow;

pub use api::ApiError;
pub use cloud::{CloudError, CloudOptions, LocalCloud};
pub use commands::Commands;
pub use demo::{DemoError, DemoJob, DemoOptions, DemoReport, PathReport, demo};
pub use postgres::{LocalPostgres, LocalPostgresError, remove_data};
pub use worker::LocalWorker;
