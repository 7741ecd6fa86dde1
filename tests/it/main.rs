//! What users rely on, by capability. Every test has a database of its own on a real PostgreSQL; `scripts/test` starts
//! it, and Azurite. A missing service fails a test.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

pub use lastlight::model;

mod audit;
mod back_pressure;
mod bad_messages;
mod bench;
mod bounds;
mod broker_engines;
mod chaos_oracle;
mod cli;
mod cli_doctor;
mod cli_errors;
mod cli_harness;
mod coarse_messages;
mod control;
mod dashboard;
mod diagnosis;
mod fixtures;
mod function_keys;
mod harness;
mod host_payloads;
mod ids;
mod instances;
mod interleavings;
mod job_types;
mod late_comers;
mod least_privilege;
mod links;
mod lists;
mod local_host;
mod metrics;
mod openapi;
mod poison;
mod preflight;
mod probe;
mod prometheus;
mod recovery;
mod redelivery;
mod retries;
mod schema_admin;
mod secrets;
mod sender_service_bus;
mod sender_storage_queue;
mod service_bus_endpoint;
mod set_aside;
mod settings;
mod spans;
mod sql;
mod status;
mod storage_queue_conformance;
mod submit;
mod tls;
mod traces;
mod tutorial;
mod workflow;
