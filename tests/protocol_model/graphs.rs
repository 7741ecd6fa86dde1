//! The writes of jobs whose stages form a graph, as [`transactions`](crate::transactions) has those of
//! a line: the end of a stage, which counts in the rows of its dependents; decisions; and a retry.

use lastlight_engine::model::{JobStatus, StageOutcome};

use crate::{
    mutations::Mutation,
    state::{Advancer, Database, Decision, Job, PlannerId, STAGES, Stage, State},
    transactions::Rules,
};

/// What each stage depends on: stages with lower numbers, as bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graph {
    /// The dependencies that must complete, or else the stage is skipped.
    pub needs: [u8; STAGES],
    /// The dependencies that must only end.
    pub follows: [u8; STAGES],
    pub kinds: [Kind; STAGES],
    /// The stages whose failure does not fail the job, as bits.
    pub best_effort: u8,
    /// The stage that also runs after a job that ended before it.
    pub finalize: Option<u8>,
}

/// How a stage comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the outcomes of its tasks.
    Tasks,
    /// At once: it chooses one of its dependents.
    Decision,
    /// By a user's decision.
    Gate,
}

impl Graph {
    fn has(bits: u8, stage: u8) -> bool {
        bits & (1 << stage) != 0
    }

    /// All dependencies of a stage.
    fn of(&self, stage: u8) -> u8 {
        self.needs[usize::from(stage)] | self.follows[usize::from(stage)]
    }

    /// The stages that depend on a stage.
    pub(crate) fn dependents(&self, stage: u8) -> impl Iterator<Item = u8> {
        (stage + 1..STAGES as u8).filter(move |dependent| Self::has(self.of(*dependent), stage))
    }

    /// Whether a failure of the stage fails the job.
    pub(crate) fn matters(&self, stage: u8) -> bool {
        !Self::has(self.best_effort, stage)
    }
}

/// What an observer sees of the order of stages.
impl Graph {
    /// Whether the stage may have begun: what it needs has completed and chosen it. What it only
    /// follows had ended, but may be open again after a retry.
    pub(crate) fn lets_run(&self, state: &State, stage: u8) -> bool {
        (0..stage).all(|before| {
            let needed = Self::has(self.needs[usize::from(stage)], before);
            let row = state.database.stage(before);
            row.is_some_and(|row| {
                !Self::has(row.not_chosen, stage)
                    && (!needed || row.outcome == Some(StageOutcome::Completed))
            })
        })
    }

    /// Whether the stage cannot run: a stage that it needs did not complete, or did not choose it.
    pub(crate) fn keeps_out(&self, state: &State, stage: u8) -> bool {
        !self.lets_run(state, stage)
    }
}

impl Database {
    pub(crate) fn insert_stages(&mut self, rules: &Rules, graph: &Graph) {
        for number in 0..rules.stages {
            let is_ready = graph.of(number) == 0;
            let kind = graph.kinds[usize::from(number)];
            self.stages[usize::from(number)] = Some(Stage {
                waits_for: graph.of(number).count_ones() as u8,
                unsent: is_ready && kind == Kind::Tasks,
                planned: is_ready && kind == Kind::Decision,
                starts: u8::from(is_ready),
                ..Stage::default()
            });
        }
        let Some(job) = &mut self.job else { return };
        job.open_stages = Some(rules.stages);
        let roots = (0..rules.stages).filter(|stage| graph.of(*stage) == 0);
        if roots.clone().any(|stage| graph.kinds[usize::from(stage)] != Kind::Tasks) {
            job.status = JobStatus::Processing;
        }
        job.stage = roots.max().unwrap_or_default();
    }

    /// The dependents of a stage that wait for nothing else.
    pub(crate) fn waiting_for_one(&self, rules: &Rules, number: u8) -> u8 {
        let Some(graph) = rules.graph.filter(|_| rules.lacks(Mutation::CountWhatWasRead)) else {
            return 0;
        };
        graph
            .dependents(number)
            .filter(|dependent| self.stage(*dependent).is_some_and(|row| row.waits_for == 1))
            .fold(0, |bits, dependent| bits | 1 << dependent)
    }

    /// `end_stage` and `start_dependents`: claims the end of a stage as it was read, counts it in the
    /// rows of its dependents, makes those ready that wait for nothing else, and ends the job with
    /// its last stage. `chosen`: the dependents that a decision chooses. Returns the stages that
    /// became ready, or `None` if this call did not claim the end.
    pub(crate) fn end_stage(
        &mut self,
        rules: &Rules,
        graph: &Graph,
        read: Advancer,
        chosen: u8,
    ) -> Option<Vec<u8>> {
        let number = read.stage;
        let kind = graph.kinds[usize::from(number)];
        let is_open = self.is_open();
        let of_this_run = read.reruns == self.reruns;
        let stage = self.stage_mut(number)?;
        let as_read = of_this_run && (stage.failed, stage.skipped) == (read.failed, read.skipped);
        if !is_open {
            return None;
        }
        if stage.advanced || !rules.has_ended(stage) || !as_read {
            if rules.lacks(Mutation::StartWithoutClaim) {
                self.start_again(rules, graph, number);
            }
            return None;
        }
        let outcome = match (kind, stage.decision) {
            _ if stage.unmet => StageOutcome::Skipped,
            (Kind::Gate, Some(Decision::Reject)) => StageOutcome::Rejected,
            (Kind::Tasks, _) if stage.plan_failed || !rules.tolerates(read.failed) => {
                StageOutcome::Failed
            }
            _ => StageOutcome::Completed,
        };
        if kind == Kind::Decision && outcome == StageOutcome::Completed {
            let dependents = graph.dependents(number).fold(0, |bits, one| bits | 1 << one);
            stage.not_chosen = dependents & !chosen;
        }
        stage.advanced = true;
        stage.outcome = Some(outcome);
        stage.advances = (stage.advances + 1).min(2);
        let misjudged = kind == Kind::Tasks
            && !stage.unmet
            && !stage.plan_failed
            && rules.tolerates(stage.failed) != (outcome == StageOutcome::Completed);
        let not_chosen = stage.not_chosen;
        self.seen.misjudged |= misjudged;
        let mut ready = Vec::new();
        for dependent in graph.dependents(number) {
            let needed = Graph::has(graph.needs[usize::from(dependent)], number);
            let violated =
                needed && outcome != StageOutcome::Completed || Graph::has(not_chosen, dependent);
            let row = self.stage_mut(dependent)?;
            // Started before, in the life of the job before its retry.
            if row.waits_for == 0 {
                continue;
            }
            row.unmet |= violated && !rules.lacks(Mutation::StartWithoutSkip);
            row.waits_for = if rules.lacks(Mutation::CountWhatWasRead) {
                u8::from(!Graph::has(read.alone, dependent))
            } else {
                row.waits_for - 1
            };
            if row.waits_for == 0 {
                ready.push(dependent);
            }
        }
        let job = self.job.as_mut()?;
        job.open_stages = job.open_stages.map(|open| open.saturating_sub(1));
        job.stage = ready.iter().copied().fold(job.stage, u8::max);
        let starts_tasks = ready.iter().any(|stage| {
            graph.kinds[usize::from(*stage)] == Kind::Tasks
                && !self.stages[usize::from(*stage)].is_some_and(|row| row.unmet)
        });
        let job = self.job.as_mut()?;
        job.paused |= job.pause_requested && starts_tasks;
        let (paused, is_last) = (job.paused, job.open_stages == Some(0));
        for stage in &ready {
            self.make_ready(rules, graph, *stage, paused);
        }
        if is_last {
            if let Some(job) = &mut self.job {
                job.paused = false;
            }
            let failed = (0..).zip(&self.stages).any(|(number, row)| {
                graph.matters(number)
                    && row.is_some_and(|row| row.outcome == Some(StageOutcome::Failed))
            });
            let status = if failed { JobStatus::Failed } else { JobStatus::Completed };
            let before = self.job.and_then(|job| job.ends_as);
            let before = before.filter(|_| !rules.lacks(Mutation::FinalizeForgets));
            self.set_job_status(before.unwrap_or(status));
        }
        Some(ready)
    }

    fn make_ready(&mut self, rules: &Rules, graph: &Graph, number: u8, paused: bool) {
        let kind = graph.kinds[usize::from(number)];
        let Some(row) = self.stage_mut(number) else { return };
        row.starts = (row.starts + 1).min(2);
        if row.unmet {
            row.planned = !rules.lacks(Mutation::SkipAfterCommit);
        } else if kind == Kind::Decision {
            row.planned = true;
        } else if kind == Kind::Tasks {
            row.unsent = !paused;
        }
    }

    /// Ends the plan of a stage that cannot be planned any further. Returns whether its planned tasks
    /// have their outcomes; `None` if the lease was lost.
    pub(crate) fn fail_stage_plan(&mut self, number: u8, owner: PlannerId) -> Option<bool> {
        let ended = self.finish_plan(number, owner)?;
        self.stage_mut(number)?.plan_failed = true;
        Some(ended)
    }

    /// Not the protocol: starts every dependent whose dependencies have ended.
    fn start_again(&mut self, rules: &Rules, graph: &Graph, number: u8) {
        for dependent in graph.dependents(number) {
            let ended = (0..STAGES as u8)
                .filter(|stage| Graph::has(graph.of(dependent), *stage))
                .all(|stage| self.stage(stage).is_some_and(|row| row.advanced));
            if ended {
                self.make_ready(rules, graph, dependent, false);
            }
        }
    }

    /// Records a user's decision at a gate that waits for one.
    pub(crate) fn decide_gate(&mut self, rules: &Rules, number: u8, decision: Decision) -> bool {
        let is_open = self.is_open();
        let is_gate = rules.kind(number) == Kind::Gate;
        let Some(stage) = self.stage_mut(number).filter(|_| is_open && is_gate) else {
            return false;
        };
        let is_ready = stage.waits_for == 0 || rules.lacks(Mutation::DecideTooEarly);
        let is_decided = stage.planned && !rules.lacks(Mutation::DecideAgain);
        if !is_ready || is_decided || stage.unmet || stage.advanced {
            return false;
        }
        let changed = stage.decision.is_some_and(|taken| taken != decision);
        stage.decision = Some(decision);
        stage.planned = true;
        self.seen.decided_twice |= changed;
        true
    }

    /// Whether the last stage is to run after the job's early end.
    pub(crate) fn is_to_be_finalized(&self, rules: &Rules, graph: &Graph) -> bool {
        let ended = self.job.is_some_and(|job| job.status.reopen().is_ok());
        let is_closed = |row: &Stage| row.advanced && row.counters_add_up();
        let closed = self.stages().all(|(_, row)| is_closed(row));
        let waits = graph.finalize.and_then(|number| self.stage(number)).is_some_and(|row| {
            row.outcome.is_none() && (row.waits_for > 0 || rules.lacks(Mutation::FinalizeAgain))
        });
        ended && waits && (closed || rules.lacks(Mutation::FinalizeTooSoon))
    }

    /// Starts the last stage of a job that ended before it. The job ends as before once it has ended.
    pub(crate) fn finalize_job(&mut self, rules: &Rules, graph: &Graph) -> bool {
        let is_due = self.is_to_be_finalized(rules, graph);
        let Some((job, number)) = self.job.zip(graph.finalize).filter(|_| is_due) else {
            return false;
        };
        let Some(row) = self.stage_mut(number) else { return false };
        *row = Stage {
            waits_for: 0,
            unmet: false,
            planned: false,
            advanced: false,
            unsent: true,
            starts: (row.starts + 1).min(2),
            ..*row
        };
        self.job = Some(Job {
            status: JobStatus::Processing,
            stage: number,
            open_stages: Some(1),
            pause_requested: false,
            paused: false,
            ends_as: Some(job.status),
        });
        true
    }

    /// Whether a retry of the finished job reopens the stage: its tasks that did not succeed run
    /// again.
    pub(crate) fn is_to_be_reopened(&self, graph: &Graph, number: u8) -> bool {
        self.stage(number).is_some_and(|row| match row.outcome {
            None => row.waits_for == 0 && !row.unmet,
            Some(StageOutcome::Failed) => graph.matters(number),
            Some(_) => false,
        })
    }

    /// Reopens a job in every stage that failed or had not ended. A stage that was skipped because of
    /// one of these waits again.
    pub(super) fn reopen_graph(&mut self, rules: &Rules, graph: &Graph) -> bool {
        let Some(job) = self.job.filter(|job| job.status.reopen().is_ok()) else {
            return false;
        };
        if self.stages().any(|(_, row)| !row.advanced) {
            return false;
        }
        let reopens = |stage: u8| self.is_to_be_reopened(graph, stage);
        let is_ready = |row: &Stage| row.failed + row.left_out() == 0;
        if self.stages().any(|(number, row)| reopens(number) && !is_ready(row)) {
            return false;
        }
        let mut open = 0;
        for number in 0..rules.stages {
            if self.is_to_be_reopened(graph, number) {
                let kind = graph.kinds[usize::from(number)];
                let Some(row) = self.stage_mut(number) else { continue };
                let was_failed = row.outcome.is_some();
                let plan_failed = row.plan_failed && !rules.lacks(Mutation::KeepFailedPlan);
                let planned = row.planned && !(kind == Kind::Gate && was_failed) && !plan_failed;
                *row = Stage {
                    advanced: false,
                    advances: 0,
                    outcome: None,
                    lease_owner: None,
                    planned,
                    plan_failed: false,
                    unsent: kind == Kind::Tasks && !planned,
                    ..*row
                };
                open |= 1 << number;
                continue;
            }
            let Some(row) = self.stage(number) else { continue };
            let may_wait = row.outcome.is_none()
                || row.outcome == Some(StageOutcome::Skipped)
                    && !rules.lacks(Mutation::ReopenWithoutSkipped);
            let waits_for = (graph.of(number) & open).count_ones() as u8;
            if !may_wait || waits_for == 0 && row.outcome.is_some() {
                continue;
            }
            if waits_for == 0 {
                // Its job ended before it could be marked as skipped.
                if let Some(row) = self.stage_mut(number) {
                    row.advanced = false;
                    open |= 1 << number;
                }
                continue;
            }
            let unmet = (0..number).any(|before| {
                let violated = Graph::has(graph.needs[usize::from(number)], before)
                    && self.stage(before).is_some_and(|row| {
                        row.outcome.is_some_and(|outcome| outcome != StageOutcome::Completed)
                    });
                let not_chosen =
                    self.stage(before).is_some_and(|row| Graph::has(row.not_chosen, number));
                !Graph::has(open, before) && (violated || not_chosen)
            });
            self.stages[usize::from(number)] = Some(Stage { waits_for, unmet, ..Stage::default() });
            open |= 1 << number;
        }
        self.seen.ended = None;
        self.job = Some(Job {
            status: JobStatus::Processing,
            open_stages: Some(open.count_ones() as u8),
            pause_requested: false,
            ends_as: None,
            ..job
        });
        true
    }
}
