//! A job whose stages are a line: each stage is passed once, in order, with the outcomes that the job's
//! parameters determine.

use std::collections::{BTreeMap, BTreeSet};

use lastlight_engine::model::{JobStatus, TaskStatus};
use serde_json::json;

use super::{
    Expected, Judgement, Promise,
    shared::{Judge, Rules, is_outcome},
};
use crate::{
    ledger::{JobRuns, TaskKey},
    recorder::JobFacts,
    work::Fate,
};

struct Line<'a> {
    expected: &'a Expected,
    shared: Judge<'a>,
}

/// Judges a job of the type `chaos`.
pub fn judge(expected: &Expected, facts: &JobFacts, runs: &JobRuns) -> Judgement {
    let rules = Rules {
        tag: &expected.work.tag,
        begins: JobStatus::Queued,
        end: expected.end,
        within: expected.within,
        may_be_reopened: expected.may_be_reopened,
    };
    let mut line = Line { expected, shared: Judge::new(rules, facts, runs) };
    line.shared.end();
    line.keys();
    line.shared.open_tasks();
    line.outcomes();
    line.shared.transitions();
    line.shared.advances();
    line.passed();
    line.order();
    line.shared.counters();
    line.summaries();
    line.shared.ledger();
    line.shared.judgement()
}

impl Line<'_> {
    /// The number of stages that must exist: all stages of a completed job, otherwise those up to
    /// the stage in which it ended.
    fn stages_reached(&self) -> u8 {
        match self.shared.facts.status {
            JobStatus::Completed => {
                u8::try_from(self.expected.work.stages.len()).unwrap_or(u8::MAX)
            }
            _ => self.shared.facts.stage,
        }
    }

    /// The job went on after this stage.
    fn was_passed(&self, stage: u8) -> bool {
        self.shared.facts.status == JobStatus::Completed || stage < self.shared.facts.stage
    }

    fn keys(&mut self) {
        let reached = self.stages_reached();
        let mut planned: BTreeSet<TaskKey> = BTreeSet::new();
        let mut may_be_missing: BTreeSet<TaskKey> = BTreeSet::new();
        for (stage, work) in (1..=reached).zip(&self.expected.work.stages) {
            let keys = (0..work.tasks).map(|number| (stage, number));
            let is_planned =
                self.shared.facts.stages.get(&stage).is_some_and(|stage| stage.is_planned);
            // A job that ended during planning may have only a part of its tasks.
            if is_planned || stage < reached || self.shared.facts.status == JobStatus::Completed {
                planned.extend(keys);
            } else {
                may_be_missing.extend(keys);
            }
        }
        let present: BTreeSet<TaskKey> = self.shared.facts.tasks.keys().copied().collect();
        let missing: Vec<_> = planned.difference(&present).collect();
        self.shared.breaks_for(Promise::NothingLost, "planned tasks have no row", &missing);
        let extra: Vec<_> = present
            .iter()
            .filter(|key| !planned.contains(key) && !may_be_missing.contains(key))
            .collect();
        self.shared.breaks_for(Promise::NothingTwice, "tasks that were not planned", &extra);
        let strangers = self.shared.facts.strangers.clone();
        self.shared.breaks_for(Promise::NothingTwice, "tasks that were not planned", &strangers);
    }

    fn outcomes(&mut self) {
        let facts = self.shared.facts;
        let stages = &self.expected.work.stages;
        let is_determined = !self.expected.outcomes_may_differ;
        let wrong: Vec<_> = facts
            .tasks
            .iter()
            .filter(|((stage, number), task)| {
                let Some(work) = stages.get(usize::from(*stage).wrapping_sub(1)) else {
                    return false;
                };
                match task.status {
                    TaskStatus::Completed => is_determined && work.fate(*number) == Fate::Fails,
                    TaskStatus::Failed => is_determined && work.fate(*number) == Fate::Completes,
                    TaskStatus::Skipped => self.was_passed(*stage),
                    _ => false,
                }
            })
            .map(|(key, task)| (key, task.status))
            .collect();
        self.shared.breaks_for(
            Promise::NothingLost,
            "tasks with another outcome than their parameters determine",
            &wrong,
        );
    }

    /// No stage was passed that had to fail the job, and none is missing.
    fn passed(&mut self) {
        let mut failed = Vec::new();
        for (stage, work) in (1..).zip(&self.expected.work.stages) {
            let failures =
                self.shared.facts.stages.get(&stage).map_or(0, |facts| facts.counters[2]);
            if self.was_passed(stage) && failures.unsigned_abs() > work.tolerates {
                failed.push((stage, failures));
            }
        }
        self.shared.breaks_for(
            Promise::NothingStuck,
            "stages passed with more failures than tolerated (stage, failures)",
            &failed,
        );
        let reached = self.stages_reached();
        let there: Vec<u8> = self.shared.facts.stages.keys().copied().collect();
        if there != (1..=reached).collect::<Vec<u8>>() {
            let detail = format!("the stages are {there:?}; expected 1 to {reached}");
            self.shared.breaks(Promise::StagesInTurn, detail);
        }
    }

    /// No task of a stage may begin, by the database or by the ledger, before the last outcome of
    /// the previous stage.
    fn order(&mut self) {
        let mut last_outcome: BTreeMap<u8, i64> = BTreeMap::new();
        let mut claims: Vec<(TaskKey, i64)> = Vec::new();
        for (key, writes) in &self.shared.facts.writes {
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
        self.shared.breaks_for(
            Promise::StagesInTurn,
            "tasks were claimed before the previous stage had ended",
            &early,
        );
        let early: Vec<TaskKey> = self
            .shared
            .runs
            .iter()
            .filter(|(key, runs)| runs.iter().any(|run| is_early(key.0, run.began)))
            .map(|(key, _)| *key)
            .collect();
        self.shared.breaks_for(
            Promise::StagesInTurn,
            "tasks ran before the previous stage had ended",
            &early,
        );
    }

    /// Each result is folded once: the stage's summary has the number of results and the sum of
    /// their tasks' numbers.
    fn summaries(&mut self) {
        let mut wrong = Vec::new();
        for stage in self.shared.facts.stages.keys() {
            let Some(summary) =
                self.shared.facts.stage_results.pointer(&format!("/{stage}/summary"))
            else {
                continue;
            };
            let completed = self
                .shared
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
        self.shared.breaks_for(
            Promise::CountersAgree,
            "stages whose summary does not contain each result once",
            &wrong,
        );
    }
}
