//! The embedded database: PostgreSQL 17 in this process, reached over a Unix socket.
//!
//! It serves one session at a time, so its clients need a connection pool of size 1.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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
    socket: SocketFolder,
}

/// A folder that only its owner may access, removed on drop. It is not in the data folder, because
/// the path of a socket has at most 107 bytes.
#[derive(Debug)]
struct SocketFolder(PathBuf);

impl SocketFolder {
    fn new() -> io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("lastlight-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl EmbeddedDatabase {
    /// Opens the database in `folder`, or creates it, which takes about a second.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedDatabaseError> {
        let folder = folder.to_owned();
        let failed = |detail: String| EmbeddedDatabaseError { folder: folder.clone(), detail };
        let socket = SocketFolder::new().map_err(|error| {
            failed(format!("the folder for its socket cannot be created: {error}"))
        })?;
        let (root, path) = (folder.clone(), socket.0.join(".s.PGSQL.5432"));
        let started = tokio::task::spawn_blocking(move || {
            PgliteServer::builder()
                .path(root)
                // Not TCP: answers are sent in small pieces, and each would cost 40 ms for a
                // delayed acknowledgement.
                .unix(path)
                // The default is off: if this process were killed, the last commits would be lost.
                .postgres_config("synchronous_commit", "on")
                .start()
        })
        .await;
        match started {
            Ok(Ok(server)) => Ok(Self { server, socket }),
            Ok(Err(error)) => Err(failed(format!("{error:#}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The connection URL.
    pub fn url(&self) -> String {
        let folder = self.socket.0.to_string_lossy();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgresql://postgres@localhost:5432/postgres?host={folder}&sslmode=disable")
    }

    /// Stops the database; its clients must have disconnected.
    pub async fn stop(self) {
        // A connected client would block the shutdown, hence the timeout; the files are as safe as
        // after a kill.
        let Self { server, socket } = self;
        let stopping = tokio::task::spawn_blocking(move || {
            if let Err(error) = server.shutdown() {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the embedded database did not stop cleanly"
                );
            }
        });
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), stopping).await;
        drop(socket);
    }
}
