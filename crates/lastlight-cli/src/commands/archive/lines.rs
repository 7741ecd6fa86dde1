//! The lines of an archive, read to its end: only then are they known to be those that were archived.

use lastlight_api::archive::{
    AnyArchiveLine, ArchiveEnd, ArchiveLineKind, ArchivedDefinition, ArchivedEvent, ArchivedJob,
    ArchivedRun, ArchivedStage,
};
use lastlight_engine::archive::ArchiveStorage;
use serde::de::DeserializeOwned;

use super::ArchiveError;

/// An archive without its tasks, which are counted.
#[derive(Debug)]
pub(super) struct Archived {
    pub(super) job: ArchivedJob,
    pub(super) definition: Option<ArchivedDefinition>,
    pub(super) stages: Vec<ArchivedStage>,
    pub(super) events: Vec<ArchivedEvent>,
    pub(super) end: ArchiveEnd,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Reading {
    job: Option<ArchivedJob>,
    definition: Option<ArchivedDefinition>,
    stages: Vec<ArchivedStage>,
    tasks: u64,
    events: Vec<ArchivedEvent>,
    end: Option<ArchiveEnd>,
    lines: u64,
}

/// Reads an archive, and checks that it is complete.
pub(super) async fn read(
    archive: &ArchiveStorage,
    run: &ArchivedRun,
) -> Result<Archived, ArchiveError> {
    let mut reader = archive.read(run).await?;
    let mut reading = Reading::default();
    let mut rest: Vec<u8> = Vec::new();
    // A line that cannot be read is reported only if the checksum is right: otherwise that is the reason.
    let mut wrong = None;
    while let Some(some) = reader.next().await? {
        rest.extend_from_slice(&some);
        let mut begins = 0;
        while let Some(length) = rest[begins..].iter().position(|byte| *byte == b'\n') {
            let line = &rest[begins..begins + length];
            if wrong.is_none() {
                wrong = reading.line(line).err();
            }
            begins += length + 1;
        }
        rest.drain(..begins);
    }
    let incomplete = |reason: String| ArchiveError::Incomplete { blob: run.blob.clone(), reason };
    if let Some(reason) = wrong {
        return Err(incomplete(reason));
    }
    if !rest.is_empty() {
        return Err(incomplete("its last line has no end".to_owned()));
    }
    reading.complete().map_err(incomplete)
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        self.lines += 1;
        let number = self.lines;
        if self.end.is_some() {
            return Err(format!("line {number} comes after its end"));
        }
        fn of<T: DeserializeOwned>(line: &[u8], number: u64) -> Result<T, String> {
            serde_json::from_slice(line)
                .map_err(|error| format!("line {number} cannot be read: {error}"))
        }
        match of::<AnyArchiveLine>(line, number)?.kind {
            ArchiveLineKind::Job => self.job = Some(of(line, number)?),
            ArchiveLineKind::Definition => self.definition = Some(of(line, number)?),
            ArchiveLineKind::Stage => self.stages.push(of(line, number)?),
            ArchiveLineKind::Task => self.tasks += 1,
            ArchiveLineKind::Event => self.events.push(of(line, number)?),
            ArchiveLineKind::End => self.end = Some(of(line, number)?),
        }
        Ok(())
    }

    fn complete(self) -> Result<Archived, String> {
        let end = self.end.ok_or("its last line, the end, is missing")?;
        let read = (self.stages.len() as u64, self.tasks, self.events.len() as u64);
        if read != (end.stages, end.tasks, end.events) {
            return Err(format!(
                "it has {} stages, {} tasks and {} events, and its end says {}, {} and {}",
                read.0, read.1, read.2, end.stages, end.tasks, end.events
            ));
        }
        let Self { job, definition, stages, events, .. } = self;
        Ok(Archived { job: job.ok_or("it has no job")?, definition, stages, events, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_without_its_end_or_with_other_counts_is_incomplete() {
        let task = br#"{"kind":"task","task_id":"a"}"#;
        let mut reading = Reading::default();
        reading.line(task).unwrap();
        assert!(reading.complete().unwrap_err().contains("the end, is missing"));
        let mut reading = Reading::default();
        reading.line(task).unwrap();
        let end = br#"{"kind":"end","stages":0,"tasks":2,"tasks_by_status":{},"tasks_planned":2,"events":0}"#;
        reading.line(end).unwrap();
        assert!(reading.line(task).unwrap_err().contains("after its end"));
        assert!(reading.complete().unwrap_err().contains("1 tasks"));
        assert!(Reading::default().line(b"{").unwrap_err().contains("line 1"));
        assert!(Reading::default().line(br#"{"kind":"more"}"#).is_err());
    }
}
