//! Folding a stage's results into a summary while they stream from the database.

use serde_json::{Value, value::RawValue};

/// Receives each completed task's result once, in no particular order, and produces the stage's
/// summary. Its size must not grow with the number of tasks.
pub trait Fold: Send {
    /// Adds one completed task's result.
    fn add(&mut self, result: &RawValue);

    /// Returns the summary, for `stage_results`.
    fn finish(self: Box<Self>) -> Value;
}

/// The minimal summary: the number of results, under a name.
#[derive(Debug)]
pub struct CountFold {
    name: &'static str,
    count: u64,
}

impl CountFold {
    /// Creates a fold whose summary is `{name: count}`; `name` is a plural such as "greetings".
    pub fn new(name: &'static str) -> Self {
        Self { name, count: 0 }
    }
}

impl Fold for CountFold {
    fn add(&mut self, _result: &RawValue) {
        self.count += 1;
    }

    fn finish(self: Box<Self>) -> Value {
        serde_json::json!({ self.name: self.count })
    }
}
