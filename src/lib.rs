//! lastlight: Job → Stage → Task orchestration for Azure Functions. *The last task turns out the lights.*
//!
//! The map of the house. Arrows run one way, from the top of this list to its bottom:
//!
//! | room | what it is for | what it must not know |
//! | --- | --- | --- |
//! | [`triggers`] | one file a function folder: decode what the host sent, call the controller, answer | SQL, queues |
//! | [`invocation`] | the host's payloads in, answers out | jobs, tasks |
//! | [`controller`] | the workflow: submit, plan, execute, complete, advance, reconcile | HTTP, which transport it is |
//! | [`jobs`] | job types: the trait, the catalog, the business logic | queues, the database, the host |
//! | [`repositories`] | PostgreSQL, Storage Queues, Service Bus: store and send | workflow |
//! | [`model`] | ids, statuses and their transitions, messages | everything above |
//! | [`config`] | every setting, parsed and checked once | everything but [`model`] |
//! | [`doctor`] | examines settings, files, database and queues for a person; changes nothing | HTTP, workflow |
//! | [`telemetry`] | the log, and spans to a collector | jobs, queues, the database |
//! | [`server`] | the custom handler as a process | what a request means |
//! | `client` | the HTTP API as the command line uses it: shapes, keys, errors for people | every room that answers |
//! | `local` | the local cloud: a Functions host, two queue services, an embedded database; and chaos | the rooms above |
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
