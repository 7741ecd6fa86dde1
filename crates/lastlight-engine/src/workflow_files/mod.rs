//! Workflow files as job types: each node is a stage, its paths and templates make the tasks'
//! parameters, and its handlers run them. The format itself is the crate [`lastlight_workflow`].
//!
//! Nothing here knows how stages are stored or started.

mod answers;
mod decide;
mod folder;
mod job_type;
mod plan;
mod stages;

pub use crate::job::PERMANENT;
pub use folder::load;

/// The permanent failure of a task whose parameters could not be made: its only parameter.
const UNMADE: &str = "$error";
