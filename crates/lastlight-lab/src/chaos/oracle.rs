//! The oracle: the conditions that a job must meet once nothing runs any more. It compares the
//! request (the job's parameters), the runs (the handlers' ledger), the commits (the recorder's
//! log) and the rows of the tables, by sets of keys and not by totals alone. It is pure: facts in,
//! violations out.
//!
//! (a) every planned task has an outcome; (b) no task has two; (c) each stage was advanced once,
//! and no task of the next stage began before its last outcome; (d) counters equal a recount; (e)
//! the job finished in time with the expected status.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use serde::Serialize;
use serde_json::json;

use super::{
    ledger::{JobRuns, RunEnd, TaskKey},
    recorder::{JobFacts, StageFacts, TaskWrite},
    work::{Fate, Work},
};
use lastlight::model::{JobStatus, TaskStatus};

/// Maximum number of keys that a violation names.
const NAMED: usize = 5;

/// A job and the outcome that is expected of it.
#[derive(Debug, Clone)]
pub struct Expected {
    pub job_id: String,
    pub work: Work,
    /// The status in which it must end; `None`: any terminal status.
    pub end: Option<JobStatus>,
    /// The longest duration allowed.
    pub within: Duration,
    /// The job may have been retried: then a task may leave the outcome failed or skipped.
    pub may_be_reopened: bool,
}

impl Expected {
    /// A job that ends as its parameters determine.
    pub fn new(job_id: String, work: Work, within: Duration) -> Self {
        let end = match work.failing_stage() {
            Some(_) => JobStatus::Failed,
            None => JobStatus::Completed,
        };
        Self { job_id, work, end: Some(end), within, may_be_reopened: false }
    }

    /// The same job with another final status.
    #[must_use]
    pub fn ending(self, end: Option<JobStatus>) -> Self {
        Self { end, ..self }
    }
}

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    NothingLost,
    NothingTwice,
    StagesInTurn,
    CountersAgree,
    NothingStuck,
    /// A condition of the scenario itself, beyond the promises above.
    Scenario,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub promise: Promise,
    /// The job's tag; empty if the violation belongs to no job.
    pub job: String,
    /// How the promise was broken, with the first keys.
    pub detail: String,
}

#[derive(Debug, Default)]
pub struct Judgement {
    /// Empty if all promises hold.
    pub violations: Vec<Violation>,
    /// Number of runs in the ledger.
    pub runs: u64,
    /// Number of tasks with an outcome.
    pub outcomes: u64,
}

struct Judge<'a> {
    expected: &'a Expected,
    facts: &'a JobFacts,
    runs: &'a JobRuns,
    violations: Vec<Violation>,
}

pub fn judge(expected: &Expected, facts: &JobFacts, runs: &JobRuns) -> Judgement {
    let mut judge = Judge { expected, facts, runs, violations: Vec::new() };
    judge.end();
    judge.keys();
    judge.outcomes();
    judge.transitions();
    judge.stages();
    judge.order();
    judge.counters();
    judge.summaries();
    judge.ledger();
    let outcomes = facts.tasks.values().filter(|task| task.status.is_terminal()).count();
    Judgement {
        violations: judge.violations,
        runs: runs.values().map(|runs| runs.len() as u64).sum(),
        outcomes: outcomes as u64,
    }
}

impl Judge<'_> {
    fn breaks(&mut self, promise: Promise, detail: String) {
        self.violations.push(Violation { promise, job: self.expected.work.tag.clone(), detail });
    }

    /// Records a violation if there is any key.
    fn breaks_for<K: Debug>(&mut self, promise: Promise, what: &str, keys: &[K]) {
        if keys.is_empty() {
            return;
        }
        let named = &keys[..keys.len().min(NAMED)];
        self.breaks(promise, format!("{} {what}: {named:?}", keys.len()));
    }

    fn end(&mut self) {
        let JobFacts { status, seconds, error, .. } = self.facts;
        if !status.is_terminal() {
            self.breaks(Promise::NothingStuck, format!("the job is {status} after {seconds:.1} s"));
        } else if self.expected.end.is_some_and(|end| end != *status) {
            let reason = error.as_deref().unwrap_or("no reason");
            self.breaks(Promise::NothingStuck, format!("the job is {status}: {reason}"));
        }
        let within = self.expected.within.as_secs_f64();
        if *seconds > within {
            let detail =
                format!("the job took {seconds:.1} s, more than the {within:.1} s allowed");
            self.breaks(Promise::NothingStuck, detail);
        }
    }

    /// The number of stages that must exist: all stages of a completed job, otherwise those up to
    /// the stage in which it ended.
    fn stages_reached(&self) -> u8 {
        match self.facts.status {
            JobStatus::Completed => {
                u8::try_from(self.expected.work.stages.len()).unwrap_or(u8::MAX)
            }
            _ => self.facts.stage,
        }
    }

    fn keys(&mut self) {
        let reached = self.stages_reached();
        let mut planned: BTreeSet<TaskKey> = BTreeSet::new();
        let mut may_be_missing: BTreeSet<TaskKey> = BTreeSet::new();
        for (stage, work) in (1..=reached).zip(&self.expected.work.stages) {
            let keys = (0..work.tasks).map(|number| (stage, number));
            let is_planned = self.facts.stages.get(&stage).is_some_and(|stage| stage.is_planned);
            // A job that ended during planning may have only a part of its tasks.
            if is_planned || stage < reached || self.facts.status == JobStatus::Completed {
                planned.extend(keys);
            } else {
                may_be_missing.extend(keys);
            }
        }
        let present: BTreeSet<TaskKey> = self.facts.tasks.keys().copied().collect();
        let missing: Vec<_> = planned.difference(&present).collect();
        self.breaks_for(Promise::NothingLost, "planned tasks have no row", &missing);
        let extra: Vec<_> = present
            .iter()
            .filter(|key| !planned.contains(key) && !may_be_missing.contains(key))
            .collect();
        self.breaks_for(Promise::NothingTwice, "tasks that were not planned", &extra);
        let strangers = self.facts.strangers.clone();
        self.breaks_for(Promise::NothingTwice, "tasks that were not planned", &strangers);
    }

    fn outcomes(&mut self) {
        let facts = self.facts;
        let open: Vec<_> = facts
            .tasks
            .iter()
            .filter(|(_, task)| !task.status.is_terminal())
            .map(|(key, task)| (key, task.status))
            .collect();
        self.breaks_for(Promise::NothingLost, "tasks without an outcome", &open);
        let stages = &self.expected.work.stages;
        let may_skip = facts.status != JobStatus::Completed;
        let wrong: Vec<_> = facts
            .tasks
            .iter()
            .filter(|((stage, number), task)| {
                let Some(work) = stages.get(usize::from(*stage).wrapping_sub(1)) else {
                    return false;
                };
                match task.status {
                    TaskStatus::Completed => work.fate(*number) == Fate::Fails,
                    TaskStatus::Failed => work.fate(*number) == Fate::Completes,
                    TaskStatus::Skipped => !may_skip,
                    _ => false,
                }
            })
            .map(|(key, task)| (key, task.status))
            .collect();
        self.breaks_for(
            Promise::NothingLost,
            "tasks with another outcome than their parameters determine",
            &wrong,
        );
    }

    fn transitions(&mut self) {
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

        let may_reopen = self.expected.may_be_reopened;
        let illegal: Vec<_> = facts
            .job_writes
            .iter()
            .filter(|write| match (write.from, write.to) {
                (None, Some(JobStatus::Queued)) => false,
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
        self.expected.may_be_reopened
            && matches!(write.from, Some(TaskStatus::Failed | TaskStatus::Skipped))
            && write.to == Some(TaskStatus::Queued)
    }

    fn stages(&mut self) {
        let mut wrong = Vec::new();
        for (stage, facts) in &self.facts.stages {
            let advanced = facts.advances.iter().filter(|advanced| **advanced).count();
            let reopened = facts.advances.len() - advanced;
            let allowed = if self.expected.may_be_reopened { reopened } else { 0 };
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
        let reached = self.stages_reached();
        let there: Vec<u8> = self.facts.stages.keys().copied().collect();
        if there != (1..=reached).collect::<Vec<u8>>() {
            let detail = format!("the stages are {there:?}; expected 1 to {reached}");
            self.breaks(Promise::StagesInTurn, detail);
        }
    }

    /// No task of a stage may begin, by the database or by the ledger, before the last outcome of
    /// the previous stage.
    fn order(&mut self) {
        let mut last_outcome: BTreeMap<u8, i64> = BTreeMap::new();
        let mut claims: Vec<(TaskKey, i64)> = Vec::new();
        for (key, writes) in &self.facts.writes {
            for write in writes {
                if is_outcome(write) {
                    let last = last_outcome.entry(key.0).or_insert(write.at);
                    *last = write.at.max(*last);
                } else if write.to == Some(TaskStatus::Processing) {
                    claims.push((*key, write.at));
                }
            }
        }
        let is_early = |stage: u8, at: i64| {
            let before = stage.checked_sub(1).and_then(|before| last_outcome.get(&before));
            before.is_some_and(|last| at < *last)
        };
        let early: Vec<TaskKey> = claims
            .into_iter()
            .filter(|(key, at)| is_early(key.0, *at))
            .map(|(key, _)| key)
            .collect();
        self.breaks_for(
            Promise::StagesInTurn,
            "tasks were claimed before the previous stage had ended",
            &early,
        );
        let early: Vec<TaskKey> = self
            .runs
            .iter()
            .filter(|(key, runs)| runs.iter().any(|run| is_early(key.0, run.began)))
            .map(|(key, _)| *key)
            .collect();
        self.breaks_for(
            Promise::StagesInTurn,
            "tasks ran before the previous stage had ended",
            &early,
        );
    }

    fn counters(&mut self) {
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

    /// Each result is folded once: the stage's summary has the number of results and the sum of
    /// their tasks' numbers.
    fn summaries(&mut self) {
        let mut wrong = Vec::new();
        for stage in self.facts.stages.keys() {
            let Some(summary) = self.facts.stage_results.pointer(&format!("/{stage}/summary"))
            else {
                continue;
            };
            let completed = self
                .facts
                .tasks
                .iter()
                .filter(|(key, task)| key.0 == *stage && task.status == TaskStatus::Completed);
            let (count, sum) =
                completed.fold((0_u64, 0_u64), |(count, sum), (key, _)| (count + 1, sum + key.1));
            if *summary != json!({ "count": count, "sum": sum }) {
                wrong.push((*stage, summary.clone(), count, sum));
            }
        }
        self.breaks_for(
            Promise::CountersAgree,
            "stages whose summary does not contain each result once",
            &wrong,
        );
    }

    fn ledger(&mut self) {
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
            if !self.expected.may_be_reopened {
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

fn is_outcome(write: &TaskWrite) -> bool {
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
        (Some(from), Some(to)) => from.transition(to).is_ok(),
        (_, None) => false,
    }
}
