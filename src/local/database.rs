//! The embedded database: PostgreSQL 17 in this process, reached over loopback like any other.
//!
//! It serves one session at a time, so whoever uses it has a pool of one.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use pglite_oxide::PgliteServer;

/// Why the embedded database did not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the embedded database in {} cannot be started: {detail}; is another lastlight using the folder? --fresh empties \
     it, --database-url uses a PostgreSQL server instead",
    folder.display()
)]
pub struct EmbeddedDatabaseError {
    folder: PathBuf,
    detail: String,
}

/// A running embedded database.
#[derive(Debug)]
pub struct EmbeddedDatabase {
    server: PgliteServer,
}

impl EmbeddedDatabase {
    /// Opens the database in `folder`, making it if it is not there. Takes a second the first time.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedDatabaseError> {
        let folder = folder.to_owned();
        let root = folder.clone();
        let started = tokio::task::spawn_blocking(move || {
            PgliteServer::builder()
                .path(root)
                .tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
                // Its default is off: a kill of this process would lose the last commits.
                .postgres_config("synchronous_commit", "on")
                .start()
        })
        .await;
        match started {
            Ok(Ok(server)) => Ok(Self { server }),
            Ok(Err(error)) => Err(EmbeddedDatabaseError { folder, detail: format!("{error:#}") }),
            Err(error) => Err(EmbeddedDatabaseError { folder, detail: error.to_string() }),
        }
    }

    /// How to reach it.
    pub fn url(&self) -> String {
        self.server.database_url()
    }

    /// Stops it; its clients must be gone.
    pub async fn stop(self) {
        // A client that is not gone would hold it up; the files are as safe as after a kill.
        let stopping = tokio::task::spawn_blocking(move || {
            if let Err(error) = self.server.shutdown() {
                tracing::warn!(error = format!("{error:#}"), "the embedded database did not stop cleanly");
            }
        });
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), stopping).await;
    }
}
