//! Writes an archive: lines are compressed as they come, and leave memory in blocks. The same lines make the same blob, so a
//! repeat after a kill replaces a blob by itself.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use bytes::Bytes;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ArchiveStorage, RunFacts, RunKey, metadata, names};
use crate::{
    failpoint::failpoint,
    transport::blob_storage::{ContainerError, Replaces},
};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The SHA-256 of the blob, in hexadecimal digits.
    pub sha256: String,
    /// Number of tasks.
    pub tasks: u64,
    /// Size of the blob.
    pub bytes: u64,
    /// Size of the lines.
    pub uncompressed_bytes: u64,
    /// Number of its blocks.
    pub blocks: usize,
}

/// An archive that is being written.
#[derive(Debug)]
pub struct ArchiveWriter {
    key: RunKey,
    blob: String,
    encoder: GzEncoder<Hashed>,
    line: Vec<u8>,
    uncompressed_bytes: u64,
    block_bytes: usize,
    /// In the ids of the blocks, so that those of two attempts never mix.
    attempt: Uuid,
    blocks: Vec<Vec<u8>>,
    /// The service refuses blocks of a blob that may not be replaced. It may be the blob that is being written, so the lines are
    /// compressed to the end for its checksum.
    refused: Option<ContainerError>,
}

/// Compressed bytes that are not in a block yet, and the checksum of all.
#[derive(Debug, Default)]
struct Hashed {
    bytes: Vec<u8>,
    sha256: Sha256,
    total: u64,
}

impl Write for Hashed {
    fn write(&mut self, some: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(some);
        self.sha256.update(some);
        self.total += some.len() as u64;
        Ok(some.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ArchiveWriter {
    pub(super) fn new(key: RunKey, block_bytes: usize) -> Self {
        // Without a time and a name of the file, which would differ between attempts.
        let encoder = GzBuilder::new().mtime(0).write(Hashed::default(), Compression::default());
        Self {
            blob: key.blob(),
            key,
            encoder,
            line: Vec::new(),
            uncompressed_bytes: 0,
            block_bytes,
            attempt: Uuid::new_v4(),
            blocks: Vec::new(),
            refused: None,
        }
    }

    /// The name of the blob.
    pub fn blob(&self) -> &str {
        &self.blob
    }

    /// Adds a line. Blocks leave memory in [`Self::send`], which is to follow after some lines.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn line(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        // JSON that is stored as it was sent may have line breaks between its parts; within texts they are escaped.
        for byte in &mut self.line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.line.push(b'\n');
        self.uncompressed_bytes += self.line.len() as u64;
        self.encoder.write_all(&self.line).map_err(serde_json::Error::io)
    }

    /// Sends the blocks that are full.
    ///
    /// # Errors
    /// The container cannot be written.
    pub async fn send(&mut self, to: &ArchiveStorage) -> Result<(), ContainerError> {
        while self.encoder.get_ref().bytes.len() >= self.block_bytes {
            let bytes = &mut self.encoder.get_mut().bytes;
            let rest = bytes.split_off(self.block_bytes);
            let block = std::mem::replace(bytes, rest);
            self.stage(to, block).await?;
        }
        Ok(())
    }

    async fn stage(&mut self, to: &ArchiveStorage, block: Vec<u8>) -> Result<(), ContainerError> {
        let id = format!("{}-{:06}", self.attempt.simple(), self.blocks.len()).into_bytes();
        if self.refused.is_none() {
            match to.container.stage(&self.blob, &id, Bytes::from(block)).await {
                Ok(()) => {}
                Err(error) if error.is_of_blob() => self.refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.blocks.push(id);
        Ok(())
    }

    /// Sends the rest of the lines.
    ///
    /// # Errors
    /// The container cannot be written.
    pub async fn finish(
        mut self,
        to: &ArchiveStorage,
        facts: &RunFacts,
        tasks: u64,
    ) -> Result<FinishedArchive, ContainerError> {
        // Writing into memory does not fail.
        self.encoder.try_finish().map_err(|_| unfinished(&self.blob))?;
        self.send(to).await?;
        let rest = std::mem::take(&mut self.encoder.get_mut().bytes);
        if !rest.is_empty() {
            self.stage(to, rest).await?;
        }
        let hashed = self.encoder.get_ref();
        let sum = hashed.sha256.clone().finalize();
        let written = Written {
            sha256: sum.iter().map(|byte| format!("{byte:02x}")).collect(),
            tasks,
            bytes: hashed.total,
            uncompressed_bytes: self.uncompressed_bytes,
            blocks: self.blocks.len(),
        };
        let metadata = metadata(&self.key, facts, &written);
        Ok(FinishedArchive {
            blob: self.blob,
            blocks: self.blocks,
            refused: self.refused,
            metadata,
            written,
        })
    }
}

/// An archive whose blocks are all sent, and which is not to be seen yet.
#[derive(Debug)]
pub struct FinishedArchive {
    blob: String,
    blocks: Vec<Vec<u8>>,
    refused: Option<ContainerError>,
    metadata: HashMap<String, String>,
    written: Written,
}

/// What became of the blob of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is there.
    Yes,
    /// There is another one of this name, which may be replaced if no other attempt writes this run.
    Another {
        /// Its version.
        version: String,
        /// The answer to the request.
        error: ContainerError,
    },
}

impl FinishedArchive {
    /// What is to be seen once it is committed.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Makes the blob of its blocks. A blob that is there already and has the same checksum is as good.
    ///
    /// # Errors
    /// The container cannot be written.
    pub async fn commit(&self, to: &ArchiveStorage) -> Result<Committed, ContainerError> {
        failpoint!("archive.before_commit", Err(unfinished(&self.blob)));
        let committed = match &self.refused {
            Some(error) => Err(error.clone()),
            None => self.make(to, &Replaces::Nothing).await,
        };
        failpoint!("archive.after_commit", Err(unfinished(&self.blob)));
        let error = match committed {
            Ok(()) => return Ok(Committed::Yes),
            Err(error) if error.is_of_blob() => error,
            Err(error) => return Err(error),
        };
        let Some(there) = to.container.find(&self.blob).await? else { return Err(error) };
        let sum = there.metadata.get(names::SHA256);
        if sum == Some(&self.written.sha256) && there.bytes == self.written.bytes {
            return Ok(Committed::Yes);
        }
        match there.etag {
            Some(version) => Ok(Committed::Another { version, error }),
            None => Err(error),
        }
    }

    /// Replaces another version of the blob. Whoever has taken the place of this attempt since it looked at that version makes
    /// one of its own, which this request does not replace.
    ///
    /// # Errors
    /// The container cannot be written, or the blob was replaced or may not be.
    pub async fn replace(
        &self,
        to: &ArchiveStorage,
        version: String,
    ) -> Result<(), ContainerError> {
        match &self.refused {
            Some(error) => Err(error.clone()),
            None => self.make(to, &Replaces::Version(version)).await,
        }
    }

    async fn make(&self, to: &ArchiveStorage, replaces: &Replaces) -> Result<(), ContainerError> {
        to.container.commit(&self.blob, &self.blocks, &self.metadata, replaces).await
    }
}

fn unfinished(blob: &str) -> ContainerError {
    ContainerError::Changed { blob: blob.to_owned(), status: 0, code: "Unfinished".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use serde_json::{json, value::RawValue};
    use time::macros::datetime;

    use super::*;

    fn writer() -> ArchiveWriter {
        let created_at = datetime!(2026-12-01 14:48:08 UTC);
        let key = RunKey { job_id: "ab".repeat(32).parse().unwrap(), run: 1, created_at };
        ArchiveWriter::new(key, 1024)
    }

    fn compressed(mut writer: ArchiveWriter) -> Vec<u8> {
        writer.encoder.try_finish().unwrap();
        writer.encoder.get_ref().bytes.clone()
    }

    #[test]
    fn the_same_lines_make_the_same_bytes() {
        let made = || {
            let mut writer = writer();
            for number in 0..5000 {
                writer.line(&json!({ "kind": "task", "number": number })).unwrap();
            }
            compressed(writer)
        };
        assert_eq!(made(), made());
    }

    #[test]
    fn a_value_is_one_line_whatever_it_has() {
        let mut writer = writer();
        let raw =
            RawValue::from_string("{\n  \"a\": \"x\\ny\",\r\n  \"b\": 1\n}".to_owned()).unwrap();
        writer.line(&json!({ "text": "one\ntwo\u{2028}" })).unwrap();
        writer.line(&raw).unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(&*compressed(writer)).read_to_string(&mut text).unwrap();
        let lines: Vec<serde_json::Value> =
            text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [json!({ "text": "one\ntwo\u{2028}" }), json!({ "a": "x\ny", "b": 1 })]);
    }
}
