//! The embedded database: PostgreSQL 17 in this process, reached over a socket like any other.
//!
//! It serves one session at a time, so whoever uses it has a pool of one.

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

/// A folder of its owner's alone, gone with this value. Not in the data folder: a socket's path has
/// at most 107 bytes.
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
    /// Opens the database in `folder`, making it if it is not there. Takes a second the first time.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedDatabaseError> {
        let folder = folder.to_owned();
        let failed = |detail: String| EmbeddedDatabaseError { folder: folder.clone(), detail };
        let socket = SocketFolder::new()
            .map_err(|error| failed(format!("no folder for its socket: {error}")))?;
        let (root, path) = (folder.clone(), socket.0.join(".s.PGSQL.5432"));
        let started = tokio::task::spawn_blocking(move || {
            PgliteServer::builder()
                .path(root)
                // Not TCP: its answers come in small pieces, and a delayed acknowledgement would
                // cost 40 ms each.
                .unix(path)
                // Its default is off: a kill of this process would lose the last commits.
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

    /// How to reach it.
    pub fn url(&self) -> String {
        let folder = self.socket.0.to_string_lossy();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgresql://postgres@localhost:5432/postgres?host={folder}&sslmode=disable")
    }

    /// Stops it; its clients must be gone.
    pub async fn stop(self) {
        // A client that is not gone would hold it up; the files are as safe as after a kill.
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
