//! The file of a snapshot: one JSON record per line, so that neither writing nor reading holds it
//! all in memory. It is renamed into place at the end, so a crash leaves the old or the new file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be written or read.
    #[error("the snapshot {path:?} cannot be written or read: {source}")]
    File { path: PathBuf, source: io::Error },
    /// The file is not a snapshot of this service. Nothing was restored.
    #[error("line {line} of the snapshot {path:?} is not a record of this service: {source}")]
    Malformed {
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        source: serde_json::Error,
    },
}

/// Appends one record to a buffer of lines.
pub(super) fn push_record(
    buffer: &mut Vec<u8>,
    record: &impl Serialize,
) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *buffer, record)?;
    buffer.push(b'\n');
    Ok(())
}

/// Replaces the file at `path` atomically with the parts.
pub(super) fn write(
    path: &Path,
    parts: impl Iterator<Item = Result<Vec<u8>, serde_json::Error>>,
) -> Result<(), SnapshotError> {
    let next = path.with_extension("next");
    let file_error = |source| SnapshotError::File { path: path.to_owned(), source };
    let write_all = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = BufWriter::new(File::create(&next)?);
        for part in parts {
            file.write_all(&part.map_err(io::Error::other)?)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&next, path)
    };
    write_all().map_err(file_error)
}

/// Passes every record of `path` to `take`, in order. A missing file has no records.
pub(super) fn read<R: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(R),
) -> Result<(), SnapshotError> {
    let file_error = |source| SnapshotError::File { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(error)),
    };
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if file.read_until(b'\n', &mut text).map_err(file_error)? == 0 {
            break;
        }
        take(serde_json::from_slice(&text).map_err(|source| SnapshotError::Malformed {
            path: path.to_owned(),
            line,
            source,
        })?);
    }
    Ok(())
}
