//! Every job ends as its parameters say, whatever happens to its messages, its processes and its
//! handlers: nothing is lost, done twice, out of order or stuck.

mod bad_messages;
mod both_paths;
mod coarse_messages;
mod contexts;
mod control;
mod faulty_plans;
mod graph_children;
mod graph_control;
mod graph_gates;
mod graph_recovery;
mod graphs;
mod ids;
mod interleavings;
mod large_results;
mod long_tasks;
mod orphans;
mod panicking_job_types;
mod poison;
mod preflight;
mod recovery;
mod redelivery;
mod retries;
mod stale_actors;
mod typed_graphs;
