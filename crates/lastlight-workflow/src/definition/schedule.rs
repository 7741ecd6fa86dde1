//! When jobs of a workflow are submitted by themselves.

use serde_json::{Map, Value};

/// Due times at which a job is submitted. They have been checked: the expression fires, and the time zone exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its name in the file, as a node's. Of all schedules of an app it is the one with the workflow's name before:
    /// `workflow.name`.
    pub name: String,
    /// A cron expression of five fields, or a nickname such as `@daily`.
    pub cron: String,
    /// A name of the IANA database.
    pub time_zone: String,
    /// The parameters of each submission, with placeholders of the due time.
    pub parameters: Map<String, Value>,
    /// A due time is submitted up to this number of seconds later.
    pub jitter_seconds: u32,
    /// What happens while a job of an earlier run is not over.
    pub overlap: Overlap,
    /// What happens to due times that passed while no process ran.
    pub catch_up: CatchUp,
    /// Maximum number of due times that are made up for, and that wait.
    pub catch_up_limit: u16,
}

/// What happens at a due time while a job of an earlier run is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// It waits.
    Queue,
    /// Its job is submitted all the same.
    Allow,
}

/// What happens to due times that passed while no process ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// They are missed.
    None,
    /// The last one is made up for.
    Last,
    /// The last ones are made up for, the oldest first.
    All,
}
