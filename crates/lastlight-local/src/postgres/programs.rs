//! PostgreSQL's programs: where they are, and how they are run. PostgreSQL refuses to run as root;
//! then another user runs it.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::process::Command;

use super::download;

/// Why there are no programs, or one of them failed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// None on this machine.
    #[error(
        "no PostgreSQL was found {looked}: install it, or name the folder with initdb, postgres and pg_ctl"
    )]
    NotFound { looked: String },
    /// None on this machine, and they cannot be downloaded.
    #[error("PostgreSQL is not installed on this machine, and cannot be downloaded: {0}")]
    Download(String),
    /// A program cannot be run, or failed.
    #[error("{program} failed: {detail}")]
    Failed { program: String, detail: String },
    /// This process runs as root, and there is no other user as whom PostgreSQL could run.
    #[error("PostgreSQL does not run as root, and there is no user postgres or nobody")]
    NoUser,
}

impl ProgramError {
    /// The same, with what the server wrote into its log.
    pub fn with_log(self, log: &str) -> Self {
        match self {
            Self::Failed { program, detail } => {
                Self::Failed { program, detail: format!("{detail}; its log ends with:\n{log}") }
            }
            other => other,
        }
    }
}

const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// A folder with PostgreSQL's programs, and the user who runs them.
#[derive(Debug, Clone)]
pub struct PostgresPrograms {
    folder: PathBuf,
    version: String,
    user: Option<DatabaseUser>,
}

impl PostgresPrograms {
    /// The programs in the folder `given`; without it, those on the PATH, then Debian's newest.
    ///
    /// # Errors
    /// There are none.
    pub fn find(given: Option<&Path>) -> Result<Self, ProgramError> {
        let folder = match given {
            Some(given) => Some(given.to_owned()).filter(|folder| has_all(folder)),
            None => installed(),
        };
        let looked = || match given {
            Some(given) => format!("in {}", given.display()),
            None => "on the PATH and in /usr/lib/postgresql/*/bin".to_owned(),
        };
        Self::at(folder.ok_or_else(|| ProgramError::NotFound { looked: looked() })?)
    }

    /// The same; downloads them where this machine has none.
    ///
    /// # Errors
    /// They cannot be downloaded.
    pub async fn find_or_download() -> Result<Self, ProgramError> {
        match Self::find(None) {
            Err(ProgramError::NotFound { .. }) => Self::at(download::downloaded().await?),
            found => found,
        }
    }

    fn at(folder: PathBuf) -> Result<Self, ProgramError> {
        let failed = |detail: String| ProgramError::Failed {
            program: "postgres --version".to_owned(),
            detail,
        };
        let output = std::process::Command::new(folder.join("postgres")).arg("--version").output();
        let said =
            String::from_utf8_lossy(&output.map_err(|error| failed(error.to_string()))?.stdout)
                .into_owned();
        // postgres (PostgreSQL) 15.16 (Debian 15.16-0+deb12u1)
        let version = said
            .split_whitespace()
            .find_map(|word| {
                let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
                (!digits.is_empty()).then(|| digits.to_owned())
            })
            .ok_or_else(|| failed(format!("it answered {said:?}")))?;
        let user =
            if rustix::process::getuid().is_root() { Some(DatabaseUser::find()?) } else { None };
        Ok(Self { folder, version, user })
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The major version: `17`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Who runs them, where this process cannot.
    pub fn user(&self) -> Option<&DatabaseUser> {
        self.user.as_ref()
    }

    /// A command that runs one of them.
    pub fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
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
        // A folder that the other user can reach.
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Makes a cluster in the folder `data`: superuser `postgres` without a password, UTF-8.
    ///
    /// # Errors
    /// `initdb` failed.
    pub async fn init(&self, data: &Path) -> Result<(), ProgramError> {
        let output = self
            .command("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(data)
            .output()
            .await;
        succeeded("initdb", output)
    }

    /// Runs `pg_ctl` on the cluster in the folder `data`, and waits for what it does.
    ///
    /// # Errors
    /// `pg_ctl` failed.
    pub async fn control(&self, data: &Path, arguments: &[&str]) -> Result<(), ProgramError> {
        let failed = |detail: String| ProgramError::Failed { program: "pg_ctl".to_owned(), detail };
        let status = self
            .command("pg_ctl")
            .args(["-w", "-t", "60", "-s", "-D"])
            .arg(data)
            .args(arguments)
            // The server would inherit a pipe and hold it open.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .status()
            .await
            .map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("{arguments:?}: {status}"))) }
    }

    /// Makes `path` the property of the user who runs the programs.
    ///
    /// # Errors
    /// `chown` failed.
    pub async fn own(&self, path: &Path) -> Result<(), ProgramError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        user.own(path).await.map_err(|error| ProgramError::Failed {
            program: "chown".to_owned(),
            detail: error.to_string(),
        })
    }
}

fn has_all(folder: &Path) -> bool {
    PROGRAMS.iter().all(|name| folder.join(name).is_file())
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Wrappers in PATH may lead elsewhere; the real folder has all three.
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
    in_path.chain(debian.into_iter().rev().map(|(_, folder)| folder)).find(|folder| has_all(folder))
}

/// Whom PostgreSQL runs as where this process is root's.
#[derive(Debug, Clone)]
pub struct DatabaseUser {
    id: String,
    group: String,
}

impl DatabaseUser {
    /// PostgreSQL's own user where there is one.
    fn find() -> Result<Self, ProgramError> {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            let mut fields = users
                .lines()
                .map(|line| line.split(':'))
                .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
            Some(Self { id: fields.nth(1)?.to_owned(), group: fields.next()?.to_owned() })
        };
        find("postgres").or_else(|| find("nobody")).ok_or(ProgramError::NoUser)
    }

    /// Makes `path` this user's.
    pub(super) async fn own(&self, path: &Path) -> io::Result<()> {
        let owner = format!("{}:{}", self.id, self.group);
        let output = Command::new("chown").arg(owner).arg(path).output().await?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn succeeded(program: &str, output: io::Result<Output>) -> Result<(), ProgramError> {
    let failed = |detail: String| ProgramError::Failed { program: program.to_owned(), detail };
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
    fn a_folder_without_postgres_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = PostgresPrograms::find(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
