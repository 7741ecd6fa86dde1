//! What holds for every finished job, whatever its stages are: its end, the changes of its tasks and
//! stages, its counters, and the runs of its tasks.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use lastlight_engine::model::{JobStatus, TaskStatus};

use super::{Judgement, Promise, Violation};
use crate::{
    ledger::{JobRuns, RunEnd},
    recorder::{JobFacts, StageFacts, TaskWrite},
};

/// Maximum number of keys that a violation names.
const NAMED: usize = 5;

/// What is expected of a job as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) tag: &'a str,
    /// The status in which it is stored.
    pub(super) begins: JobStatus,
    /// The status in which it must end; `None`: any terminal status.
    pub(super) end: Option<JobStatus>,
    /// The longest duration allowed.
    pub(super) within: Duration,
    /// The job may have been retried.
    pub(super) may_be_reopened: bool,
}

/// The facts about one job, and the violations found so far.
pub(super) struct Judge<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) facts: &'a JobFacts,
    pub(super) runs: &'a JobRuns,
    violations: Vec<Violation>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rules: Rules<'a>, facts: &'a JobFacts, runs: &'a JobRuns) -> Self {
        Self { rules, facts, runs, violations: Vec::new() }
    }

    pub(super) fn judgement(self) -> Judgement {
        let tasks = self.facts.tasks.values();
        Judgement {
            outcomes: tasks.filter(|task| task.status.is_terminal()).count() as u64,
            runs: self.runs.values().map(|runs| runs.len() as u64).sum(),
            violations: self.violations,
        }
    }

    pub(super) fn breaks(&mut self, promise: Promise, detail: String) {
        self.violations.push(Violation { promise, job: self.rules.tag.to_owned(), detail });
    }

    /// Records a violation if there is any key.
    pub(super) fn breaks_for<K: Debug>(&mut self, promise: Promise, what: &str, keys: &[K]) {
        if keys.is_empty() {
            return;
        }
        let named = &keys[..keys.len().min(NAMED)];
        self.breaks(promise, format!("{} {what}: {named:?}", keys.len()));
    }

    /// It ended in time and as expected.
    pub(super) fn end(&mut self) {
        let JobFacts { status, seconds, error, .. } = self.facts;
        if !status.is_terminal() {
            self.breaks(Promise::NothingStuck, format!("the job is {status} after {seconds:.1} s"));
        } else if self.rules.end.is_some_and(|end| end != *status) {
            let reason = error.as_deref().unwrap_or("no reason");
            self.breaks(Promise::NothingStuck, format!("the job is {status}: {reason}"));
        }
        let within = self.rules.within.as_secs_f64();
        if *seconds > within {
            let detail =
                format!("the job took {seconds:.1} s, more than the {within:.1} s allowed");
            self.breaks(Promise::NothingStuck, detail);
        }
    }

    /// Each task has an outcome.
    pub(super) fn open_tasks(&mut self) {
        let facts = self.facts;
        let open: Vec<_> = facts
            .tasks
            .iter()
            .filter(|(_, task)| !task.status.is_terminal())
            .map(|(key, task)| (key, task.status))
            .collect();
        self.breaks_for(Promise::NothingLost, "tasks without an outcome", &open);
    }

    /// The changes of its tasks and of itself were legal, and each task has one outcome.
    pub(super) fn transitions(&mut self) {
        let facts = self.facts;
        let mut twice = Vec::new();
        let mut illegal = Vec::new();
        let mut unseen = Vec::new();
        for (key, writes) in &facts.writes {
            let ends = writes.iter().filter(|write| is_outcome(write)).count();
            let reopened = writes.iter().filter(|write| self.is_reopening(write)).count();
            if ends > 1 + reopened {
                twice.push((key, ends));
            }
            illegal.extend(
                writes
                    .iter()
                    .filter(|write| !is_legal(write) && !self.is_reopening(write))
                    .map(|write| (key, write.from, write.to)),
            );
        }
        for (key, task) in &facts.tasks {
            let last = facts.writes.get(key).and_then(|writes| writes.last());
            if last.is_none_or(|write| write.to != Some(task.status)) {
                unseen.push((key, task.status));
            }
        }
        self.breaks_for(Promise::NothingTwice, "tasks have several outcomes", &twice);
        self.breaks_for(Promise::NothingTwice, "illegal status changes of tasks", &illegal);
        self.breaks_for(Promise::NothingTwice, "tasks whose status was not recorded", &unseen);

        let may_reopen = self.rules.may_be_reopened;
        let illegal: Vec<_> = facts
            .job_writes
            .iter()
            .filter(|write| match (write.from, write.to) {
                (None, Some(first)) => first != self.rules.begins,
                (Some(from), Some(to)) if from == to => from.is_terminal(),
                (Some(from), Some(to)) => {
                    let is_reopening = may_reopen && !to.is_terminal() && from.reopen().is_ok();
                    from.transition(to).is_err() && !is_reopening
                }
                _ => true,
            })
            .map(|write| (write.from, write.to))
            .collect();
        self.breaks_for(Promise::NothingTwice, "illegal status changes of the job", &illegal);
    }

    fn is_reopening(&self, write: &TaskWrite) -> bool {
        self.rules.may_be_reopened
            && matches!(write.from, Some(TaskStatus::Failed | TaskStatus::Skipped))
            && write.to == Some(TaskStatus::Queued)
    }

    /// Each stage was advanced exactly once.
    pub(super) fn advances(&mut self) {
        let mut wrong = Vec::new();
        for (stage, facts) in &self.facts.stages {
            let advanced = facts.advances.iter().filter(|advanced| **advanced).count();
            let reopened = facts.advances.len() - advanced;
            let allowed = if self.rules.may_be_reopened { reopened } else { 0 };
            if advanced != usize::from(facts.is_finished) + allowed
                || (reopened > 0 && allowed == 0)
            {
                wrong.push((*stage, advanced, reopened));
            }
        }
        self.breaks_for(
            Promise::StagesInTurn,
            "stages not advanced exactly once (stage, advanced, reopened)",
            &wrong,
        );
        let open: Vec<_> =
            self.facts.stages.iter().filter(|(_, facts)| !facts.is_finished).collect();
        if self.facts.status.is_terminal() {
            let open: Vec<u8> = open.into_iter().map(|(stage, _)| *stage).collect();
            self.breaks_for(Promise::NothingStuck, "open stages of a finished job", &open);
        }
    }

    pub(super) fn counters(&mut self) {
        let mut drifted = Vec::new();
        for (stage, StageFacts { counters, .. }) in &self.facts.stages {
            let tasks = self.facts.tasks.iter().filter(|(key, _)| key.0 == *stage);
            let mut recount = [0; 4];
            for (_, task) in tasks {
                recount[0] += 1;
                match task.status {
                    TaskStatus::Completed => recount[1] += 1,
                    TaskStatus::Failed => recount[2] += 1,
                    TaskStatus::Skipped => recount[3] += 1,
                    _ => {}
                }
            }
            if recount != *counters {
                drifted.push((*stage, *counters, recount));
            }
        }
        self.breaks_for(
            Promise::CountersAgree,
            "stages whose counters differ from a recount (total, completed, failed, skipped)",
            &drifted,
        );
    }

    /// Each run belongs to a claim of its task, and each completed task has a completed run.
    pub(super) fn ledger(&mut self) {
        let facts = self.facts;
        let strangers: Vec<_> =
            self.runs.keys().filter(|key| !facts.tasks.contains_key(key)).collect();
        self.breaks_for(Promise::NothingTwice, "runs of tasks that have no row", &strangers);
        let mut silent = Vec::new();
        let mut many = Vec::new();
        for (key, task) in &facts.tasks {
            let runs = self.runs.get(key).map(Vec::as_slice).unwrap_or_default();
            let completed =
                runs.iter().any(|run| matches!(run.ended, Some((_, RunEnd::Completed))));
            if task.status == TaskStatus::Completed && !completed {
                silent.push(key);
            }
            // A run needs a claim of its own; a claim without a run died before it could run.
            if runs.len() > task.attempt as usize {
                many.push((key, runs.len(), task.attempt));
            }
            if !self.rules.may_be_reopened {
                let tries: BTreeSet<u32> = runs.iter().map(|run| run.attempt).collect();
                if tries.len() != runs.len() {
                    many.push((key, runs.len(), tries.len() as u32));
                }
            }
        }
        self.breaks_for(Promise::NothingLost, "completed tasks without a completed run", &silent);
        self.breaks_for(
            Promise::NothingTwice,
            "tasks ran more often than they were claimed",
            &many,
        );
    }
}

pub(super) fn is_outcome(write: &TaskWrite) -> bool {
    write.to.is_some_and(TaskStatus::is_terminal)
}

fn is_legal(write: &TaskWrite) -> bool {
    match (write.from, write.to) {
        (None, Some(to)) => matches!(to, TaskStatus::PendingQueue | TaskStatus::Queued),
        // An unchanged status: the task was deferred again, or its message was sent again.
        (Some(TaskStatus::PendingQueue | TaskStatus::Queued | TaskStatus::Retrying), Some(to))
            if write.from == Some(to) =>
        {
            true
        }
        // It starts and ends in one statement.
        (Some(from), Some(to)) if write.of_a_claim => {
            let processing = from.transition(TaskStatus::Processing);
            to == TaskStatus::Processing || processing.is_ok_and(|from| from.transition(to).is_ok())
        }
        (Some(from), Some(to)) => from.transition(to).is_ok(),
        (_, None) => false,
    }
}
