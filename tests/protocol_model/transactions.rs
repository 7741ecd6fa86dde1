//! The writes: one function for each transaction of `crates/lastlight-engine/src/store`, with the same
//! name and the same conditions as the statement in its `sql` folder. Where a statement checks the
//! time (an expired lease, an overdue message), the function assumes that the time has come: the
//! caller chooses when not to call it.
//!
//! `sees_open`: whether the job was unfinished (`sees_running`: and not paused) when the statement
//! began, which may be before its commit.

mod control;

use lastlight_engine::model::{JobStatus, TaskStatus};

use crate::{
    graphs::{Graph, Kind},
    mutations::Mutation,
    state::{Advancer, Batch, Database, Job, PlannerId, STAGES, Stage, TASKS, Task},
};

/// The parameters of a job, and the part of the protocol that is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Number of tasks that the job type plans for each stage.
    pub plan: [u8; STAGES],
    /// Number of these stages that the job has.
    pub stages: u8,
    /// Number of tasks of a batch and of a chunk: a chunk consists of whole batches.
    pub batch: u8,
    /// Number of attempts before a task has failed permanently.
    pub max_attempts: u8,
    /// Number of failed tasks that each stage tolerates.
    pub tolerates: u8,
    /// What the stages depend on, unless they form a line.
    pub graph: Option<Graph>,
    /// The stages whose tasks are claimed by workers, as bits. Their tasks need no messages.
    pub workers: u8,
    pub mutation: Option<Mutation>,
}

/// How an attempt ended; `TaskOutcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Retry,
}

impl Outcome {
    fn status(self) -> TaskStatus {
        match self {
            Self::Completed => TaskStatus::Completed,
            Self::Failed => TaskStatus::Failed,
            Self::Retry => TaskStatus::Retrying,
        }
    }
}

/// The result of recording the end of an attempt; `CompletionRecord`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub written: bool,
    pub stage_ended: bool,
}

impl Rules {
    pub(crate) fn lacks(&self, part: Mutation) -> bool {
        self.mutation == Some(part)
    }

    pub(crate) fn tasks(&self, stage: u8) -> u8 {
        self.plan[usize::from(stage)]
    }

    pub(crate) fn batch_of(&self, task: u8) -> u8 {
        task / self.batch
    }

    /// The tasks of a batch.
    pub(crate) fn tasks_of(&self, stage: u8, batch: u8) -> std::ops::Range<u8> {
        let first = batch * self.batch;
        first..(first + self.batch).min(self.tasks(stage))
    }

    /// `FailurePolicy::tolerates`.
    pub(crate) fn tolerates(&self, failed: u8) -> bool {
        failed <= self.tolerates
    }

    /// Whether the tasks of a stage are claimed by workers.
    pub(crate) fn is_worked(&self, stage: u8) -> bool {
        self.workers & (1 << stage) != 0
    }

    pub(crate) fn kind(&self, stage: u8) -> Kind {
        self.graph.map_or(Kind::Tasks, |graph| graph.kinds[usize::from(stage)])
    }

    pub(crate) fn has_ended(&self, stage: &Stage) -> bool {
        (stage.planned || self.lacks(Mutation::EndBeforePlanned)) && stage.counters_add_up()
    }
}

/// The states that a retry reopens, as in `TaskStatus::reopenable`.
fn is_reopenable(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Failed | TaskStatus::Skipped)
}

impl Database {
    pub(crate) fn set_job_status(&mut self, to: JobStatus) {
        let Some(job) = &mut self.job else { return };
        self.seen.illegal |= job.status.transition(to).is_err();
        job.status = to;
        if to.is_terminal() {
            self.seen.ended.get_or_insert(to);
        }
    }

    /// Of a line: `insert_job`; of a graph: `insert_graph`.
    pub(crate) fn insert_job(&mut self, rules: &Rules) {
        if self.job.is_none() {
            self.begin_run(rules);
        }
    }

    fn begin_run(&mut self, rules: &Rules) {
        self.job = Some(Job {
            status: JobStatus::Queued,
            stage: 0,
            open_stages: None,
            pause_requested: false,
            paused: false,
            ends_as: None,
        });
        match &rules.graph {
            None => self.stages[0] = Some(Stage { unsent: true, ..Stage::default() }),
            Some(graph) => self.insert_stages(rules, graph),
        }
    }

    pub(crate) fn job_message_sent(&mut self, stage: u8) {
        if let Some(stage) = self.stage_mut(stage) {
            stage.unsent = false;
        }
    }

    /// Returns the cursor at which to continue.
    pub(crate) fn lease_stage(
        &mut self,
        rules: &Rules,
        number: u8,
        owner: PlannerId,
        sees_running: bool,
    ) -> Option<u8> {
        let stage = self.stage_mut(number)?;
        if !stage.is_to_be_planned(rules, number) || !sees_running {
            return None;
        }
        stage.lease_owner = Some(owner);
        let cursor = stage.plan_cursor;
        let job = self.job.as_mut()?;
        if job.status.transition(JobStatus::Processing).is_ok() {
            // The pause deleted the job messages of all other stages of a graph, so it stays.
            job.paused &= job.open_stages.is_some();
            self.set_job_status(JobStatus::Processing);
        }
        Some(cursor)
    }

    /// Returns the number of planned tasks, or `None` if the lease was lost.
    pub(crate) fn write_chunk(
        &mut self,
        rules: &Rules,
        number: u8,
        owner: PlannerId,
        cursor: u8,
        sees_open: bool,
    ) -> Option<u8> {
        let length = rules.batch.min(rules.tasks(number).saturating_sub(cursor));
        let is_worked = rules.is_worked(number);
        let before = self.attempts_before;
        let stage = self.stage_mut(number)?;
        let holds_lease =
            stage.lease_owner == Some(owner) || rules.lacks(Mutation::WriteChunkWithoutLease);
        if length == 0 || !holds_lease || stage.planned || !sees_open {
            return None;
        }
        let mut inserted = 0;
        for task in cursor..cursor + length {
            let row = &mut stage.tasks[usize::from(task)];
            if row.is_none() {
                inserted += 1;
                *row = Some(Task {
                    status: TaskStatus::Queued,
                    attempt: before,
                    forgiven: before,
                    deferred: false,
                    ready: is_worked,
                    claimed: false,
                    skipped_by_user: false,
                    outcomes: 0,
                    decided_by: 0,
                });
            }
            if !rules.lacks(Mutation::WriteChunkWithoutBatches) {
                let batch = if is_worked { Batch::Sent } else { Batch::Unsent };
                stage.batches[usize::from(rules.batch_of(task))] = Some(batch);
            }
        }
        stage.plan_cursor += length;
        stage.total += inserted;
        Some(length)
    }

    /// Returns whether this ended the stage; `None` if the lease was lost.
    pub(crate) fn finish_plan(&mut self, number: u8, owner: PlannerId) -> Option<bool> {
        let stage = self.stage_mut(number)?;
        if stage.lease_owner != Some(owner) || stage.planned {
            return None;
        }
        stage.planned = true;
        stage.lease_owner = None;
        Some(stage.counters_add_up())
    }

    /// Stops before the plan is complete, at the cursor: the stage's job message is unsent again.
    pub(crate) fn stop_plan(&mut self, number: u8, owner: PlannerId) -> bool {
        let runs = self.is_open() && self.job.is_some_and(|job| !job.paused);
        let Some(stage) = self
            .stage_mut(number)
            .filter(|stage| runs && !stage.planned && stage.lease_owner == Some(owner))
        else {
            return false;
        };
        stage.lease_owner = None;
        stage.unsent = true;
        true
    }

    pub(crate) fn release_stage(&mut self, number: u8, owner: PlannerId) {
        if let Some(stage) = self.stage_mut(number).filter(|stage| stage.lease_owner == Some(owner))
        {
            stage.lease_owner = None;
        }
    }

    /// Returns the number of the attempt. A running task is claimed as if its lease had expired, but
    /// not by a worker: for workers the sweep makes it ready again. Of workers: `claim_ready`.
    pub(crate) fn claim_task(
        &mut self,
        rules: &Rules,
        number: u8,
        task: u8,
        sees_open: bool,
    ) -> Option<u8> {
        let counted = u8::from(!rules.lacks(Mutation::AttemptCountedAtItsEnd));
        let row = self.stage_mut(number)?.tasks[usize::from(task)].as_mut()?;
        if !sees_open {
            return None;
        }
        if rules.is_worked(number) && !row.ready {
            return None;
        }
        row.status = row.status.transition(TaskStatus::Processing).ok()?;
        row.ready &= rules.lacks(Mutation::ClaimKeepsReady);
        let attempt = row.attempt + 1;
        row.attempt += counted;
        row.deferred = false;
        Some(attempt)
    }

    /// `claim_batches` with a row for the claim: the first attempt at a task of a batch, which the task
    /// does not count yet. Returns the number of the attempt.
    pub(crate) fn claim_in_batch(
        &mut self,
        rules: &Rules,
        number: u8,
        task: u8,
        sees_open: bool,
    ) -> Option<u8> {
        let before = self.attempts_before;
        let row = self.stage_mut(number)?.tasks[usize::from(task)].as_mut()?;
        if !sees_open || !rules.is_worked(number) || !row.ready || row.attempt > before {
            return None;
        }
        row.ready = false;
        row.claimed = true;
        Some(row.attempt + 1)
    }

    /// `own_claimed`: a task in a claim of a batch, of which a heartbeat says that it runs, or which is
    /// to be released, counts its attempt.
    pub(crate) fn own_claimed(&mut self, number: u8, task: u8) -> bool {
        let is_open = self.is_open();
        let Some(stage) = self.stage_mut(number).filter(|_| is_open) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut().filter(|row| row.claimed) else {
            return false;
        };
        row.begin_claimed()
    }

    /// One of the tasks in the claims of batches that `dead_claims` ends.
    pub(crate) fn end_claim(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let is_open = self.is_open();
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        let runs = is_open && !stage.advanced;
        let Some(row) = stage.tasks[usize::from(task)].as_mut().filter(|row| row.claimed) else {
            return false;
        };
        row.claimed = false;
        if runs {
            row.status = TaskStatus::Retrying;
            row.attempt += u8::from(!rules.lacks(Mutation::DeadClaimKeepsAttempt));
            row.ready = true;
        }
        true
    }

    pub(crate) fn complete_task(
        &mut self,
        rules: &Rules,
        number: u8,
        task: u8,
        attempt: u8,
        outcome: Outcome,
        sees_open: bool,
    ) -> Recorded {
        const NOT_WRITTEN: Recorded = Recorded { written: false, stage_ended: false };
        let fenced = !rules.lacks(Mutation::CompleteWithoutFence);
        let as_claimed = rules.lacks(Mutation::CompleteClaimedWithoutFence)
            && rules.is_worked(number)
            && attempt == self.attempts_before + 1;
        let by_attempt = fenced && !rules.lacks(Mutation::CompleteWithoutAttempt) && !as_claimed;
        let late = !sees_open && self.is_finished();
        let is_worked = rules.is_worked(number) && !rules.lacks(Mutation::RetryNotReady);
        if !sees_open && !rules.lacks(Mutation::CompleteAfterTheEnd) {
            return NOT_WRITTEN;
        }
        let Some(stage) = self.stages[usize::from(number)].as_mut() else {
            return NOT_WRITTEN;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return NOT_WRITTEN;
        };
        // The first attempt of a claim of a batch starts and ends in one statement.
        if row.claimed && attempt == row.attempt + 1 {
            row.begin_claimed();
        }
        // The statement's states are those from which all three ends are legal transitions.
        let ends = [Outcome::Completed, Outcome::Failed, Outcome::Retry];
        let legal = ends.iter().all(|end| row.status.transition(end.status()).is_ok());
        let counted_now = u8::from(rules.lacks(Mutation::AttemptCountedAtItsEnd));
        if (fenced && !legal) || (by_attempt && row.attempt + counted_now != attempt) {
            return NOT_WRITTEN;
        }
        self.seen.illegal |= row.status.transition(outcome.status()).is_err();
        self.seen.counted_late |= late;
        row.status = outcome.status();
        row.decided_by = attempt;
        row.attempt += counted_now;
        row.ready = is_worked && outcome == Outcome::Retry;
        match outcome {
            Outcome::Completed => stage.completed += 1,
            Outcome::Failed => stage.failed += 1,
            Outcome::Retry => {}
        }
        row.outcomes = (row.outcomes + u8::from(outcome != Outcome::Retry)).min(2);
        Recorded { written: true, stage_ended: rules.has_ended(stage) }
    }

    /// One of the claims that `release_claims` releases: its attempt never started and does not
    /// count.
    pub(crate) fn release_claim(
        &mut self,
        rules: &Rules,
        number: u8,
        task: u8,
        attempt: u8,
    ) -> bool {
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        let Some(row) =
            stage.tasks[usize::from(task)].as_mut().filter(|row| row.attempt == attempt)
        else {
            return false;
        };
        let Ok(retrying) = row.status.transition(TaskStatus::Retrying) else {
            return false;
        };
        row.status = retrying;
        row.forgiven += 1;
        row.ready = rules.is_worked(number);
        true
    }

    /// One of the tasks that `defer_tasks` keeps for a new message, because there is no permit to
    /// start it.
    pub(crate) fn defer_task(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let by_messages = !rules.is_worked(number);
        let Some(stage) = self.stage_mut(number).filter(|_| by_messages) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return false;
        };
        match row.status.transition(TaskStatus::PendingQueue) {
            Ok(status) => row.status = status,
            Err(_) if matches!(row.status, TaskStatus::PendingQueue | TaskStatus::Retrying) => {}
            Err(_) if rules.lacks(Mutation::DeferWithoutState) => {
                row.status = TaskStatus::PendingQueue
            }
            Err(_) => return false,
        }
        row.deferred = true;
        true
    }

    /// Takes a deferred task; its message is sent afterwards. It stays deferred until it is
    /// claimed.
    pub(crate) fn take_deferred(&mut self, number: u8, task: u8) -> bool {
        let runs = self.is_processing();
        let Some(stage) = self.stage_mut(number).filter(|_| runs) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return false;
        };
        if !row.deferred {
            return false;
        }
        if let Ok(queued) = row.status.transition(TaskStatus::Queued) {
            row.status = queued;
        }
        true
    }

    /// One of the tasks that `fail_tasks` fails and that no attempt holds.
    pub(crate) fn fail_task(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let is_open = self.is_open() && !rules.is_worked(number);
        let Some(stage) = self.stage_mut(number).filter(|_| is_open) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return false;
        };
        let Ok(failed) = row.status.transition(TaskStatus::Failed) else {
            return false;
        };
        row.status = failed;
        row.deferred = false;
        row.decided_by = row.attempt;
        row.outcomes = (row.outcomes + 1).min(2);
        stage.failed += 1;
        true
    }

    pub(crate) fn batch_update_status(&mut self, rules: &Rules, number: u8, batch: u8) {
        let writes_it = rules.lacks(Mutation::WriteChunkWithoutBatches);
        if let Some(stage) = self.stage_mut(number) {
            let row = &mut stage.batches[usize::from(batch)];
            if row.is_some() || writes_it {
                *row = Some(Batch::Sent);
            }
        }
    }

    /// Whether `reconcile` must send the batch.
    pub(crate) fn is_pending_retry_batch(&self, number: u8, batch: u8) -> bool {
        self.is_processing() && self.batch(number, batch) == Some(Batch::Unsent)
    }

    /// The tasks of a batch that still need a message, those of `get_tasks_by_batch`.
    pub(crate) fn tasks_of_batch(
        &self,
        rules: &Rules,
        number: u8,
        batch: u8,
    ) -> impl Iterator<Item = u8> {
        let waits = move |task: &u8| {
            use TaskStatus::{PendingQueue, Queued, Retrying};
            self.stage(number).and_then(|stage| stage.task(*task)).is_some_and(|row| {
                !row.deferred && matches!(row.status, PendingQueue | Queued | Retrying)
            })
        };
        rules.tasks_of(number, batch).filter(waits)
    }

    /// Reads a stage that has ended and was not advanced.
    pub(crate) fn ended_stage(&self, rules: &Rules, number: u8) -> Option<Advancer> {
        let stage = self.stage(number)?;
        (!stage.advanced && rules.has_ended(stage)).then_some(Advancer {
            stage: number,
            reruns: self.reruns,
            failed: stage.failed,
            skipped: stage.skipped,
            alone: self.waiting_for_one(rules, number),
        })
    }

    /// In a line: `next_stage` or `end_job`, depending on what was read. Returns the number of the
    /// next stage if its message must be sent.
    pub(crate) fn go_on(&mut self, rules: &Rules, read: Advancer) -> Option<u8> {
        let asks_again = !rules.lacks(Mutation::AdvanceByWhatWasRead);
        let number = read.stage;
        let of_this_run = read.reruns == self.reruns;
        let is_checked_run = of_this_run || rules.lacks(Mutation::AdvanceOfAnotherRun);
        let stage = self.stage_mut(number)?;
        let as_read = (stage.failed, stage.skipped) == (read.failed, read.skipped)
            || rules.lacks(Mutation::AdvanceByOtherCounters);
        let as_read = as_read && is_checked_run;
        // advance_stage.sql, with which both begin.
        if asks_again && (stage.advanced || !rules.has_ended(stage) || !as_read) {
            return None;
        }
        stage.advanced = true;
        let failed = stage.failed;
        let tolerates = rules.tolerates(read.failed);
        let next = number + 1;
        let to = match (tolerates, next < rules.stages) {
            (true, true) => JobStatus::Queued,
            (true, false) => JobStatus::Completed,
            (false, _) => JobStatus::Failed,
        };
        let job = self.job?;
        if asks_again && (job.stage != number || job.status.transition(to).is_err()) {
            return None;
        }
        self.seen.misjudged |= rules.tolerates(failed) != tolerates || !of_this_run;
        self.set_job_status(to);
        let stage = self.stage_mut(number)?;
        stage.advances = (stage.advances + 1).min(2);
        if to.is_terminal() {
            return None;
        }
        let job = self.job.as_mut()?;
        job.stage = next;
        job.paused = job.pause_requested;
        let waits = job.paused;
        let row = self.stages[usize::from(next)].get_or_insert_default();
        row.unsent = !waits && !rules.lacks(Mutation::NextStageWithoutOutbox);
        (!waits).then_some(next)
    }

    /// Ends the job because its stage cannot be planned.
    pub(crate) fn fail_plan(&mut self, rules: &Rules, number: u8, owner: PlannerId) -> bool {
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        let holds_lease = stage.lease_owner == Some(owner) && !stage.planned;
        if !holds_lease && !rules.lacks(Mutation::FailPlanWithoutLease) {
            return false;
        }
        if holds_lease {
            stage.lease_owner = None;
        }
        let failed = self.end_early(JobStatus::Failed);
        self.seen.failed_by_stranger |= failed && !holds_lease;
        failed
    }

    /// Not a statement of lastlight: an outcome is missing in the counters.
    pub(crate) fn drift(&mut self, number: u8) -> bool {
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        if stage.advanced || stage.completed == 0 {
            return false;
        }
        stage.completed -= 1;
        self.seen.drifted = true;
        true
    }

    pub(crate) fn repair_counters(&mut self, number: u8) -> bool {
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        let before = *stage;
        if stage.planned && !stage.advanced {
            stage.total = stage.written();
            stage.completed = stage.count(TaskStatus::Completed);
            stage.failed = stage.count(TaskStatus::Failed);
            stage.skipped = stage.count(TaskStatus::Skipped);
        }
        *stage != before
    }

    /// Whether a message of the batch may be lost: the conditions of `mark_lost_batches_unsent`,
    /// without the time.
    pub(crate) fn is_lost_batch(&self, rules: &Rules, number: u8, batch: u8) -> bool {
        let Some(stage) = self.stage(number) else {
            return false;
        };
        let waits = |task: u8| {
            use TaskStatus::{PendingQueue, Queued};
            stage
                .task(task)
                .is_some_and(|row| !row.deferred && matches!(row.status, PendingQueue | Queued))
        };
        self.is_processing()
            && !rules.is_worked(number)
            && stage.planned
            && !stage.advanced
            && self.batch(number, batch) == Some(Batch::Sent)
            && rules.tasks_of(number, batch).any(waits)
    }

    pub(crate) fn owe_lost_batch(&mut self, rules: &Rules, number: u8, batch: u8) -> bool {
        let lost = self.is_lost_batch(rules, number, batch);
        if let Some(row) = self.batch_mut(number, batch).filter(|_| lost) {
            *row = Batch::Unsent;
        }
        lost
    }

    /// Takes a task whose attempt died, or whose retry is overdue; its message is sent afterwards, or
    /// it is ready for a worker.
    pub(crate) fn take_dead_attempt(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let is_worked = rules.is_worked(number);
        let runs = self.is_processing();
        let Some(stage) = self.stage_mut(number).filter(|stage| runs && !stage.advanced) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return false;
        };
        let is_deferred = row.status == TaskStatus::Retrying && (row.deferred || is_worked);
        if is_deferred
            || row.status != TaskStatus::Retrying
                && row.status.transition(TaskStatus::Retrying).is_err()
        {
            return false;
        }
        row.status = TaskStatus::Retrying;
        row.ready = is_worked && !rules.lacks(Mutation::DeadAttemptNotReady);
        true
    }

    pub(crate) fn owe_dead_planner(&mut self, rules: &Rules, number: u8) -> bool {
        let Some(job) = self.job else { return false };
        let waits = matches!(job.status, JobStatus::Queued | JobStatus::Processing) && !job.paused;
        match self.stage_mut(number) {
            Some(stage) if waits && stage.is_to_be_planned(rules, number) && !stage.unsent => {
                stage.unsent = true;
                true
            }
            _ => false,
        }
    }

    fn is_processing(&self) -> bool {
        self.job.is_some_and(|job| job.status == JobStatus::Processing)
    }

    pub(crate) fn batch(&self, number: u8, batch: u8) -> Option<Batch> {
        *self.stage(number)?.batches.get(usize::from(batch))?
    }

    fn batch_mut(&mut self, number: u8, batch: u8) -> Option<&mut Batch> {
        self.stage_mut(number)?.batches.get_mut(usize::from(batch))?.as_mut()
    }
}

impl Task {
    /// The task is to run again; `least`: the lowest number that its attempts may count from.
    fn reopen(&mut self, least: u8, ready: bool) {
        *self = Self {
            status: TaskStatus::Queued,
            attempt: self.attempt.max(least),
            forgiven: self.attempt.max(least),
            deferred: false,
            ready,
            claimed: false,
            skipped_by_user: false,
            outcomes: 0,
            decided_by: 0,
        };
    }

    /// The first attempt of a claim of a batch is counted, and holds the task.
    fn begin_claimed(&mut self) -> bool {
        let Ok(processing) = self.status.transition(TaskStatus::Processing) else {
            return false;
        };
        self.status = processing;
        self.attempt += 1;
        self.ready = false;
        self.claimed = false;
        true
    }
}

impl Stage {
    /// Whether the stage is ready, has tasks to plan, and is not planned.
    pub(crate) fn is_to_be_planned(&self, rules: &Rules, number: u8) -> bool {
        self.waits_for == 0 && rules.kind(number) == Kind::Tasks && !self.planned && !self.advanced
    }
}

const _: () = assert!(TASKS < 8, "attempts and tasks are packed into bytes");
