//! lastlight: Job → Stage → Task orchestration for Azure Functions. *The last task turns out the
//! lights.*
//!
//! An app is an [`App`] with its [`job`] types. The other modules are the engine, for the crates of
//! this workspace: what is in them is not promised.
//!
//! The modules, from the top down. A module may use those below it in this list, and none above. A
//! test holds the code to it.
//!
//! | module | what it is for | what it must not know |
//! | --- | --- | --- |
//! | [`server`] | the custom handler as a process | what a request means |
//! | [`functions`] | one file a function: decode what the host sent, call the controller, answer | SQL, queues |
//! | [`workflow`] | the workflow: submit, plan, execute, complete, advance, reconcile | HTTP, which transport it is |
//! | [`store`] | PostgreSQL: everything that is still to do | workflow, queues |
//! | [`transport`] | Storage Queues and Service Bus: send, look, take | workflow, the database |
//! | [`telemetry`] | the log, and spans to a collector | queues, the database |
//! | [`config`] | every setting, parsed and checked once | who reads it |
//! | [`app`] | what an app is made of | how it runs |
//! | [`job`] | job types: the trait, the catalog | queues, the database, the host |
//! | [`invocation`] | the host's payloads in, answers out | jobs, tasks |
//! | [`model`] | ids, statuses and their transitions, messages | everything above |
//! | `failpoint` | where chaos may cut; nothing in the deployed binary | everything |
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
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
pub mod server;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod transport;
#[doc(hidden)]
pub mod workflow;

pub use app::App;
