//! Counts, metrics, traces and lists of processes say exactly what happened.

mod audit;
mod diagnosis;
mod events;
mod instances;
mod metrics;
mod prometheus;
mod resubmission;
mod retention;
mod schedules;
mod spans;
mod terms;
mod traces;
