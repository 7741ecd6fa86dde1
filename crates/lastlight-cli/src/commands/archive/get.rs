//! `lastlight archive get`: the lines of an archive, uncompressed. A file is there under its name only once the checksum is
//! right; standard output has the lines before that, so that the exit code is what counts.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use lastlight_api::archive::ArchivedRun;
use lastlight_engine::archive::ArchiveStorage;
use serde_json::json;

use super::{
    ArchiveError,
    find::{JobArguments, find},
    size,
};
use crate::{output, say};

/// `lastlight archive get`.
#[derive(Debug, Args)]
pub(super) struct GetArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Write the lines to this file, which is replaced if it exists. Without it, to standard output, whose lines are right
    /// if the exit code is 0.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn get(
    archive: &ArchiveStorage,
    arguments: &GetArguments,
    is_json: bool,
) -> Result<(), ArchiveError> {
    let run = find(archive, &arguments.job).await?;
    let Some(path) = &arguments.output else {
        let mut reader = archive.read(&run).await?;
        while let Some(lines) = reader.next().await? {
            if !output::bytes(&lines) {
                break;
            }
        }
        return Ok(());
    };
    let partial = Partial::beside(path);
    let failed =
        |error: io::Error| ArchiveError::Output { path: path.display().to_string(), error };
    let mut file = File::create(&partial.0).map_err(failed)?;
    write(archive, &run, &mut file, &failed).await?;
    file.sync_all().map_err(failed)?;
    fs::rename(&partial.0, path).map_err(failed)?;
    if is_json {
        say!("{}", json!({ "archive": run, "output": path.display().to_string() }));
    } else {
        say!(
            "{}: run {} of {}, {} of lines with {} tasks; the checksum is right",
            path.display(),
            run.run,
            run.job_id,
            size(run.uncompressed_bytes),
            run.tasks
        );
    }
    Ok(())
}

async fn write(
    archive: &ArchiveStorage,
    run: &ArchivedRun,
    file: &mut File,
    failed: &impl Fn(io::Error) -> ArchiveError,
) -> Result<(), ArchiveError> {
    let mut reader = archive.read(run).await?;
    while let Some(lines) = reader.next().await? {
        file.write_all(&lines).map_err(failed)?;
    }
    Ok(())
}

/// A file that is removed again unless it was given its name.
struct Partial(PathBuf);

impl Partial {
    fn beside(path: &Path) -> Self {
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".partial-{}", std::process::id()));
        Self(path.with_file_name(name))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone if it was given its name.
        let _ = fs::remove_file(&self.0);
    }
}
