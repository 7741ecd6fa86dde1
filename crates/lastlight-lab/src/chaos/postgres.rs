//! A PostgreSQL server that can be restarted and crashed: a cluster in a temporary folder on a free
//! port of loopback, with fsync on. It knows nothing of jobs.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    str::FromStr,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::process::Command;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The PostgreSQL programs were not found.
    #[error(
        "no PostgreSQL was found {looked}: give the folder with initdb, postgres and pg_ctl with --postgres-bin, or run \
         scripts/chaos, which installs one"
    )]
    NotFound {
        /// Where they were searched.
        looked: String,
    },
    /// A program could not be run, or failed.
    #[error("{program} failed: {detail}")]
    Program { program: &'static str, detail: String },
    /// The temporary folder or a port could not be used.
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
    binaries: PathBuf,
    data: PathBuf,
    log: PathBuf,
    /// The user that the server runs as if this process runs as root, which PostgreSQL refuses.
    user: Option<User>,
    port: u16,
}

/// Maximum number of sessions of the server, including those reserved for superusers.
pub(super) const CONNECTIONS: usize = 60;

/// The folder with `initdb`, `postgres` and `pg_ctl`: `given`, or the one in PATH, or the newest of
/// Debian's folders.
///
/// # Errors
/// No folder has all three programs.
pub fn find_binaries(given: Option<&Path>) -> Result<PathBuf, PostgresError> {
    let has_all = |folder: &PathBuf| {
        ["initdb", "postgres", "pg_ctl"].iter().all(|name| folder.join(name).is_file())
    };
    if let Some(given) = given {
        let given = given.to_owned();
        let looked = format!("in {}", given.display());
        return Some(given).filter(has_all).ok_or(PostgresError::NotFound { looked });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // PATH may have wrappers of these programs; their real folder has all three.
    let in_path = std::env::split_paths(&path)
        .filter_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned()));
    let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    in_path.chain(debian.into_iter().rev().map(|(_, folder)| folder)).find(has_all).ok_or_else(
        || PostgresError::NotFound {
            looked: "in PATH and in /usr/lib/postgresql/*/bin".to_owned(),
        },
    )
}

impl Cluster {
    /// Creates a cluster below `folder` and starts it.
    ///
    /// # Errors
    /// `initdb` or the server failed.
    pub async fn start(binaries: PathBuf, folder: &Path) -> Result<Self, PostgresError> {
        let root = folder.join("postgres");
        std::fs::create_dir_all(&root)?;
        let user =
            if rustix::process::getuid().is_root() { Some(unprivileged_user()?) } else { None };
        if let Some(user) = &user {
            let owner = format!("{}:{}", user.id, user.group);
            let chown = Command::new("chown").arg(owner).arg(&root).output().await;
            succeeded("chown", chown)?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let cluster = Self {
            binaries,
            data: root.join("cluster"),
            log: root.join("postgres.log"),
            user,
            port,
        };
        let initdb = cluster
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&cluster.data)
            .output()
            .await;
        succeeded("initdb", initdb)?;
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
        let output = self
            .command("pg_ctl")
            .args(["-w", "-t", "60", "-s", "-D"])
            .arg(&self.data)
            .arg("-l")
            .arg(&self.log)
            .args(arguments)
            .stdin(Stdio::null())
            // The server would inherit a pipe and keep it open.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        let failed = |detail: String| PostgresError::Program { program: "pg_ctl", detail };
        let status = output.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(10).collect();
            return Err(failed(format!(
                "{arguments:?}: {status}; the last lines of its log, newest first: {lines:#?}"
            )));
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        let mut command = match &self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={}", user.id), format!("--regid={}", user.group)])
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
        };
        // A folder that the other user may enter.
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
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

#[derive(Debug)]
struct User {
    id: String,
    group: String,
}

/// PostgreSQL's own user if it exists, otherwise `nobody`.
fn unprivileged_user() -> Result<User, PostgresError> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        Some(User { id: fields.nth(1)?.to_owned(), group: fields.next()?.to_owned() })
    };
    find("postgres").or_else(|| find("nobody")).ok_or_else(|| PostgresError::Program {
        program: "initdb",
        detail: "PostgreSQL does not run as root, and there is no user postgres or nobody"
            .to_owned(),
    })
}

fn succeeded(program: &'static str, output: io::Result<Output>) -> Result<(), PostgresError> {
    let failed = |detail: String| PostgresError::Program { program, detail };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_postgres_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = find_binaries(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("scripts/chaos") && error.contains("--postgres-bin"), "{error}");
    }
}
