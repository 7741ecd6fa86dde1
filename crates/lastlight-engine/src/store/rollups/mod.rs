//! Rollups: the hourly sums and histograms of what has ended. Changes no other table, except to mark
//! what is measured; no decision of the workflow depends on them.

mod measurement;
mod sums;

use crate::store::connection::Database;

pub use measurement::Measured;
pub use sums::{BucketRow, JobSums, OctaveRow, PathRollups, RollupKey, RollupTotals, TaskSums};

/// The rollups in a database.
#[derive(Debug, Clone, Copy)]
pub struct Rollups<'a>(&'a Database);

impl Database {
    /// The rollups in a database.
    pub fn rollups(&self) -> Rollups<'_> {
        Rollups(self)
    }
}
