//! lastlight: Job → Stage → Task orchestration for Azure Functions. *The last task turns out the lights.*
//!
//! The modules, from the top down. A module may use those below it in this list, and none above. A test holds the code to it.
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
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
pub mod config;
pub mod failpoint;
pub mod functions;
pub mod invocation;
pub mod job;
pub mod model;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod workflow;

pub use app::App;
