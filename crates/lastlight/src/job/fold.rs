//! Folding a stage's results into a summary while they stream from the database.

use serde_json::{Value, value::RawValue};

/// Sees each completed task's result once, in no particular order, and ends as the stage's summary.
/// Must keep only what does not grow with the stage.
pub trait Fold: Send {
    /// One completed task's result.
    fn add(&mut self, result: &RawValue);

    /// The summary, for `stage_results`.
    fn finish(self: Box<Self>) -> Value;
}

/// The least that a stage can say: how many results there were, under a name.
#[derive(Debug)]
pub struct CountFold {
    name: &'static str,
    count: u64,
}

impl CountFold {
    /// Counts as `name`, in the plural: "greetings".
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
