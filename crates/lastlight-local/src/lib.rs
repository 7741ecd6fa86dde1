//! The local cloud: everything that lastlight needs of Azure, on one machine, on loopback.
//!
//! [`LocalCloud`] puts it together; the handler that it starts is the same that Azure starts, and
//! the only difference is its settings.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod api;
pub mod broker;
mod cloud;
pub mod commands;
mod demo;
pub mod host;
pub mod postgres;

pub use api::ApiError;
pub use cloud::{CloudError, CloudOptions, LocalCloud};
pub use commands::Commands;
pub use demo::{DemoError, DemoOptions, DemoReport, PathReport, demo};
pub use postgres::{LocalPostgres, LocalPostgresError, remove_data};
