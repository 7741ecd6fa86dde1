//! `lastlight archive`: reads the archive of jobs in blob storage, with the app's settings and without the app.

mod find;
mod get;
mod lines;
mod list;
mod show;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use lastlight_engine::{
    archive::{ArchiveStorage, ReadError},
    config::{ConfigError, Env, Settings},
    transport::blob_storage::ContainerError,
};
use serde_json::json;

use crate::{
    doctor::settings::of_file,
    say,
    style::{Look, Paint},
    tell,
};

/// `lastlight archive`.
#[derive(Debug, Args)]
pub(crate) struct ArchiveArguments {
    #[command(subcommand)]
    command: ArchiveCommand,
    /// Also read the settings in this file, as `func start` reads it (local.settings.json). Environment
    /// variables override it.
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    /// List archived runs of jobs, those first that ended last.
    List(list::ListArguments),
    /// Show an archived job: its stages, its result, and its events.
    Show(show::ShowArguments),
    /// Write the lines of an archived job, as JSON lines, once their checksum is right.
    Get(get::GetArguments),
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error(
        "there is no archive: ARCHIVE_CONTAINER is not set\n    Set it, and the storage account, as the app has them; or name a \
         settings file with --settings."
    )]
    NoArchive,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Argument(String),
    #[error("{0}")]
    NoSuchJob(String),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Read(ReadError),
    #[error("{blob} is not a complete archive: {reason}")]
    Incomplete { blob: String, reason: String },
    #[error("{path} cannot be written: {error}")]
    Output { path: String, error: std::io::Error },
}

impl From<ReadError> for ArchiveError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Container(error) => Self::Container(error),
            error => Self::Read(error),
        }
    }
}

impl ArchiveError {
    /// The exit code.
    fn code(&self) -> u8 {
        match self {
            Self::NoArchive | Self::Config(_) | Self::Argument(_) => 2,
            Self::Container(error) if error.is_unreachable() => 3,
            _ => 1,
        }
    }

    /// A word for it in JSON.
    fn kind(&self) -> &'static str {
        match self {
            Self::NoArchive => "no archive",
            Self::Config(_) => "bad settings",
            Self::Argument(_) => "bad argument",
            Self::NoSuchJob(_) => "unknown job",
            Self::Container(error) if error.is_unreachable() => "unreachable",
            Self::Container(_) => "refused",
            Self::Read(ReadError::Checksum { .. }) => "wrong checksum",
            Self::Read(_) | Self::Incomplete { .. } => "unreadable archive",
            Self::Output { .. } => "output",
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Container(error) => Some(error.remedy()),
            Self::Read(ReadError::Checksum { .. }) => {
                Some("restore an earlier version of the blob, if the account keeps versions")
            }
            _ => None,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(arguments: &ArchiveArguments) -> ExitCode {
    match carried_out(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let remedy = error.remedy();
            if arguments.json {
                let document = json!({
                    "error": error.kind(), "message": error.to_string(), "remedy": remedy,
                });
                say!("{document}");
            }
            tell!("lastlight: {error}");
            if let Some(remedy) = remedy {
                tell!("{}", Paint::for_stderr().text(Look::Faint, &format!("  {remedy}")));
            }
            ExitCode::from(error.code())
        }
    }
}

async fn carried_out(arguments: &ArchiveArguments) -> Result<(), ArchiveError> {
    let mut env = Env::from_process();
    if let Some(file) = &arguments.settings {
        env = env.with_defaults(of_file(file).map_err(ArchiveError::Argument)?);
    }
    let settings = Settings::load_archive(env)?;
    let archive = ArchiveStorage::new(&settings.ok_or(ArchiveError::NoArchive)?)?;
    match &arguments.command {
        ArchiveCommand::List(list) => list::list(&archive, list, arguments.json).await,
        ArchiveCommand::Show(show) => show::show(&archive, show, arguments.json).await,
        ArchiveCommand::Get(get) => get::get(&archive, get, arguments.json).await,
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(5 * 1024 * 1024 + 512 * 1024), "5.5 MiB");
        assert_eq!(size(1 << 52), "4096.0 TiB");
    }
}
