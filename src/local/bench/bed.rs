//! Where a figure is taken: a local cloud of its own and, on a server that outlives it, a schema of its own.

use uuid::Uuid;

use super::{BenchError, facts::Ledger};
use crate::local::{CloudOptions, LocalCloud};

/// A local cloud for one figure. Ends with [`Bed::stop`]; dropped before that, it leaves its schema on the server.
pub(super) struct Bed {
    pub cloud: LocalCloud,
    /// The server's books; none on the embedded database.
    pub ledger: Option<Ledger>,
    pub schema: String,
}

impl Bed {
    pub(super) async fn start(mut options: CloudOptions) -> Result<Self, BenchError> {
        let schema = format!("bench_{}", Uuid::new_v4().simple());
        options.settings.insert("APP_SCHEMA".to_owned(), schema.clone());
        let ledger = match &options.database_url {
            Some(url) => Some(Ledger::open(url).await?),
            None => None,
        };
        Ok(Self {
            cloud: LocalCloud::start(options).await?,
            ledger,
            schema,
        })
    }

    /// Stops the cloud and removes its tables.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        self.cloud.stop().await?;
        if let Some(mut ledger) = self.ledger {
            ledger.drop_schema(&self.schema).await?;
        }
        Ok(())
    }
}
