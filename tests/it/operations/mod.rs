//! Counts, metrics, traces, notifications and lists of processes say exactly what happened.

mod audit;
mod diagnosis;
mod instances;
mod metrics;
mod notifications;
mod prometheus;
mod retention;
mod spans;
mod traces;
