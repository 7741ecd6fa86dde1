//! Adds what is finished to the rollups, which the comparison and the metrics read.

use std::time::{Duration, Instant};

use super::{Controller, ControllerError};
use crate::store::{Database, Measured};

/// Maximum number of stages or jobs per round of measuring.
const AT_ONCE: i64 = 500;

impl Controller {
    /// Adds finished stages and jobs to the rollups until there are none left or the time has
    /// passed; a stage that was begun is completed. Several instances may do so at once.
    ///
    /// # Errors
    /// The database failed. What was added before stays added.
    pub async fn measure(&self, within: Duration) -> Result<(), ControllerError> {
        measure_up_to(&self.0.database, i64::MAX, within).await
    }
}

/// The same, except for stages with more tasks than `largest`.
pub(crate) async fn measure_up_to(
    database: &Database,
    largest: i64,
    within: Duration,
) -> Result<(), ControllerError> {
    let began = Instant::now();
    while began.elapsed() < within
        && database.rollups().measure_jobs(AT_ONCE).await? == AT_ONCE.unsigned_abs()
    {}
    loop {
        let keys = database.rollups().stages_to_measure(AT_ONCE, largest).await?;
        let mut measured = 0;
        for key in &keys {
            if began.elapsed() >= within {
                return Ok(());
            }
            measured += i64::from(database.rollups().measure_stage(key).await? == Measured::Now);
        }
        // Stages that other processes are measuring are left to them.
        if measured < AT_ONCE {
            return Ok(());
        }
    }
}
