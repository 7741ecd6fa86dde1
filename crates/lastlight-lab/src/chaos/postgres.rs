//! A PostgreSQL server that can be restarted and crashed: a cluster in a temporary folder on a free
//! port of loopback, with fsync on. It knows nothing of jobs.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
};

use lastlight_local::postgres::{PostgresPrograms, ProgramError};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No programs, or one of them failed.
    #[error("{0}; --postgres-bin names a folder, and scripts/chaos brings the programs")]
    Program(#[from] ProgramError),
    /// The temporary folder or a port.
    #[error("the cluster's folder: {0}")]
    Io(#[from] io::Error),
    /// A statement of the maintenance connection failed.
    #[error("the cluster: {0}")]
    Database(#[from] sqlx::Error),
}

/// How the server is stopped before it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Sessions are terminated, and a checkpoint is written.
    Fast,
    /// Like a crash: nothing is written, and the next start recovers.
    Immediate,
}

impl Restart {
    fn mode(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A running server, which is stopped when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PostgresPrograms,
    data: PathBuf,
    log: String,
    port: u16,
}

/// Maximum number of sessions of the server, including those reserved for superusers.
pub(super) const CONNECTIONS: usize = 60;

impl Cluster {
    /// Creates a cluster below `folder` and starts it.
    ///
    /// # Errors
    /// `initdb` or the server failed.
    pub async fn start(programs: PostgresPrograms, folder: &Path) -> Result<Self, PostgresError> {
        let root = folder.join("postgres");
        std::fs::create_dir_all(&root)?;
        programs.own(&root).await?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = root.join("postgres.log").to_string_lossy().into_owned();
        let cluster = Self { programs, data: root.join("cluster"), log, port };
        cluster.programs.init(&cluster.data).await?;
        let settings = [
            "-c listen_addresses=127.0.0.1".to_owned(),
            format!("-p {port}"),
            format!("-k {}", root.display()),
            format!("-c max_connections={CONNECTIONS}"),
            "-c shared_buffers=128MB -c fsync=on -c synchronous_commit=on".to_owned(),
            "-c autovacuum_naptime=5s -c log_min_messages=fatal".to_owned(),
        ];
        // A restart uses the same options.
        cluster.control(&["start", "-o", &settings.join(" ")]).await?;
        Ok(cluster)
    }

    /// Restarts the server and returns when it accepts connections again.
    ///
    /// # Errors
    /// The server did not start.
    pub async fn restart(&self, how: Restart) -> Result<(), PostgresError> {
        self.control(&["restart", "-m", how.mode()]).await
    }

    /// Creates a database and returns its URL. `name`: letters, digits and `_`.
    ///
    /// # Errors
    /// The server refused.
    pub async fn create_database(&self, name: &str) -> Result<String, PostgresError> {
        let options = PgConnectOptions::from_str(&self.url("postgres"))?;
        let mut connection = PgConnection::connect_with(&options).await?;
        // The name is generated here, and `CREATE DATABASE` takes no parameters.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(self.url(name))
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    async fn control(&self, arguments: &[&str]) -> Result<(), PostgresError> {
        let arguments: Vec<&str> = ["-l", &self.log].iter().chain(arguments).copied().collect();
        self.programs.control(&self.data, &arguments).await.map_err(|error| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(10).collect();
            error.with_log(&last.into_iter().rev().collect::<Vec<_>>().join("\n")).into()
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.programs.command("pg_ctl");
        let stop = stop
            .as_std_mut()
            .args(["-w", "-s", "-m", "immediate", "-D"])
            .arg(&self.data)
            .arg("stop")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Err(error) = stop.status() {
            tracing::warn!(%error, "PostgreSQL could not be stopped");
        }
    }
}
