//! The environment of a measurement: a local cloud of its own and, on a server that outlives it, a
//! schema of its own. Both are removed afterwards, however the measurement ended.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{BenchError, facts::Ledger};
use lastlight_local::{CloudOptions, LocalCloud};

/// A request to stop a benchmark: it ends its measurement and cleans up.
#[derive(Debug, Default)]
pub struct Stop {
    asked: watch::Sender<bool>,
    /// The schema of the current measurement on a server.
    schema: Mutex<Option<String>>,
}

impl Stop {
    /// Asks the benchmark to stop; there is no way back.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    /// The schema that remains on the server if the process ends now.
    pub fn leaves(&self) -> Option<String> {
        self.schema.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, schema: Option<String>) {
        *self.schema.lock().unwrap_or_else(PoisonError::into_inner) = schema;
    }

    async fn asked(&self) {
        // The sender lives as long as this value.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }
}

/// A local cloud for one measurement.
pub(super) struct Bed {
    pub cloud: LocalCloud,
    /// The server's counters; `None` on a server of the local cloud's own.
    pub ledger: Option<Ledger>,
    pub schema: String,
}

impl Bed {
    /// Creates a bed, measures on it and removes it. A stop request does not interrupt the start,
    /// which is short: a cloud that is only half started could create its tables after they were
    /// dropped.
    pub(super) async fn lend<T>(
        mut options: CloudOptions,
        stop: &Stop,
        measure: impl AsyncFnOnce(&mut Self) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        // Before the first request to the server without a time limit.
        let server = options.reach_database().await?;
        let schema = format!("bench_{}", Uuid::new_v4().simple());
        options.settings.insert("APP_SCHEMA".to_owned(), schema.clone());
        let ledger = match &server {
            Some(server) => {
                let ledger = Ledger::open(server).await?;
                stop.note(Some(schema.clone()));
                Some(ledger)
            }
            None => None,
        };
        let measured = match LocalCloud::start(options).await {
            Ok(cloud) => {
                let mut bed = Self { cloud, ledger, schema: schema.clone() };
                // A stop request has priority over a finished measurement.
                let measured = tokio::select! {
                    biased;
                    () = stop.asked() => Err(BenchError::Stopped),
                    measured = pin!(measure(&mut bed)) => measured,
                };
                let Self { cloud, ledger, .. } = bed;
                // One of its statements may still be running.
                drop(ledger);
                match (cloud.stop().await, measured) {
                    (Err(error), Ok(_)) => Err(error.into()),
                    (_, measured) => measured,
                }
            }
            Err(error) => Err(error.into()),
        };
        if let Some(server) = server {
            let dropped = match Ledger::open(&server).await {
                Ok(mut ledger) => ledger.drop_schema(&schema).await,
                Err(error) => Err(error),
            };
            dropped.map_err(|error| BenchError::Left { schema, error })?;
            stop.note(None);
        }
        measured
    }
}
