//! Folding a stage's results into a summary while they stream from the database.

use serde_json::value::RawValue;

/// Receives each completed task's result once, in no particular order, and produces the stage's
/// summary. Its size must not grow with the number of tasks.
pub trait Fold: Send {
    /// Adds one completed task's result.
    ///
    /// # Errors
    /// The result cannot be read.
    fn add(&mut self, result: &RawValue) -> Result<(), String>;

    /// Returns the summary, for `stage_results`.
    ///
    /// # Errors
    /// The summary cannot be written.
    fn finish(self: Box<Self>) -> Result<Box<RawValue>, String>;
}
