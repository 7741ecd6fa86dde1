//! Counts, metrics, traces, notifications and lists of processes say exactly what happened.

mod archive;
mod audit;
mod bulk;
mod diagnosis;
mod events;
mod instances;
mod metrics;
mod notifications;
mod prometheus;
mod resubmission;
mod retention;
mod schedules;
mod single_tasks;
mod spans;
mod terms;
mod traces;
