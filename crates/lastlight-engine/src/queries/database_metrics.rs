//! Metrics of the whole app from the database, for `GET /api/metrics`: the same from every process.
//! Must not know how metrics are presented.
//!
//! One connection and a handful of statements, however many scrapers ask this process at once: they
//! take turns. Each part has its own timeout, so that one that hangs does not cost the others.

use std::time::Duration;

use super::Queries;
use crate::store::DatabaseError;
pub use crate::store::{OctaveRow, OpenWork, PoolUse, RollupKey, RollupTotals, TaskSums};

/// The timeout of each part. Together they are shorter than a scraper's timeout, and each is many
/// times what the part takes with a million tasks and ten thousand open jobs.
const TOTALS: Duration = Duration::from_millis(700);
const OPEN_WORK: Duration = Duration::from_millis(1000);

/// Metrics from the database; a part that did not arrive in time is `None`.
#[derive(Debug, Clone, Default)]
pub struct DatabaseMetrics {
    /// Totals of everything that was ever measured.
    pub totals: Option<RollupTotals>,
    /// Jobs that are not finished.
    pub open_work: Option<Vec<OpenWork>>,
}

impl Queries {
    /// Queries the database; takes less than 2 s, whether it responds or not.
    pub async fn database_metrics(&self) -> DatabaseMetrics {
        let database = &self.0.database;
        DatabaseMetrics {
            totals: self.part("totals", TOTALS, database.rollups().totals(TOTALS)).await,
            open_work: self
                .part("open work", OPEN_WORK, database.diagnostics().open_work(OPEN_WORK))
                .await,
        }
    }

    async fn part<T>(
        &self,
        name: &str,
        within: Duration,
        reading: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Option<T> {
        let in_turn = async {
            // The semaphore is never closed.
            let _turn = self.0.reading.acquire().await;
            reading.await
        };
        match tokio::time::timeout(within, in_turn).await {
            Ok(Ok(read)) => Some(read),
            Ok(Err(error)) => {
                tracing::debug!(%error, name, "metrics could not be read");
                None
            }
            Err(_) => {
                tracing::debug!(name, ?within, "metrics were not read in time");
                None
            }
        }
    }
}
