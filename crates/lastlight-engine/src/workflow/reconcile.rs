//! Reconcile: all pending work is in PostgreSQL, so lost messages are detected there and sent
//! again. Runs every minute; several instances may run it at once, since each skips what another
//! one takes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{
    Controller, ControllerError,
    outgoing::{BatchToSend, TaskMessages, TaskToSend},
    poison::some,
};
use crate::{
    failpoint::failpoint,
    model::{JobStatus, ProcessingPath, UserRequest, messages::message_time, timestamp},
    store::{BatchKey, DatabaseError, OverdueJob, StageKey, UnsentBatch, UnsentTask},
};

/// Maximum number of rows that a step of a sweep takes; the rest waits for the next sweep.
const AT_ONCE: i64 = 500;

/// Claims of batches that are ended in one statement, each with up to 100 tasks.
const CLAIMS_AT_ONCE: i64 = 20;

/// Maximum number of such statements in a sweep.
const MOST_ROUNDS: u32 = 100;

/// A sweep ends after this time or its share of an invocation's time, whichever is shorter; the
/// next one continues. Shorter than the timer's interval of a minute.
const LONGEST_SWEEP: Duration = Duration::from_secs(45);

/// What a sweep found and repaired. All zero on an idle system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileReport {
    /// Jobs that failed because their time limit had passed.
    pub jobs_timed_out: u64,
    /// Stages in which an interrupted retry left open tasks.
    pub retries_cut_off: u64,
    /// Open tasks of finished jobs.
    pub tasks_skipped: u64,
    /// Stages whose counters did not agree with their tasks.
    #[serde(rename = "counters_mended")]
    pub counters_repaired: u64,
    /// Jobs that were submitted for stages that wait for them.
    pub jobs_awaited: u64,
    /// Gates that were decided because their time had passed.
    pub gates_timed_out: u64,
    /// Ended stages that had not been advanced.
    pub stages_advanced: u64,
    /// Stages whose planner died or never started.
    pub planners_missing: u64,
    /// Unsent job messages that were sent.
    pub job_messages_sent: u64,
    /// Tasks sent again because their attempt died.
    pub dead_attempts_resent: u64,
    /// Tasks of workers that are ready again because their attempt died.
    pub dead_attempts_readied: u64,
    pub deferred_sent: u64,
    /// Sent batches that are presumed lost.
    pub batches_lost: u64,
    pub batches_sent: u64,
    /// Sends that failed; their messages stay unsent.
    pub sends_failed: u64,
    /// Removed tasks of jobs that were deleted by hand.
    pub orphans_removed: u64,
    /// Jobs of a version without terms that searches find now.
    pub jobs_made_searchable: u64,
    /// Notifications that were delivered, and that were given up.
    pub notifications_delivered: u64,
    pub notifications_given_up: u64,
    /// Jobs that were archived before they are deleted.
    pub jobs_archived: u64,
    /// Deleted jobs, and their tasks.
    pub jobs_purged: u64,
    pub tasks_purged: u64,
    /// Jobs that bulk operations changed.
    pub bulk_jobs: u64,
    /// Deleted runs of schedules.
    pub schedule_runs_pruned: u64,
}

impl Controller {
    /// Runs one sweep.
    ///
    /// # Errors
    /// The database failed. What was done before stays done.
    #[tracing::instrument(name = "reconcile", skip_all)]
    pub async fn reconcile(&self) -> Result<ReconcileReport, ControllerError> {
        let began = Instant::now();
        let mut report = ReconcileReport::default();
        let database = &self.0.database;
        for job in database.jobs().overdue(AT_ONCE).await? {
            report.jobs_timed_out += u64::from(or_left(&job.key, self.time_out(&job).await)?);
        }
        let lost_after = self.0.timing.lost_after.as_secs_f64();
        report.retries_cut_off =
            database.stages().open_partially_reopened(lost_after, AT_ONCE).await?;
        for open in database.stages().to_close(AT_ONCE).await? {
            let key = StageKey { job_id: open.job_id, stage: open.stage };
            let closed = Box::pin(self.close_stage_of(&key, open.has_child)).await;
            report.tasks_skipped += or_left(&key, closed)?;
        }
        for job_id in database.stages().to_finalize(AT_ONCE).await? {
            match self.finalize(&job_id).await {
                // It was deleted meanwhile.
                Ok(_) | Err(ControllerError::UnknownJob { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        failpoint!("reconcile.closed");
        for key in database.stages().silent(lost_after, AT_ONCE).await? {
            let repaired =
                database.stages().repair_counters(&key).await.map_err(ControllerError::from);
            if let Some((counters, recount)) = or_left(&key, repaired)? {
                tracing::warn!(
                    job_id = %key.job_id, stage = key.stage.get(),
                    counted.total = counters.total, counted.completed = counters.completed,
                    counted.failed = counters.failed, counted.skipped = counters.skipped,
                    recount.total = recount.total, recount.completed = recount.completed,
                    recount.failed = recount.failed, recount.skipped = recount.skipped,
                    "a stage's counters did not agree with its tasks and were set to a recount"
                );
                report.counters_repaired += 1;
            }
        }
        self.decide_due_gates(&mut report).await?;
        report.jobs_awaited = self.submit_children(None).await?;
        for key in self.end_stages_of_ended_children().await? {
            report.stages_advanced += u64::from(or_left(&key, self.advance(&key).await)?);
        }
        for key in database.stages().to_advance(AT_ONCE).await? {
            report.stages_advanced += u64::from(or_left(&key, self.advance(&key).await)?);
        }
        failpoint!("reconcile.advanced");
        report.planners_missing = database.stages().mark_dead_planners_unsent(lost_after).await?;
        self.send_unsent_job_messages(&mut report).await?;
        failpoint!("reconcile.planned");
        // Before dead attempts are sent again: their tasks, once they run, would make a silent
        // stage look alive.
        report.batches_lost =
            database.outbox().mark_lost_batches_unsent(lost_after, 20 * AT_ONCE).await?;
        failpoint!("reconcile.owed");
        self.resend_dead_attempts(&mut report).await?;
        failpoint!("reconcile.resent");
        self.resend_deferred(&mut report).await?;
        let longest = LONGEST_SWEEP.min(self.0.timing.invocation_share());
        let left = longest.saturating_sub(began.elapsed());
        self.send_unsent_batches(&mut report, left).await?;
        // Last, because these can wait and pending work cannot; an error here does not fail the
        // sweep.
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.sweep_notifications(&mut report, left).await {
            tracing::warn!(%error, "notifications could not be sent; the next sweep tries again");
        }
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.sweep_bulk(&mut report, left).await {
            tracing::warn!(%error, "a bulk operation was interrupted; the next sweep goes on with it");
        }
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.remove_orphans(&mut report, left).await {
            tracing::warn!(%error, "tasks of deleted jobs could not be removed; the next sweep tries again");
        }
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.measure(left).await {
            tracing::warn!(%error, "finished stages and jobs could not be measured; the next sweep tries again");
        }
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.purge(&mut report, left).await {
            tracing::warn!(%error, "jobs whose retention is over could not be deleted; the next sweep tries again");
        }
        let left = longest.saturating_sub(began.elapsed());
        if let Err(error) = self.add_missing_terms(&mut report, left).await {
            tracing::warn!(%error, "jobs of an older version could not be made searchable; the next sweep tries again");
        }
        if let Err(error) = self.prune_schedule_runs(&mut report).await {
            tracing::warn!(%error, "old runs of schedules could not be deleted; the next sweep tries again");
        }
        self.0.counters.note_sweep(&report);
        if report != ReconcileReport::default() {
            report.note();
        }
        self.note_sweep(&report, began.elapsed()).await;
        Ok(report)
    }

    /// Sends unsent messages that are due, job messages and batches, until there are none left,
    /// every path fails, or the time has passed.
    pub(super) async fn send_unsent(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        self.send_unsent_job_messages(report).await?;
        self.send_unsent_batches(report, within).await
    }

    /// Sends several batches at once. A path that fails is skipped until the next sweep, so that it
    /// does not hold up the other one, and the sweep does not wait for each of a thousand batches
    /// to fail.
    async fn send_unsent_batches(
        &self,
        report: &mut ReconcileReport,
        within: Duration,
    ) -> Result<(), ControllerError> {
        let began = Instant::now();
        let grace = self.0.timing.send_grace.as_secs_f64();
        let failing = Failing::default();
        while began.elapsed() < within && !failing.is_every_path() {
            let unsent = self.0.database.outbox().get_pending_retry_batches(grace, AT_ONCE).await?;
            if unsent.is_empty() {
                break;
            }
            let sends = stream::iter(unsent)
                .map(async |batch| {
                    if failing.is(batch.path) {
                        return Ok(false);
                    }
                    let BatchKey { job_id, stage, .. } = batch.key;
                    let sent = self.send_unsent_batch(&batch).await.map(Some);
                    let sent = or_left(&StageKey { job_id, stage }, sent)?;
                    if sent == Some(false) {
                        failing.note(batch.path);
                    }
                    Ok::<_, ControllerError>(sent == Some(true))
                })
                .buffer_unordered(self.0.timing.sends_in_flight);
            let mut sends = std::pin::pin!(sends);
            while let Some(sent) = sends.next().await {
                report.count(sent?, |report| &mut report.batches_sent);
            }
        }
        Ok(())
    }

    async fn time_out(&self, job: &OverdueJob) -> Result<bool, ControllerError> {
        let reason = format!(
            "the job was not finished by {}, {} s after it was submitted: its time limit",
            timestamp::write(job.deadline),
            (job.deadline - job.created_at).whole_seconds()
        );
        let failed = self
            .0
            .database
            .jobs()
            .end_early(&job.key.job_id, JobStatus::Failed, &reason, &UserRequest::NOBODY)
            .await?;
        if failed.is_some() {
            tracing::warn!(job_id = %job.key.job_id, reason, "job failed");
        }
        Ok(failed.is_some())
    }

    pub(super) async fn send_unsent_job_messages(
        &self,
        report: &mut ReconcileReport,
    ) -> Result<(), ControllerError> {
        let grace = self.0.timing.send_grace.as_secs_f64();
        let failing = Failing::default();
        for unsent in self.0.database.outbox().due_job_messages(grace, AT_ONCE).await? {
            let sent = !failing.is(unsent.path)
                && self
                    .0
                    .send_job_message(
                        &unsent.key,
                        unsent.sends,
                        &unsent.job_type,
                        &unsent.parameters,
                        unsent.path,
                        unsent.trace,
                    )
                    .await
                    .is_ok();
            if !sent {
                failing.note(unsent.path);
            }
            report.count(sent, |report| &mut report.job_messages_sent);
        }
        Ok(())
    }

    /// A task whose message cannot be sent is 'retrying' with a time at which it is checked again,
    /// so the next sweep finds it.
    async fn resend_dead_attempts(
        &self,
        report: &mut ReconcileReport,
    ) -> Result<(), ControllerError> {
        let again = self.0.timing.lease.as_secs_f64();
        let dead = self.0.database.tasks().take_dead_attempts(again, AT_ONCE).await?;
        failpoint!("reconcile.took");
        let mut readied = dead.iter().filter(|task| task.handler_id.is_some()).count() as u64;
        for _ in 0..MOST_ROUNDS {
            let ended = self.0.database.workers().take_dead_claims(CLAIMS_AT_ONCE).await?;
            readied += ended.tasks;
            if ended.claims < CLAIMS_AT_ONCE {
                break;
            }
        }
        if readied > 0 {
            self.0.worker_waits.ready(None);
            report.dead_attempts_readied += readied;
        }
        let resent = self.send_due(&dead).await;
        report.dead_attempts_resent += resent.sent;
        report.sends_failed += resent.failed();
        Ok(())
    }

    /// For processes that have free slots and do not know of deferred tasks: a process that has
    /// deferred none yet, or could not reach the database.
    async fn resend_deferred(&self, report: &mut ReconcileReport) -> Result<(), ControllerError> {
        let resent = self.send_deferred(self.0.timing.tasks_in_flight).await?;
        report.deferred_sent += resent.sent;
        report.sends_failed += resent.failed();
        Ok(())
    }

    async fn send_unsent_batch(&self, unsent: &UnsentBatch) -> Result<bool, ControllerError> {
        let tasks = self.0.database.outbox().get_tasks_by_batch(&unsent.key).await?;
        let timestamp = message_time();
        let shared = TaskMessages {
            job_id: &unsent.key.job_id,
            stage: unsent.key.stage,
            timestamp: &timestamp,
            trace: tasks.first().and_then(|task| task.trace),
        };
        let messages: Vec<_> = if unsent.tasks_per_message.is_coarse() {
            let coarse = |task: &UnsentTask| {
                let batch = BatchToSend {
                    key: &unsent.key,
                    job_type: &task.job_type,
                    task_type: &task.task_type,
                    resends: unsent.sends,
                    trace: task.trace,
                };
                batch.message(&timestamp).ok()
            };
            // All tasks of a batch have the same types; a batch without open tasks needs no
            // message.
            tasks.first().and_then(coarse).into_iter().collect()
        } else {
            let single = |task| shared.message(TaskToSend::from(task)).ok();
            tasks.iter().filter_map(single).collect()
        };
        let batch = std::slice::from_ref(&unsent.key);
        Ok(self.0.send_batches(unsent.path, batch, &messages).await?)
    }
}

/// The result for one stage. A statement that fails because of the stage's own data, such as a
/// value in its rows that cannot be read, would fail in every sweep, and must not keep the sweep
/// from all other jobs. Neither must a definition that only a newer version reads.
pub(super) fn or_left<T: Default>(
    key: &StageKey,
    result: Result<T, ControllerError>,
) -> Result<T, ControllerError> {
    match result {
        Err(ControllerError::Database(DatabaseError::Statement(error))) => {
            tracing::error!(job_id = %key.job_id, stage = key.stage.get(), %error, "the sweep skips a stage whose statement failed");
            Ok(T::default())
        }
        Err(error @ ControllerError::UnreadableDefinition { .. }) => {
            tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), %error, "the sweep leaves a stage to another process");
            Ok(T::default())
        }
        result => result,
    }
}

impl ReconcileReport {
    /// Logs what was found: one field for each count that is not zero.
    fn note(&self) {
        tracing::info!(
            jobs_timed_out = some(self.jobs_timed_out),
            retries_cut_off = some(self.retries_cut_off),
            tasks_skipped = some(self.tasks_skipped),
            counters_repaired = some(self.counters_repaired),
            jobs_awaited = some(self.jobs_awaited),
            gates_timed_out = some(self.gates_timed_out),
            stages_advanced = some(self.stages_advanced),
            planners_missing = some(self.planners_missing),
            job_messages_sent = some(self.job_messages_sent),
            dead_attempts_resent = some(self.dead_attempts_resent),
            dead_attempts_readied = some(self.dead_attempts_readied),
            deferred_sent = some(self.deferred_sent),
            batches_lost = some(self.batches_lost),
            batches_sent = some(self.batches_sent),
            sends_failed = some(self.sends_failed),
            orphans_removed = some(self.orphans_removed),
            notifications_delivered = some(self.notifications_delivered),
            notifications_given_up = some(self.notifications_given_up),
            jobs_archived = some(self.jobs_archived),
            "reconciled"
        );
    }

    fn count(&mut self, sent: bool, counter: impl FnOnce(&mut Self) -> &mut u64) {
        *if sent { counter(self) } else { &mut self.sends_failed } += 1;
    }
}

/// The paths on which a send failed in this sweep.
#[derive(Debug, Default)]
struct Failing([AtomicBool; ProcessingPath::ALL.len()]);

impl Failing {
    fn is(&self, path: ProcessingPath) -> bool {
        self.0[path as usize].load(Ordering::Relaxed)
    }

    fn note(&self, path: ProcessingPath) {
        self.0[path as usize].store(true, Ordering::Relaxed);
    }

    fn is_every_path(&self) -> bool {
        ProcessingPath::ALL.into_iter().all(|path| self.is(path))
    }
}
