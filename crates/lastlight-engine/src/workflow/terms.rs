//! Terms of jobs that a version without terms stored: before an upgrade, or during it. Each sweep writes
//! those of some jobs, until there are none without.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{Controller, ControllerError, ReconcileReport};
use crate::model::{JobId, Labels, Term};

/// Jobs per statement.
const JOBS_AT_ONCE: i64 = 100;

/// The longest time that a sweep spends on this.
const LONGEST: Duration = Duration::from_secs(5);

impl Controller {
    /// Writes the terms of jobs that have none, the newest first, until all have or the time has passed.
    pub(super) async fn add_missing_terms(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let until = Instant::now() + within.min(LONGEST);
        while Instant::now() < until {
            let jobs = self.0.database.jobs().without_terms(JOBS_AT_ONCE).await?;
            let terms: Vec<(JobId, Vec<Term>)> = jobs
                .iter()
                .map(|job| {
                    // A job whose parameters cannot be read is found by its type.
                    let parameters: Map<String, Value> =
                        serde_json::from_str(job.parameters.get()).unwrap_or_default();
                    (job.job_id, Term::of_job(&job.job_type, &Labels::default(), &parameters))
                })
                .collect();
            // The others are locked, by another sweep perhaps.
            let added = self.0.database.jobs().add_terms(&terms).await?;
            report.jobs_made_searchable += added;
            if added < JOBS_AT_ONCE.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }
}
