//! A PostgreSQL server of the local cloud's own: programs of this machine or downloaded ones, a
//! cluster in the data folder, a Unix socket that this user alone can reach. Knows nothing of jobs.

mod download;
mod programs;

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::process::{Child, ChildStdin, Command};

pub use programs::{DatabaseUser, PostgresPrograms, ProgramError};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalPostgresError {
    /// There are no programs, or one of them failed.
    #[error("{0}; --database-url uses a PostgreSQL server of yours instead")]
    Program(#[from] ProgramError),
    /// The folder cannot be used.
    #[error("the database's folder {}: {error}", folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    /// The folder has files of another program: of an earlier version of lastlight, for one.
    #[error(
        "the folder {} holds something other than a PostgreSQL cluster of lastlight, as earlier versions left it: --fresh \
         empties the data folder, --data uses another one",
        folder.display()
    )]
    OtherFiles { folder: PathBuf },
    /// The cluster was made by another version of PostgreSQL.
    #[error(
        "the database in {} was made by PostgreSQL {found}, and the programs in {} are version {programs}: --fresh empties \
         the folder, or put the programs of version {found} on the PATH",
        folder.display(), binaries.display()
    )]
    OtherVersion { folder: PathBuf, found: String, binaries: PathBuf, programs: String },
}

/// A running server. It ends with this value, and with this process, however that ends.
#[derive(Debug)]
pub struct LocalPostgres {
    /// Stops the server once its standard input is closed, which the end of this process does too.
    supervisor: Child,
    lifeline: ChildStdin,
    socket: SocketFolder,
}

/// Sessions: the handlers' pools, the sweep and a few for operators.
const CONNECTIONS: u16 = 100;

/// How long the server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads until standard input ends, then stops the server.
const SUPERVISE: &str = "cat >/dev/null; exec \"$@\"";

impl LocalPostgres {
    /// Starts the server on the cluster in `folder`, which is created first if it is missing: this
    /// takes one or two seconds. Programs that are not on this machine are downloaded once.
    ///
    /// # Errors
    /// The programs are missing, or the folder cannot be used.
    pub async fn start(folder: &Path) -> Result<Self, LocalPostgresError> {
        let programs = PostgresPrograms::find_or_download().await?;
        let in_folder = |error| LocalPostgresError::Folder { folder: folder.to_owned(), error };
        if has_other_files(folder) {
            return Err(LocalPostgresError::OtherFiles { folder: folder.to_owned() });
        }
        let root = root_folder(folder, programs.user()).await.map_err(in_folder)?;
        let cluster = root.join("cluster");
        if cluster.is_dir() {
            check_version(&cluster, &programs)?;
            // A server that outlived its local cloud holds the cluster; with none, this fails and
            // nothing is lost.
            let _ = programs.control(&cluster, &["-m", "fast", "stop"]).await;
        } else {
            make_cluster(&cluster, &programs).await?;
        }
        let socket = SocketFolder::new().map_err(in_folder)?;
        programs.own(&socket.0).await?;
        // Before the server: so nothing can come between that leaves it behind.
        let mut supervisor = supervisor(&programs, &cluster).map_err(in_folder)?;
        let lifeline = supervisor
            .stdin
            .take()
            .ok_or_else(|| in_folder(io::Error::other("its supervisor has no standard input")))?;
        let server = Self { supervisor, lifeline, socket };
        let options = format!(
            "-c listen_addresses= -k {} -c max_connections={CONNECTIONS} -c shared_buffers=128MB",
            server.socket.0.display()
        );
        let log = root.join("postgres.log");
        let log = log.to_string_lossy();
        programs.control(&cluster, &["-l", &log, "-o", &options, "start"]).await.map_err(
            |error| {
                let said = fs::read_to_string(&*log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                error.with_log(&last.into_iter().rev().collect::<Vec<_>>().join("\n"))
            },
        )?;
        Ok(server)
    }

    /// How to reach it.
    pub fn url(&self) -> String {
        let folder = self.socket.0.to_string_lossy();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgresql://postgres@localhost:5432/postgres?host={folder}&sslmode=disable")
    }

    /// Stops it: clients that are still there are cut off, what they committed is kept.
    pub async fn stop(self) {
        let Self { mut supervisor, lifeline, socket } = self;
        drop(lifeline);
        if tokio::time::timeout(STOP_TIMEOUT, supervisor.wait()).await.is_err() {
            tracing::warn!("PostgreSQL did not stop within {} s", STOP_TIMEOUT.as_secs());
        }
        drop(socket);
    }
}

/// Removes a local cloud's data folder with everything in it; one that is not there is no error.
///
/// # Errors
/// Something in it cannot be removed.
pub fn remove_data(data: &Path) -> io::Result<()> {
    let found = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if let Some(elsewhere) = linked_root(&data.join(POSTGRES_FOLDER)) {
        found(fs::remove_dir_all(elsewhere))?;
    }
    found(fs::remove_dir_all(data))
}

/// Where root's databases are whose data folder PostgreSQL's user cannot reach.
const ROOT_PREFIX: &str = "/var/tmp/lastlight-postgres-";

/// Where the link `folder` leads, if it is one that was made here: no other link is followed or has
/// its target removed.
fn linked_root(folder: &Path) -> Option<PathBuf> {
    let target = fs::read_link(folder).ok()?;
    let digits = target.to_str()?.strip_prefix(ROOT_PREFIX)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(target)
}

/// The database's place in a data folder.
pub(crate) const POSTGRES_FOLDER: &str = "postgres";

/// The folder in which the cluster is: `folder`, or where this process is root's, one that
/// PostgreSQL's user can reach, with a symbolic link in `folder`'s place.
async fn root_folder(folder: &Path, user: Option<&DatabaseUser>) -> io::Result<PathBuf> {
    let Some(user) = user else {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        return folder.canonicalize();
    };
    if let Some(target) = linked_root(folder).filter(|target| target.is_dir()) {
        return Ok(target);
    }
    let parent = folder.parent().unwrap_or(Path::new(".")).canonicalize()?;
    let is_passable = |folder: &Path| {
        fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };
    if parent.ancestors().all(is_passable) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        user.own(folder).await?;
        return folder.canonicalize();
    }
    let mut hasher = DefaultHasher::new();
    parent.hash(&mut hasher);
    let root = PathBuf::from(format!("{ROOT_PREFIX}{:016x}", hasher.finish()));
    // Of a data folder that was there before and was removed.
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::DirBuilder::new().mode(0o700).create(&root)?;
    user.own(&root).await?;
    let _ = fs::remove_file(folder);
    if folder.is_dir() {
        fs::remove_dir(folder)?;
    }
    symlink(&root, folder)?;
    Ok(root)
}

/// Whether the folder holds files, and none that are made here.
fn has_other_files(folder: &Path) -> bool {
    let is_ours = |name: &str| ["cluster", "cluster.new", "postgres.log"].contains(&name);
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| !entry.file_name().to_str().is_some_and(is_ours))
}

fn check_version(cluster: &Path, programs: &PostgresPrograms) -> Result<(), LocalPostgresError> {
    let Ok(found) = fs::read_to_string(cluster.join("PG_VERSION")) else {
        return Err(LocalPostgresError::OtherFiles { folder: cluster.to_owned() });
    };
    let found = found.trim().to_owned();
    if found == programs.version() {
        return Ok(());
    }
    Err(LocalPostgresError::OtherVersion {
        folder: cluster.to_owned(),
        found,
        binaries: programs.folder().to_owned(),
        programs: programs.version().to_owned(),
    })
}

/// Under another name first: a cluster that is there is whole.
async fn make_cluster(
    cluster: &Path,
    programs: &PostgresPrograms,
) -> Result<(), LocalPostgresError> {
    let unfinished = cluster.with_extension("new");
    let in_folder = |error| LocalPostgresError::Folder { folder: cluster.to_owned(), error };
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(in_folder)?;
    }
    programs.init(&unfinished).await?;
    fs::rename(&unfinished, cluster).map_err(in_folder)
}

/// A process of its own group, which Ctrl-C in a terminal does not reach.
fn supervisor(programs: &PostgresPrograms, cluster: &Path) -> io::Result<Child> {
    let stop = programs.command("pg_ctl");
    let mut command = Command::new("sh");
    command
        .args(["-c", SUPERVISE, "sh"])
        .arg(stop.as_std().get_program())
        .args(stop.as_std().get_args())
        .args(["-w", "-s", "-m", "fast", "-D"])
        .arg(cluster)
        .arg("stop")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_of_another_program_are_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(POSTGRES_FOLDER);
        fs::create_dir_all(folder.join("base")).unwrap();
        let error = LocalPostgres::start(&folder).await.unwrap_err().to_string();
        assert!(error.contains("--fresh") && folder.join("base").is_dir(), "{error}");

        fs::remove_dir(folder.join("base")).unwrap();
        fs::create_dir(folder.join("cluster")).unwrap();
        let error = LocalPostgres::start(&folder).await.unwrap_err().to_string();
        assert!(error.contains("--fresh"), "{error}");
    }

    #[test]
    fn only_links_that_were_made_here_are_followed_when_data_is_removed() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("precious"), "").unwrap();
        let data = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), data.path().join(POSTGRES_FOLDER)).unwrap();
        remove_data(data.path()).unwrap();
        assert!(!data.path().exists());
        assert!(elsewhere.path().join("precious").exists());
        remove_data(data.path()).unwrap();
    }
}
