//! The archive of jobs in blob storage: one blob of gzipped JSON lines for each run of a job. Writes them in memory bounded by
//! bytes, lists them by their metadata, and reads them back with their checksum. What a line holds, `lastlight_api` says.
//! Knows neither the database nor when a job is archived.

mod reader;
mod writer;

use std::collections::HashMap;

use lastlight_api::archive::ArchivedRun;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use crate::{
    config::ArchiveSettings,
    model::{JobId, JobStatus, Timestamp, timestamp},
    transport::blob_storage::{BlobContainer, ContainerError, FoundBlob},
};

pub use reader::{ArchiveReader, ReadError};
pub use writer::{ArchiveWriter, Committed, FinishedArchive, Written};

/// The name of the blob that is never committed.
const PROBE: &str = "lastlight-probe";

/// The archive.
#[derive(Debug)]
pub struct ArchiveStorage {
    container: BlobContainer,
    block_bytes: usize,
}

/// Bytes of a block, which is written by one request. The service allows 50,000 blocks per blob.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// A run of a job, as the name of its blob has it. The time tells two runs of the same number apart: a job that was
/// deleted long ago begins with run 1 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey {
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run: i32,
    /// When the run was submitted.
    pub created_at: OffsetDateTime,
}

/// What the metadata of a blob say about its run, beside its name and its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFacts {
    /// The name of the job's type.
    pub job_type: String,
    /// How it ended.
    pub status: JobStatus,
    /// When it ended.
    pub finished_at: OffsetDateTime,
}

impl RunKey {
    /// The name of the blob: `<job_id>/run-<k>-<submitted>.jsonl.gz`.
    pub fn blob(&self) -> String {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let created = self.created_at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default();
        format!("{}/run-{}-{created}.jsonl.gz", self.job_id, self.run)
    }
}

impl ArchiveStorage {
    /// The archive that the settings name. Makes no request.
    ///
    /// # Errors
    /// TLS or the credential could not be set up.
    pub fn new(settings: &ArchiveSettings) -> Result<Self, ContainerError> {
        Ok(Self { container: BlobContainer::new(settings)?, block_bytes: BLOCK_BYTES })
    }

    /// The same with smaller blocks, for tests.
    #[must_use]
    pub fn with_blocks_of(self, block_bytes: usize) -> Self {
        Self { block_bytes, ..self }
    }

    /// The container's name.
    pub fn container(&self) -> &str {
        self.container.name()
    }

    /// The host of its blob service.
    pub fn host(&self) -> String {
        self.container.host()
    }

    /// Asks whether the container exists and can be read.
    ///
    /// # Errors
    /// It cannot.
    pub async fn probe(&self) -> Result<(), ContainerError> {
        self.container.probe().await
    }

    /// Asks whether the container can be listed and written, without leaving anything to be seen in it.
    ///
    /// # Errors
    /// It cannot.
    pub async fn probe_all(&self) -> Result<(), ContainerError> {
        self.container.probe().await?;
        self.container.list(PROBE, None).await?;
        self.container.probe_write(PROBE).await
    }

    /// Begins the archive of a run.
    pub fn write(&self, key: RunKey) -> ArchiveWriter {
        ArchiveWriter::new(key, self.block_bytes)
    }

    /// A page of the archives of jobs whose ids begin with `prefix`, and where the list continues. Blobs that are no archives
    /// are left out.
    ///
    /// # Errors
    /// The container cannot be listed.
    pub async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
    ) -> Result<(Vec<ArchivedRun>, Option<String>), ContainerError> {
        let page = self.container.list(prefix, from).await?;
        Ok((page.blobs.iter().filter_map(archived_run).collect(), page.next))
    }

    /// Reads an archive that a list has shown.
    ///
    /// # Errors
    /// The container cannot be read, or the blob is gone.
    pub async fn read(&self, run: &ArchivedRun) -> Result<ArchiveReader<'_>, ReadError> {
        let found = self.container.find(&run.blob).await?;
        let found = found.ok_or_else(|| ReadError::Gone { blob: run.blob.clone() })?;
        Ok(ArchiveReader::new(&self.container, found, &run.sha256))
    }
}

/// Names of metadata; identifiers, as the service requires.
mod names {
    pub(super) const JOB_TYPE: &str = "job_type";
    pub(super) const STATUS: &str = "status";
    pub(super) const CREATED_AT: &str = "created_at";
    pub(super) const FINISHED_AT: &str = "finished_at";
    pub(super) const RUN: &str = "run";
    pub(super) const TASKS: &str = "tasks";
    pub(super) const SHA256: &str = "sha256";
    pub(super) const UNCOMPRESSED_BYTES: &str = "uncompressed_bytes";
    pub(super) const FORMAT: &str = "format";
}

/// What is written otherwise in the value of a metadata.
const IN_METADATA: AsciiSet = NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');

fn metadata(key: &RunKey, facts: &RunFacts, written: &Written) -> HashMap<String, String> {
    // Names of job types are short, and may have any characters; a header may not.
    let job_type = percent_encoding::utf8_percent_encode(&facts.job_type, &IN_METADATA);
    [
        (names::JOB_TYPE, job_type.to_string()),
        (names::STATUS, facts.status.to_string()),
        (names::CREATED_AT, timestamp::write(key.created_at)),
        (names::FINISHED_AT, timestamp::write(facts.finished_at)),
        (names::RUN, key.run.to_string()),
        (names::TASKS, written.tasks.to_string()),
        (names::SHA256, written.sha256.clone()),
        (names::UNCOMPRESSED_BYTES, written.uncompressed_bytes.to_string()),
        (names::FORMAT, lastlight_api::archive::ARCHIVE_FORMAT.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What name and metadata of a blob say; `None` if it is no archive.
fn archived_run(blob: &FoundBlob) -> Option<ArchivedRun> {
    let text = |name: &str| blob.metadata.get(name).map(String::as_str);
    let time = |name: &str| timestamp::read(text(name)?).map(Timestamp);
    let (job_id, _) = blob.name.split_once("/run-")?;
    let job_type = percent_encoding::percent_decode_str(text(names::JOB_TYPE)?);
    Some(ArchivedRun {
        job_id: job_id.parse().ok()?,
        run: text(names::RUN)?.parse().ok()?,
        job_type: job_type.decode_utf8().ok()?.into_owned(),
        status: JobStatus::from_name(text(names::STATUS)?)?,
        created_at: time(names::CREATED_AT)?,
        finished_at: time(names::FINISHED_AT)?,
        tasks: text(names::TASKS)?.parse().ok()?,
        bytes: blob.bytes,
        uncompressed_bytes: text(names::UNCOMPRESSED_BYTES)?.parse().ok()?,
        sha256: text(names::SHA256)?.to_owned(),
        blob: blob.name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn key() -> RunKey {
        RunKey {
            job_id: "ab".repeat(32).parse().unwrap(),
            run: 3,
            created_at: datetime!(2026-12-01 14:48:08.123456 UTC),
        }
    }

    #[test]
    fn a_list_knows_what_was_written_by_name_and_metadata() {
        let key = key();
        let name = key.blob();
        assert_eq!(name, format!("{}/run-3-20261201T144808Z.jsonl.gz", "ab".repeat(32)));
        let facts = RunFacts {
            job_type: "große 10%20".to_owned(),
            status: JobStatus::Failed,
            finished_at: datetime!(2026-12-02 0:00 UTC),
        };
        let written = Written {
            sha256: "c".repeat(64),
            tasks: 7,
            bytes: 10,
            uncompressed_bytes: 100,
            blocks: 1,
        };
        let metadata = metadata(&key, &facts, &written);
        assert!(metadata.values().all(|value| value.is_ascii()), "{metadata:?}");
        let mut blob = FoundBlob { name, bytes: 10, metadata, etag: None };
        let run = archived_run(&blob).unwrap();
        assert_eq!((run.job_id, run.run, run.tasks, run.bytes), (key.job_id, 3, 7, 10));
        assert_eq!((run.job_type.as_str(), run.status), ("große 10%20", JobStatus::Failed));
        assert_eq!(run.created_at.0, key.created_at);
        blob.metadata.remove("sha256");
        assert_eq!(archived_run(&blob), None);
    }
}
