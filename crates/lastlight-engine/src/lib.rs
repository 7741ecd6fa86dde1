//! lastlight: Job → Stage → Task orchestration for Azure Functions.
//!
//! An app is an [`App`] with its [`job`] types. The other modules are the engine; they are public
//! for the crates of this workspace only and are not a stable API.
//!
//! The requests and answers of the HTTP API, with their ids, statuses and times, are in the crate
//! [`lastlight_api`]; [`model`] exports what it shares with the engine.
//!
//! The modules, from top to bottom: a module may use modules below it in this table, but none above
//! it. A test enforces this.
//!
//! | module | purpose | must not know |
//! | --- | --- | --- |
//! | [`server`] | the custom handler as a process | what a request means |
//! | [`functions`] | one file per function: decode the host's request, call the controller, respond | SQL, queues |
//! | [`queries`] | the reads: status, lists, audit, comparison, health, diagnosis | HTTP |
//! | [`workflow`] | the workflow: submit, plan, execute, complete, advance, reconcile | HTTP, which transport is used |
//! | [`store`] | PostgreSQL: all pending work | workflow, queues |
//! | [`app`] | the definition of an app | how it runs |
//! | [`workflow_files`] | workflow files as job types | how stages are stored or started |
//! | [`builtin`] | handlers and validators that every app has | workflow, the database |
//! | [`archive`] | the archive of jobs: write, list, read | workflow, the database |
//! | [`transport`] | Storage Queues and Service Bus: send, peek, receive; blobs | workflow, the database |
//! | [`telemetry`] | the log, and spans to a collector | queues, the database |
//! | [`config`] | every setting, parsed and checked once | its readers |
//! | [`job`] | job types: the trait, the catalog | queues, the database, the host |
//! | [`invocation`] | decoding the host's payloads, encoding responses | jobs, tasks |
//! | [`model`] | ids, statuses and their transitions, messages | the modules above |
//! | `failpoint` | fail points for chaos runs; empty in the deployed binary | everything |
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
#[doc(hidden)]
pub mod archive;
#[doc(hidden)]
pub mod builtin;
pub mod config;
#[doc(hidden)]
pub mod failpoint;
#[doc(hidden)]
pub mod functions;
#[doc(hidden)]
pub mod invocation;
pub mod job;
pub mod model;
#[doc(hidden)]
pub mod queries;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod transport;
#[doc(hidden)]
pub mod workflow;
#[doc(hidden)]
pub mod workflow_files;

pub use app::App;
