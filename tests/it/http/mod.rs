//! Requests of clients and of the host get the documented answers, whatever they contain.

mod addresses;
mod bounds;
mod dashboard;
mod find;
mod fixtures;
mod host_payloads;
mod job_types;
mod labels;
mod lists;
mod openapi;
mod schema_admin;
mod status;
mod submit;
