//! Archiving jobs before they are deleted. One attempt at a time writes the run of a job, under a claim in its row; what deletes it
//! (purge.rs) asks here first, and the statements that delete refuse a run that is not recorded as archived. A container that
//! cannot be written delays the attempts of this process; until then, no job is tried.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lastlight_api::archive::{
    ARCHIVE_FORMAT, ArchiveEnd, ArchivedDefinition, ArchivedEvent, ArchivedJob, ArchivedStage,
    ArchivedTask,
};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Controller, ControllerError};
use crate::{
    archive::{ArchiveStorage, ArchiveWriter, Committed, RunFacts, RunKey, Written},
    model::{JobId, Timestamp, clock},
    store::{
        ArchiveClaim, ArchiveFirst, DatabaseError, JobRecord, JsonText, StageToArchive,
        StoredEvent, TaskPage, TaskToArchive,
    },
    transport::blob_storage::ContainerError,
};

/// Archives that a process writes at once. Each holds a page and a block in memory, and one connection at times.
pub(super) const ARCHIVED_AT_ONCE: usize = 4;

/// Bytes of a page of tasks.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// Tasks of the first page, and of the largest: a page of large tasks is cut, and the next one asks for fewer.
const FIRST_PAGE: i64 = 250;
const LARGEST_PAGE: i64 = 4000;

/// Events that are read at once.
const EVENTS_AT_ONCE: i64 = 200;

/// The reasons for which an attempt fails, as metrics have them.
pub const ARCHIVE_FAILURES: [&str; 8] = [
    "missing",
    "forbidden",
    "full",
    "unavailable",
    "refused",
    "unreadable",
    "unwritten",
    "database",
];

/// What became of the archive of a job that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Archived {
    /// It is in the archive, or the app has none.
    Yes,
    /// It is in the archive now.
    Now,
    /// It is being written.
    NotYet,
    /// It cannot be archived now, for this reason.
    No(String),
}

/// The archive of this process.
#[derive(Debug)]
pub(super) struct Archiving {
    storage: Option<Arc<ArchiveStorage>>,
    room: Semaphore,
    trouble: Mutex<Option<Trouble>>,
    counts: [AtomicU64; 3],
    failures: Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

/// The container cannot be used.
#[derive(Debug, Clone)]
struct Trouble {
    error: ContainerError,
    /// When it was first noticed.
    since: OffsetDateTime,
    /// Attempts that failed since then.
    tries: u16,
    again_at: Instant,
}

/// Why jobs are not archived, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveTrouble {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// Since when this process knows.
    pub since: OffsetDateTime,
}

/// What this process archived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveCounts {
    pub jobs: u64,
    pub tasks: u64,
    /// Bytes of the blobs.
    pub bytes: u64,
    /// Attempts that failed, by the reason.
    pub failures: std::collections::BTreeMap<&'static str, u64>,
}

/// Why an attempt did not archive a job.
enum Failed {
    /// Another attempt has taken its place.
    Lost,
    Container(ContainerError),
    /// A value cannot be written as JSON.
    Unwritten(serde_json::Error),
    Controller(ControllerError),
}

impl From<ContainerError> for Failed {
    fn from(error: ContainerError) -> Self {
        Self::Container(error)
    }
}

impl From<DatabaseError> for Failed {
    fn from(error: DatabaseError) -> Self {
        Self::Controller(error.into())
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::Unwritten(error)
    }
}

impl Archiving {
    pub(super) fn new(storage: Option<ArchiveStorage>) -> Self {
        Self {
            storage: storage.map(Arc::new),
            room: Semaphore::new(ARCHIVED_AT_ONCE),
            trouble: Mutex::default(),
            counts: Default::default(),
            failures: Mutex::default(),
        }
    }

    /// Whether only what is in the archive may be deleted.
    pub(super) fn first(&self) -> ArchiveFirst {
        ArchiveFirst(self.storage.is_some())
    }

    /// Whether it is not yet time to try again, and why.
    pub(super) fn waits(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = trouble.as_ref().filter(|trouble| trouble.again_at > Instant::now())?;
        Some(trouble.error.to_string())
    }

    fn read(&self) -> ArchiveCounts {
        let [jobs, tasks, bytes] = self.counts.each_ref().map(|one| one.load(Ordering::Relaxed));
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ArchiveCounts { jobs, tasks, bytes, failures }
    }

    fn succeeded(&self, written: &Written) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let added = [1, written.tasks, written.bytes];
        for (count, more) in self.counts.iter().zip(added) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn count_failure(&self, reason: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(reason).or_default() += 1;
    }
}

impl Controller {
    /// The archive, if the app has one.
    pub(crate) fn archive(&self) -> Option<&ArchiveStorage> {
        self.0.archiving.storage.as_deref()
    }

    /// Why this process does not archive, if it cannot.
    pub(crate) fn archive_trouble(&self) -> Option<ArchiveTrouble> {
        let trouble = self.0.archiving.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|trouble| ArchiveTrouble {
            problem: trouble.error.to_string(),
            remedy: trouble.error.remedy(),
            since: trouble.since,
        })
    }

    pub(super) fn archive_counts(&self) -> ArchiveCounts {
        self.0.archiving.read()
    }

    /// Writes a job that is marked for deletion to the archive, unless it is there or the app has none. After `until`, the attempt
    /// goes on without its caller.
    pub(super) async fn archive_first(
        &self,
        job_id: &JobId,
        until: Instant,
    ) -> Result<Archived, ControllerError> {
        let Some(storage) = self.0.archiving.storage.clone() else { return Ok(Archived::Yes) };
        if let Some(problem) = self.0.archiving.waits() {
            return Ok(Archived::No(problem));
        }
        let (controller, job_id) = (self.clone(), *job_id);
        let attempt = tokio::spawn(async move { controller.attempt(&storage, &job_id).await });
        match tokio::time::timeout_at(until.into(), attempt).await {
            Ok(Ok(archived)) => archived,
            Ok(Err(panic)) => {
                tracing::error!(%job_id, %panic, "an attempt to archive a job ended");
                Ok(Archived::NotYet)
            }
            Err(_) => Ok(Archived::NotYet),
        }
    }

    async fn attempt(
        &self,
        storage: &ArchiveStorage,
        job_id: &JobId,
    ) -> Result<Archived, ControllerError> {
        // It is never closed.
        let Ok(_room) = self.0.archiving.room.acquire().await else { return Ok(Archived::NotYet) };
        if let Some(problem) = self.0.archiving.waits() {
            return Ok(Archived::No(problem));
        }
        let attempt = Uuid::new_v4();
        let archive = self.0.database.archive();
        let run = match archive.claim(job_id, attempt, self.0.timing.lease).await? {
            ArchiveClaim::Claimed { run } => run,
            ArchiveClaim::Archived => return Ok(Archived::Yes),
            ArchiveClaim::Elsewhere => return Ok(Archived::NotYet),
            // If it is there after all, the statements that delete it ask again.
            ArchiveClaim::NotMarked => return Ok(Archived::Yes),
        };
        match self.write_run(storage, job_id, attempt, run).await {
            Ok(written) => {
                self.0.archiving.succeeded(&written);
                tracing::debug!(%job_id, run, tasks = written.tasks, bytes = written.bytes, "job archived");
                Ok(Archived::Now)
            }
            Err(Failed::Lost) => Ok(Archived::NotYet),
            Err(failed) => {
                let pause = match &failed {
                    // What is wrong with one job would be wrong in each sweep.
                    Failed::Container(error) if !error.is_of_blob() => Duration::ZERO,
                    Failed::Controller(error) if error.is_transient() => Duration::ZERO,
                    _ => self.0.timing.backoff.largest,
                };
                if let Err(error) = archive.release(job_id, attempt, pause).await {
                    tracing::debug!(%job_id, %error, "a claim to archive a job ends with its lease");
                }
                self.note_failure(job_id, failed)
            }
        }
    }

    fn note_failure(&self, job_id: &JobId, failed: Failed) -> Result<Archived, ControllerError> {
        let archiving = &self.0.archiving;
        match failed {
            Failed::Lost => Ok(Archived::NotYet),
            Failed::Container(error) if error.is_of_blob() => {
                archiving.count_failure(error.reason());
                tracing::warn!(%job_id, %error, remedy = error.remedy(), "a job cannot be archived, and is not deleted");
                Ok(Archived::No(error.to_string()))
            }
            Failed::Container(error) => {
                archiving.count_failure(error.reason());
                let mut trouble = archiving.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                let before = trouble.take();
                let tries = before.as_ref().map_or(1, |before| before.tries.saturating_add(1));
                let pause = self.0.timing.backoff.pause(tries, fastrand::f64());
                let since = before.map_or_else(clock::now, |before| before.since);
                tracing::warn!(
                    %error, remedy = error.remedy(), again_in_seconds = pause.as_secs_f64(),
                    "jobs cannot be archived, and are not deleted until they are"
                );
                let again_at = Instant::now() + pause;
                let problem = error.to_string();
                *trouble = Some(Trouble { error, since, tries, again_at });
                Ok(Archived::No(problem))
            }
            Failed::Unwritten(error) => {
                archiving.count_failure("unwritten");
                tracing::error!(%job_id, %error, "a job cannot be archived, and is not deleted: it cannot be written as JSON");
                Ok(Archived::No(error.to_string()))
            }
            Failed::Controller(ControllerError::Database(DatabaseError::Statement(error))) => {
                archiving.count_failure("unreadable");
                tracing::error!(%job_id, %error, "a job cannot be archived, and is not deleted: it cannot be read");
                Ok(Archived::No("the job cannot be read from the database".to_owned()))
            }
            Failed::Controller(error) => {
                archiving.count_failure("database");
                Err(error)
            }
        }
    }

    async fn write_run(
        &self,
        storage: &ArchiveStorage,
        job_id: &JobId,
        attempt: Uuid,
        run: i32,
    ) -> Result<Written, Failed> {
        let (jobs, archive) = (self.0.database.jobs(), self.0.database.archive());
        let lease = self.0.timing.lease;
        let job = jobs.get(job_id).await?.filter(|job| job.run == Some(run)).ok_or(Failed::Lost)?;
        let key = RunKey { job_id: *job_id, run, created_at: job.created_at };
        let facts = RunFacts {
            job_type: job.job_type.clone(),
            status: job.status,
            finished_at: job.finished_at.unwrap_or(job.updated_at),
        };
        let mut writer = storage.write(key);
        if let Some(definition_id) = job.definition_id.clone() {
            let stored = jobs.definition(&definition_id).await?;
            writer.line(&job_line(job, run))?;
            if let Some(stored) = stored {
                writer.line(&ArchivedDefinition {
                    definition_id,
                    name: stored.name,
                    version: stored.version,
                    source: stored.source,
                })?;
            }
        } else {
            writer.line(&job_line(job, run))?;
        }
        let mut end = ArchiveEnd {
            stages: 0,
            tasks: 0,
            tasks_by_status: Default::default(),
            tasks_planned: 0,
            events: 0,
        };
        for stage in archive.stages(job_id).await? {
            end.stages += 1;
            end.tasks_planned += stage.total.unsigned_abs();
            writer.line(&stage_line(stage))?;
        }
        let mut after = (0, String::new());
        let mut tasks = FIRST_PAGE;
        let mut held = Instant::now();
        loop {
            let page = TaskPage { after: (after.0, &after.1), tasks, bytes: PAGE_BYTES };
            let page = archive.tasks(job_id, page).await?;
            let Some(last) = page.last() else { break };
            after = (last.stage.number(), last.task_id.clone());
            let read = page.len() as i64;
            // A page that is not full was cut because its tasks are large.
            tasks = if read < tasks { read.max(1) } else { tasks * 2 }.clamp(1, LARGEST_PAGE);
            for task in &page {
                end.tasks += 1;
                *end.tasks_by_status.entry(task.status.to_string()).or_default() += 1;
            }
            writer = compressed(writer, page).await?;
            writer.send(storage).await?;
            if held.elapsed() > lease / 4 {
                if !archive.hold(job_id, attempt, lease).await? {
                    return Err(Failed::Lost);
                }
                held = Instant::now();
            }
        }
        let mut after = 0;
        loop {
            let events = jobs.events(job_id, after, EVENTS_AT_ONCE).await?;
            let Some(last) = events.last() else { break };
            after = last.event_id;
            for event in events {
                end.events += 1;
                writer.line(&event_line(event))?;
            }
            writer.send(storage).await?;
        }
        writer.line(&end)?;
        let blob = writer.blob().to_owned();
        let finished = writer.finish(storage, &facts, end.tasks).await?;
        if let Committed::Another { version, error } = finished.commit(storage).await? {
            // Asked after the look at the version: whoever takes over from now on makes another one.
            if !archive.hold(job_id, attempt, lease).await? {
                return Err(Failed::Lost);
            }
            tracing::warn!(%job_id, blob, %error, "an archive of this run is replaced");
            finished.replace(storage, version).await?;
        }
        let written = finished.written().clone();
        let detail = json!({
            "container": storage.container(), "blob": blob, "sha256": written.sha256, "bytes": written.bytes,
            "uncompressed_bytes": written.uncompressed_bytes, "tasks": written.tasks,
        });
        if archive.record(job_id, attempt, run, &detail.to_string()).await? {
            Ok(written)
        } else {
            Err(Failed::Lost)
        }
    }
}

/// Compresses the lines of a page of tasks, which takes some time, on a thread of its own.
async fn compressed(
    mut writer: ArchiveWriter,
    page: Vec<TaskToArchive>,
) -> Result<ArchiveWriter, Failed> {
    let compressing = tokio::task::spawn_blocking(move || {
        for task in page {
            writer.line(&task_line(task))?;
        }
        Ok::<_, serde_json::Error>(writer)
    });
    match compressing.await {
        Ok(compressed) => Ok(compressed?),
        // The process ends.
        Err(_) => Err(Failed::Lost),
    }
}

fn job_line(job: JobRecord, run: i32) -> ArchivedJob {
    ArchivedJob {
        format: ARCHIVE_FORMAT,
        job_id: job.job_id,
        run,
        job_type: job.job_type,
        status: job.status,
        parameters: job.parameters,
        result: job.result_data.map(JsonText::into),
        stage_results: job.stage_results,
        error: job.error_details,
        labels: job.labels,
        path: job.path,
        stage: job.stage,
        total_stages: job.total_stages,
        created_at: Timestamp(job.created_at),
        updated_at: Timestamp(job.updated_at),
        finished_at: job.finished_at.map(Timestamp),
        deadline: job.deadline.map(Timestamp),
        is_child: job.is_child.unwrap_or(false),
        definition_id: job.definition_id,
    }
}

fn stage_line(stage: StageToArchive) -> ArchivedStage {
    ArchivedStage {
        stage: stage.stage,
        node: stage.name,
        node_kind: stage.kind,
        total: stage.total,
        completed: stage.completed,
        failed: stage.failed,
        skipped: stage.skipped,
        batches: stage.batches,
        outcome: stage.outcome,
        best_effort: stage.best_effort,
        is_finalize: stage.is_finalize,
        needed_by: stage.needed_by,
        followed_by: stage.followed_by,
        not_chosen: stage.not_chosen,
        decision: stage.decision,
        timeout_seconds: stage.timeout_seconds,
        on_timeout: stage.on_timeout,
        child_job_id: stage.child_job_id,
        output: stage.output.map(JsonText::into),
        result: stage.result.map(JsonText::into),
        created_at: Timestamp(stage.created_at),
        planned_at: stage.planned_at.map(Timestamp),
        advanced_at: stage.advanced_at.map(Timestamp),
    }
}

fn task_line(task: TaskToArchive) -> ArchivedTask {
    ArchivedTask {
        task_id: task.task_id,
        stage: task.stage,
        task_index: task.task_index,
        ordinal: task.ordinal,
        task_type: task.task_type,
        status: task.status,
        attempt: task.attempt,
        retry_count: task.retry_count,
        batch_id: task.batch_id,
        parent_task_id: task.parent_task_id,
        parameters: task.parameters.into(),
        result: task.result_data.map(JsonText::into),
        error: task.error_details,
        created_at: Timestamp(task.created_at),
        updated_at: Timestamp(task.updated_at),
        started_at: task.started_at.map(Timestamp),
        finished_at: task.finished_at.map(Timestamp),
        worker_id: task.worker_id,
        progress: task.progress,
        message: task.message,
        log_tail: task.log_tail,
    }
}

fn event_line(event: StoredEvent) -> ArchivedEvent {
    ArchivedEvent {
        event_id: event.event_id,
        event: event.kind,
        run: event.run,
        stage: event.stage,
        node: event.node,
        happened_at: Timestamp(event.happened_at),
        requested_by: event.requested_by,
        reason: event.reason,
        detail: event.detail.map(Into::into),
        times: event.times,
        last_at: event.last_at.map(Timestamp),
        amount: event.amount,
    }
}
