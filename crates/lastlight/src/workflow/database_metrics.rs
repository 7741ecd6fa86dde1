//! What the database says of the whole app, for `GET /api/metrics`: the same whichever process
//! asks. It must not know how figures are shown.
//!
//! One connection and a handful of statements, however many scrapers ask this process at once: they
//! take turns. Each part has a time of its own, so that one that hangs costs no other.

use std::time::Duration;

use super::Controller;
use crate::store::{DatabaseError, OpenWork, RollupTotals};

/// What a part may take. Together they are less than a scraper waits, and each is many times what
/// it takes at a million tasks and ten thousand open jobs.
const TOTALS: Duration = Duration::from_millis(700);
const OPEN_WORK: Duration = Duration::from_millis(1000);

/// What the database knows; a part that did not answer in time is absent.
#[derive(Debug, Clone, Default)]
pub struct DatabaseMetrics {
    /// Everything that was ever measured.
    pub totals: Option<RollupTotals>,
    /// What is not over.
    pub open_work: Option<Vec<OpenWork>>,
}

impl Controller {
    /// Asks the database; takes less than 2 s, whether it answers or not.
    pub async fn database_metrics(&self) -> DatabaseMetrics {
        let database = &self.0.database;
        DatabaseMetrics {
            totals: self.part("totals", TOTALS, database.rollup_totals(TOTALS)).await,
            open_work: self.part("open work", OPEN_WORK, database.open_work(OPEN_WORK)).await,
        }
    }

    async fn part<T>(
        &self,
        name: &str,
        within: Duration,
        reading: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Option<T> {
        let in_turn = async {
            // Never closed.
            let _turn = self.0.reading.acquire().await;
            reading.await
        };
        match tokio::time::timeout(within, in_turn).await {
            Ok(Ok(read)) => Some(read),
            Ok(Err(error)) => {
                tracing::debug!(%error, name, "figures could not be read");
                None
            }
            Err(_) => {
                tracing::debug!(name, ?within, "figures were not there in time");
                None
            }
        }
    }
}
