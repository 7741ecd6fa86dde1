//! The writes of what users order, and of the end of a job before its stages have ended: cancel, pause, resume, retry, run
//! again, and the retry and skip of single tasks.

use lastlight_engine::model::{JobStatus, StageOutcome, TaskStatus};

use super::{Rules, is_reopenable};
use crate::{
    mutations::Mutation,
    state::{Batch, Database, Job, STAGES, Stage, Task},
};

impl Database {
    /// Whether a user may have the job run again: it is over, and all of its stages are closed.
    pub(crate) fn may_be_resubmitted(&self, rules: &Rules) -> bool {
        let waits = rules.graph.is_some_and(|graph| {
            let last = graph.finalize.and_then(|number| self.stage(number));
            last.is_some_and(|row| row.outcome.is_none() && row.waits_for > 0)
        });
        self.is_finished() && !waits && self.stages().all(|(_, stage)| stage.advanced)
    }

    /// The tasks and batches of a job that is over are deleted, and it begins again. The steps are
    /// one here, since nobody changes a job that is marked for them.
    pub(crate) fn resubmit(&mut self, rules: &Rules) -> bool {
        if !self.may_be_resubmitted(rules) {
            return false;
        }
        let before = self.attempts_before;
        let mut highest = before;
        for (number, stage) in self.stages() {
            // The first attempt of a claim of a batch may not be counted in its task.
            let is_worked = u8::from(rules.is_worked(number));
            let given = |task: &Task| task.attempt.max((task.forgiven + 1) * is_worked);
            highest = stage.tasks().map(|(_, task)| given(task)).fold(highest, u8::max);
        }
        if !rules.lacks(Mutation::ResubmitForgetsAttempts) {
            self.attempts_before = highest;
        }
        self.reruns += 1;
        self.stages = [None; STAGES];
        self.seen.ended = None;
        self.begin_run(rules);
        true
    }

    /// Failed or cancelled.
    pub(crate) fn end_early(&mut self, status: JobStatus) -> bool {
        let Some(job) = self.job.as_mut().filter(|job| job.status.transition(status).is_ok())
        else {
            return false;
        };
        job.paused = false;
        let status = job.ends_as.unwrap_or(status);
        self.set_job_status(status);
        for stage in self.stages.iter_mut().flatten() {
            stage.unsent = false;
        }
        true
    }

    /// Fails the job because its job message could not be delivered.
    pub(crate) fn fail_unplanned_job(&mut self, rules: &Rules, number: u8) -> bool {
        let waits = self.job.is_some_and(|job| !job.paused);
        let is_unplanned = |stage: &Stage| stage.is_to_be_planned(rules, number);
        waits && self.stage(number).is_some_and(is_unplanned) && self.end_early(JobStatus::Failed)
    }

    /// One of the tasks that `skip_open_tasks` would skip.
    pub(crate) fn skip_open_task(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        if !self.is_finished() && !rules.lacks(Mutation::SkipWithoutEnd) {
            return false;
        }
        let Some(stage) = self.stage_mut(number).filter(|stage| !stage.advanced) else {
            return false;
        };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
            return false;
        };
        let Ok(skipped) = row.status.transition(TaskStatus::Skipped) else {
            return false;
        };
        row.status = skipped;
        row.skipped_by_user = false;
        row.deferred = false;
        row.ready &= rules.lacks(Mutation::SkipKeepsReady);
        row.claimed = false;
        row.decided_by = 0;
        row.outcomes = (row.outcomes + 1).min(2);
        stage.skipped += 1;
        true
    }

    pub(crate) fn close_stage(&mut self, rules: &Rules, number: u8) -> bool {
        let is_finished = self.is_finished();
        let was_finalized = self.job.is_some_and(|job| job.ends_as.is_some());
        let Some(stage) = self.stage_mut(number) else {
            return false;
        };
        let at_rest = stage.counters_add_up() || rules.lacks(Mutation::CloseBeforeSkipped);
        if !is_finished || stage.advanced || !at_rest {
            return false;
        }
        stage.advanced = true;
        if was_finalized && rules.graph.is_some_and(|graph| graph.finalize == Some(number)) {
            stage.outcome = Some(StageOutcome::Failed);
        }
        stage.lease_owner = None;
        true
    }

    pub(crate) fn request_pause(&mut self) {
        let Some(number) = self.job.map(|job| job.stage) else {
            return;
        };
        let nobody_plans =
            self.stage(number).is_some_and(|stage| !stage.planned && stage.lease_owner.is_none());
        let Some(job) = self.job.as_mut().filter(|job| !job.status.is_terminal()) else {
            return;
        };
        job.pause_requested = true;
        if !job.paused && job.status == JobStatus::Queued && nobody_plans {
            job.paused = true;
        }
        if job.paused {
            for stage in self.stages.iter_mut().flatten() {
                stage.unsent = false;
            }
        }
    }

    pub(crate) fn resume_job(&mut self, rules: &Rules) {
        let Some(job) = self.job.as_mut() else { return };
        if job.status.is_terminal() || !job.pause_requested {
            return;
        }
        job.pause_requested = false;
        if !std::mem::take(&mut job.paused) {
            return;
        }
        let current = job.stage;
        for (number, stage) in (0..).zip(&mut self.stages) {
            let Some(stage) = stage else { continue };
            let all = !rules.lacks(Mutation::ResumeOneStage);
            if stage.is_to_be_planned(rules, number) && (all || number == current) {
                stage.unsent = true;
            }
        }
    }

    /// One of the batches whose tasks `reopen_tasks` would reopen; returns the number of tasks.
    pub(crate) fn reopen_tasks_of(&mut self, rules: &Rules, number: u8, batch: u8) -> u8 {
        let may = self.job.is_some_and(|job| job.status.reopen().is_ok());
        let tasks = rules.tasks_of(number, batch);
        let is_worked = rules.is_worked(number);
        let counts = is_worked && !rules.lacks(Mutation::ReopenKeepsAttempt);
        let least = if counts { self.attempts_before + 1 } else { 0 };
        let Some(stage) = self.stage_mut(number).filter(|stage| stage.advanced && may) else {
            return 0;
        };
        let mut reopened = 0;
        for task in tasks {
            let Some(row) = stage.tasks[usize::from(task)].as_mut() else {
                continue;
            };
            if !is_reopenable(row.status) || row.skipped_by_user {
                continue;
            }
            match row.status {
                TaskStatus::Failed => stage.failed -= 1,
                _ => stage.skipped -= 1,
            }
            row.reopen(least, is_worked && !rules.lacks(Mutation::ReopenNotReady));
            if !is_worked {
                stage.batches[usize::from(batch)] = Some(Batch::Unsent);
            }
            reopened += 1;
        }
        reopened
    }

    /// One of the tasks that `retry_tasks` makes ready again: a task without success in a stage that has not ended.
    pub(crate) fn retry_task(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let is_open = self.is_open();
        let is_worked = rules.is_worked(number);
        let least = if is_worked { self.attempts_before + 1 } else { 0 };
        let may = |stage: &&mut Stage| {
            is_open && !stage.advanced || rules.lacks(Mutation::RetryTaskAfterTheEnd)
        };
        let Some(stage) = self.stage_mut(number).filter(may) else { return false };
        let Some(row) = stage.tasks[usize::from(task)].as_mut() else { return false };
        match row.status {
            TaskStatus::Failed => stage.failed -= 1,
            TaskStatus::Skipped => stage.skipped -= 1,
            _ => return false,
        }
        let keeps = rules.lacks(Mutation::RetryTaskKeepsAttempt);
        row.reopen(if keeps { 0 } else { least }, is_worked);
        if !is_worked {
            stage.batches[usize::from(rules.batch_of(task))] = Some(Batch::Unsent);
        }
        true
    }

    /// One of the tasks that `skip_tasks` skips: in a stage that has not ended, any without success; in a job that
    /// failed or was cancelled, one that a retry of the job would run again.
    pub(crate) fn skip_task(&mut self, rules: &Rules, number: u8, task: u8) -> bool {
        let is_open = self.is_open();
        let may_be_retried = self.job.is_some_and(|job| job.status.reopen().is_ok());
        let Some(stage) = self.stage_mut(number) else { return false };
        let may = if stage.advanced { may_be_retried } else { is_open };
        let Some(row) = stage.tasks[usize::from(task)].as_mut().filter(|_| may) else {
            return false;
        };
        let was = row.status;
        let is_allowed = match was {
            TaskStatus::Failed => true,
            TaskStatus::Skipped => stage.advanced && !row.skipped_by_user,
            open => !stage.advanced && open.transition(TaskStatus::Skipped).is_ok(),
        };
        if !is_allowed {
            return false;
        }
        row.status = TaskStatus::Skipped;
        row.skipped_by_user = true;
        row.deferred = false;
        row.ready = false;
        row.claimed = false;
        row.decided_by = 0;
        row.outcomes = 1;
        match was {
            TaskStatus::Failed => {
                stage.failed -= u8::from(!rules.lacks(Mutation::SkipTaskKeepsFailure));
                stage.skipped += 1;
            }
            TaskStatus::Skipped => {}
            _ => stage.skipped += 1,
        }
        true
    }

    /// Of a line: `reopen_job`; of a graph: `reopen_graph`.
    pub(crate) fn reopen_job(&mut self, rules: &Rules) -> bool {
        if let Some(graph) = &rules.graph {
            return self.reopen_graph(rules, graph);
        }
        let Some(job) = self.job.filter(|job| job.status.reopen().is_ok()) else {
            return false;
        };
        let Some(stage) = self.stage_mut(job.stage).filter(|stage| stage.advanced) else {
            return false;
        };
        if stage.failed + stage.left_out() > 0 && !rules.lacks(Mutation::ReopenHalf) {
            return false;
        }
        stage.advanced = false;
        stage.advances = 0;
        stage.lease_owner = None;
        let status = if stage.planned {
            JobStatus::Processing
        } else {
            stage.unsent = true;
            JobStatus::Queued
        };
        self.seen.ended = None;
        self.job = Some(Job { status, pause_requested: false, ..job });
        true
    }

    /// Opens a closed stage in which some tasks were reopened while its job stayed finished, so
    /// that they are skipped again.
    pub(crate) fn open_partially_reopened(&mut self, number: u8) -> bool {
        let is_finished = self.is_finished();
        match self.stage_mut(number) {
            Some(stage) if is_finished && stage.advanced && !stage.counters_add_up() => {
                stage.advanced = false;
                true
            }
            _ => false,
        }
    }
}
