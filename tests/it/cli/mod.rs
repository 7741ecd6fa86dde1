//! Commands print what users and scripts expect, and errors say what to do next.

mod archive;
mod doctor;
mod errors;
mod functions;
mod graphs;
pub(crate) mod harness;
mod jobs;
mod schedules;
mod settings;
