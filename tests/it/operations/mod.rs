//! Counts, metrics, traces and lists of processes say exactly what happened.

mod audit;
mod diagnosis;
mod instances;
mod metrics;
mod prometheus;
mod retention;
mod schedules;
mod spans;
mod traces;
