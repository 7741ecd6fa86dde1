//! lastlight: Job → Stage → Task orchestration for Azure Functions. *The last task turns out the lights.*
//!
//! The map of the house. Arrows run one way: a room may use those below it in this list, and none above. A test holds the
//! code to it.
//!
//! | room | what it is for | what it must not know |
//! | --- | --- | --- |
//! | `local` | the local cloud: a Functions host, two queue services, an embedded database; benchmarks and chaos | how the workflow does what it does |
//! | [`server`] | the custom handler as a process | what a request means |
//! | [`doctor`] | examines settings, files, database and queues for a person; changes nothing | HTTP, workflow |
//! | [`triggers`] | one file a function folder: decode what the host sent, call the controller, answer | SQL, queues |
//! | [`controller`] | the workflow: submit, plan, execute, complete, advance, reconcile | HTTP, which transport it is |
//! | [`repositories`] | PostgreSQL, Storage Queues, Service Bus: store and send | workflow |
//! | `client` | the HTTP API as the command line uses it: shapes, keys, errors for people | every room that answers |
//! | [`telemetry`] | the log, and spans to a collector | queues, the database |
//! | [`config`] | every setting, parsed and checked once | who reads it |
//! | [`jobs`] | job types: the trait, the catalog, the business logic | queues, the database, the host |
//! | [`invocation`] | the host's payloads in, answers out | jobs, tasks |
//! | [`model`] | ids, statuses and their transitions, messages | everything above |
//! | `failpoint` | where chaos may cut; nothing in the deployed binary | everything |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "local")]
pub mod client;
pub mod config;
pub mod controller;
pub mod doctor;
mod failpoint;
pub mod invocation;
pub mod jobs;
#[cfg(feature = "local")]
pub mod local;
pub mod model;
pub mod repositories;
pub mod server;
pub mod telemetry;
pub mod triggers;
