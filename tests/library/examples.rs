//! The examples. Their `main` is not called.
#![allow(dead_code, unreachable_pub)]

#[path = "../../examples/checkpoints.rs"]
pub mod checkpoints;
#[path = "../../examples/coarse_messages.rs"]
pub mod coarse_messages;
#[path = "../../examples/contexts.rs"]
pub mod contexts;
#[path = "../../examples/graph.rs"]
pub mod graph;
#[path = "../../examples/progress.rs"]
pub mod progress;
#[path = "../../examples/pyramid.rs"]
pub mod pyramid;
#[path = "../../examples/retries.rs"]
pub mod retries;
// It has its own tests.
#[path = "../../examples/testing.rs"]
mod testing;
#[path = "../../examples/tolerated_failures.rs"]
pub mod tolerated_failures;
