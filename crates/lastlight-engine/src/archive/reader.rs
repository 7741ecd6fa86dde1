//! Reads an archive back, part by part: memory does not grow with it. Its lines are to be trusted only once the end was
//! reached, since the checksum is that of the whole blob.

use std::io::Write;

use flate2::write::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::transport::blob_storage::{BlobContainer, ContainerError, FoundBlob};

/// Bytes that are read by one request.
const PART: usize = 1024 * 1024;

/// Compressed bytes that are decompressed at once: they become at most a thousand times as many.
const PIECE: usize = 16 * 1024;

/// An archive cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The container cannot be read.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// There is no such blob any more.
    #[error("the blob {blob} is gone")]
    Gone {
        /// The blob.
        blob: String,
    },
    /// The blob is not what was archived.
    #[error(
        "the checksum of {blob} is wrong: its bytes have the SHA-256 {found}, and its metadata say {expected}; it was changed or \
         damaged after it was written"
    )]
    Checksum {
        /// The blob.
        blob: String,
        /// That of its bytes.
        found: String,
        /// That of its metadata.
        expected: String,
    },
    /// The blob is not gzipped.
    #[error("{blob} cannot be decompressed: {reason}")]
    Corrupt {
        /// The blob.
        blob: String,
        /// The reason.
        reason: String,
    },
}

/// An archive that is being read.
#[derive(Debug)]
pub struct ArchiveReader<'a> {
    container: &'a BlobContainer,
    blob: FoundBlob,
    expected: String,
    offset: u64,
    /// What was read and not decompressed yet.
    part: Vec<u8>,
    taken: usize,
    sha256: Sha256,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
}

impl<'a> ArchiveReader<'a> {
    pub(super) fn new(container: &'a BlobContainer, blob: FoundBlob, expected: &str) -> Self {
        Self {
            container,
            blob,
            expected: expected.to_owned(),
            offset: 0,
            part: Vec::new(),
            taken: 0,
            sha256: Sha256::new(),
            decoder: Some(MultiGzDecoder::new(Vec::new())),
        }
    }

    /// The next bytes of the lines; `None` after the last, if the checksum is right.
    ///
    /// # Errors
    /// The blob cannot be read, or is not what was archived.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            if self.taken == self.part.len() {
                let left = self.blob.bytes.saturating_sub(self.offset);
                if left == 0 {
                    return self.end();
                }
                // At most a part, so it fits in memory.
                self.part.resize(left.min(PART as u64) as usize, 0);
                self.container.read(&self.blob, self.offset, &mut self.part).await?;
                self.sha256.update(&self.part);
                self.offset += self.part.len() as u64;
                self.taken = 0;
            }
            let end = (self.taken + PIECE).min(self.part.len());
            let Some(decoder) = &mut self.decoder else { return Ok(None) };
            if let Err(error) = decoder.write_all(&self.part[self.taken..end]) {
                let reason = error.to_string();
                return Err(self.corrupt(reason).await);
            }
            self.taken = end;
            let lines = std::mem::take(decoder.get_mut());
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    fn end(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(None) };
        self.check()?;
        if let Err(error) = decoder.try_finish() {
            let (blob, reason) = (self.blob.name.clone(), error.to_string());
            return Err(ReadError::Corrupt { blob, reason });
        }
        let lines = std::mem::take(decoder.get_mut());
        Ok((!lines.is_empty()).then_some(lines))
    }

    /// Compares the checksum of all bytes.
    fn check(&self) -> Result<(), ReadError> {
        let sum = self.sha256.clone().finalize();
        let found: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        if found == self.expected {
            return Ok(());
        }
        let (blob, expected) = (self.blob.name.clone(), self.expected.clone());
        Err(ReadError::Checksum { blob, found, expected })
    }

    /// A blob that cannot be decompressed is mostly one whose checksum is wrong, which only its whole can tell.
    async fn corrupt(&mut self, reason: String) -> ReadError {
        self.decoder = None;
        loop {
            let left = self.blob.bytes.saturating_sub(self.offset);
            if left == 0 {
                break;
            }
            self.part.resize(left.min(PART as u64) as usize, 0);
            if let Err(error) = self.container.read(&self.blob, self.offset, &mut self.part).await {
                return error.into();
            }
            self.sha256.update(&self.part);
            self.offset += self.part.len() as u64;
        }
        match self.check() {
            Err(error) => error,
            Ok(()) => ReadError::Corrupt { blob: self.blob.name.clone(), reason },
        }
    }
}
