//! Chaos finds what is wrong with a job, and benchmarks leave nothing behind.

mod bench;
mod chaos_oracle;
mod chaos_oracle_graphs;
