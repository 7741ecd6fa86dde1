//! The fate of a state once faults stop: all running work has died, every queue has been purged,
//! and from then on there are only the timer's sweep, the messages that it causes, and the passing
//! of time. In a bounded number of rounds this finishes and closes the job.
//!
//! This is one run and not all of them: messages are delivered in one order. Every step is also a
//! step of the model, so any other order leads to states of the model, for which the same holds.

use std::{
    collections::{HashSet, VecDeque},
    sync::Mutex,
};

use crate::{
    mutations::Mutation,
    state::{Batch, Database, Decision},
    transactions::{Outcome, Rules},
};

/// More sweeps than any size needs.
const MOST_ROUNDS: u32 = 40;

/// The outcome of all attempts from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Complete,
    Fail,
    /// Always fail with a transient error.
    Stumble,
    /// Always kill their process.
    Die,
}

const EVERY_LUCK: [Luck; 4] = [Luck::Complete, Luck::Fail, Luck::Stumble, Luck::Die];

/// States from which the sweep is known to finish the job.
#[derive(Debug, Default)]
pub(crate) struct Recovered(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ends: HashSet<Database>,
    most_rounds: u32,
}

impl Recovered {
    /// Whether the sweep finishes the job from this state, whatever the outcome of its attempts.
    pub(crate) fn ends(&self, rules: &Rules, database: &Database) -> bool {
        if self.0.lock().unwrap().ends.contains(database) {
            return true;
        }
        let rounds = EVERY_LUCK.map(|luck| Run::new(rules, database, luck).rounds());
        let Some(most) = rounds.into_iter().min().flatten().and(rounds.into_iter().max().flatten())
        else {
            return false;
        };
        let mut known = self.0.lock().unwrap();
        known.most_rounds = known.most_rounds.max(most);
        known.ends.insert(*database);
        true
    }

    /// The largest number of sweeps that any state needed.
    pub(crate) fn most_rounds(&self) -> u32 {
        self.0.lock().unwrap().most_rounds
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Job { stage: u8 },
    Task { stage: u8, task: u8 },
}

/// The steps of `Controller`, with queues that keep their messages.
struct Run<'a> {
    rules: &'a Rules,
    database: Database,
    luck: Luck,
    messages: VecDeque<Message>,
}

impl<'a> Run<'a> {
    fn new(rules: &'a Rules, database: &Database, luck: Luck) -> Self {
        Self { rules, database: *database, luck, messages: VecDeque::new() }
    }

    /// The number of sweeps it takes; `None` if the job does not finish.
    fn rounds(mut self) -> Option<u32> {
        for round in 0..MOST_ROUNDS {
            if self.is_at_rest() {
                return Some(round);
            }
            // Users resume a paused job and decide at gates.
            self.database.resume_job(self.rules);
            for stage in 0..self.rules.stages {
                let decision =
                    if self.luck == Luck::Fail { Decision::Reject } else { Decision::Approve };
                if self.database.decide_gate(self.rules, stage, decision) {
                    self.advance(stage);
                }
            }
            self.reconcile();
            loop {
                while let Some(message) = self.messages.pop_front() {
                    match message {
                        Message::Job { stage } => self.process_job_message(stage),
                        Message::Task { stage, task } => self.process_task_message(stage, task),
                    }
                }
                // Workers take what is ready.
                let Some((stage, task)) = self.ready() else { break };
                self.process_task_message(stage, task);
            }
        }
        None
    }

    /// A task that a worker can claim.
    fn ready(&self) -> Option<(u8, u8)> {
        let tasks = self
            .database
            .stages()
            .flat_map(|(number, stage)| stage.tasks().map(move |(task, row)| (number, task, row)));
        let mut ready = tasks.filter(|(_, _, row)| row.ready && self.database.is_open());
        ready.next().map(|(stage, task, _)| (stage, task))
    }

    /// Whether there is no job, or it is finished and has no open task.
    fn is_at_rest(&self) -> bool {
        let Some(job) = self.database.job else {
            return true;
        };
        let closed = |stage: &crate::state::Stage| {
            stage.advanced && stage.tasks().all(|(_, task)| task.status.is_terminal())
        };
        let finalizes = self
            .rules
            .graph
            .is_some_and(|graph| self.database.is_to_be_finalized(self.rules, &graph));
        job.status.is_terminal()
            && self.database.stages().all(|(_, stage)| closed(stage))
            && !finalizes
    }

    fn sweeps(&self, part: Mutation) -> bool {
        !self.rules.lacks(part)
    }

    /// `Controller::reconcile`, in its order.
    fn reconcile(&mut self) {
        let numbers: Vec<u8> = self.database.stages().map(|(number, _)| number).collect();
        if self.sweeps(Mutation::SweepWithoutPartiallyReopened) {
            for &stage in &numbers {
                self.database.open_partially_reopened(stage);
            }
        }
        if self.sweeps(Mutation::SweepWithoutClosing) {
            for &stage in &numbers {
                self.close_stage_of(stage);
            }
        }
        if let Some(graph) =
            self.rules.graph.filter(|_| self.sweeps(Mutation::SweepWithoutFinalizing))
        {
            self.database.finalize_job(self.rules, &graph);
        }
        if self.sweeps(Mutation::SweepWithoutRepair) {
            for &stage in &numbers {
                self.database.repair_counters(stage);
            }
        }
        if self.sweeps(Mutation::SweepWithoutAdvance) {
            for &stage in &numbers {
                self.advance(stage);
            }
        }
        if self.sweeps(Mutation::SweepWithoutDeadPlanners) {
            for &stage in &numbers {
                self.database.owe_dead_planner(self.rules, stage);
            }
        }
        if self.sweeps(Mutation::SweepWithoutOutbox) {
            for &stage in &numbers {
                if self.database.stage(stage).is_some_and(|stage| stage.unsent) {
                    self.send_job_message(stage);
                }
            }
        }
        if self.sweeps(Mutation::SweepWithoutLostBatches) {
            self.each_batch(|run, stage, batch| {
                run.database.owe_lost_batch(run.rules, stage, batch);
            });
        }
        if self.sweeps(Mutation::SweepWithoutDeadAttempts) {
            for &stage in &numbers {
                for task in 0..self.rules.tasks(stage) {
                    if self.database.take_dead_attempt(self.rules, stage, task)
                        && !self.rules.is_worked(stage)
                    {
                        self.messages.push_back(Message::Task { stage, task });
                    }
                }
            }
        }
        if self.sweeps(Mutation::SweepWithoutDeadClaims) {
            for &stage in &numbers {
                for task in 0..self.rules.tasks(stage) {
                    self.database.end_claim(self.rules, stage, task);
                }
            }
        }
        if self.sweeps(Mutation::SweepWithoutDeferred) {
            for &stage in &numbers {
                for task in 0..self.rules.tasks(stage) {
                    if self.database.take_deferred(stage, task) {
                        self.messages.push_back(Message::Task { stage, task });
                    }
                }
            }
        }
        if self.sweeps(Mutation::SweepWithoutUnsentBatches) {
            self.each_batch(|run, stage, batch| {
                if run.database.is_pending_retry_batch(stage, batch) {
                    run.send_batch(stage, batch);
                }
            });
        }
    }

    fn each_batch(&mut self, mut act: impl FnMut(&mut Self, u8, u8)) {
        for stage in 0..self.rules.stages {
            for batch in (0..).take_while(|batch| !self.rules.tasks_of(stage, *batch).is_empty()) {
                act(self, stage, batch);
            }
        }
    }

    fn close_stage_of(&mut self, stage: u8) {
        if !self.database.is_finished() {
            return;
        }
        for task in 0..self.rules.tasks(stage) {
            self.database.skip_open_task(self.rules, stage, task);
        }
        self.database.close_stage(self.rules, stage);
    }

    fn send_job_message(&mut self, stage: u8) {
        self.messages.push_back(Message::Job { stage });
        self.database.job_message_sent(stage);
    }

    fn send_batch(&mut self, stage: u8, batch: u8) {
        let tasks: Vec<u8> = self.database.tasks_of_batch(self.rules, stage, batch).collect();
        self.messages.extend(tasks.into_iter().map(|task| Message::Task { stage, task }));
        self.database.batch_update_status(self.rules, stage, batch);
    }

    fn process_job_message(&mut self, stage: u8) {
        const OWNER: u8 = u8::MAX;
        let Some(job) = self.database.job else { return };
        if job.status.is_terminal() || self.rules.graph.is_none() && stage != job.stage {
            return;
        }
        let leased = self.database.lease_stage(self.rules, stage, OWNER, !job.paused);
        let Some(mut cursor) = leased else {
            self.advance(stage);
            return;
        };
        let is_open = self.database.is_open();
        while cursor < self.rules.tasks(stage) {
            let Some(length) = self.database.write_chunk(self.rules, stage, OWNER, cursor, is_open)
            else {
                return;
            };
            cursor += length;
        }
        let ended = self.database.finish_plan(stage, OWNER);
        for batch in (0..).take_while(|batch| !self.rules.tasks_of(stage, *batch).is_empty()) {
            if self.database.batch(stage, batch) != Some(Batch::Sent)
                && !self.rules.is_worked(stage)
            {
                self.send_batch(stage, batch);
            }
        }
        if ended == Some(true) {
            self.advance(stage);
        }
    }

    fn process_task_message(&mut self, stage: u8, task: u8) {
        let is_open = self.database.is_open();
        // Workers claim what they can in batches.
        let claimed = self.database.claim_in_batch(self.rules, stage, task, is_open);
        let claim = || self.database.claim_task(self.rules, stage, task, is_open);
        let Some(attempt) = claimed.or_else(claim) else {
            self.advance(stage);
            return;
        };
        let row = self.database.stage(stage).and_then(|stage| stage.task(task));
        let tries = attempt - row.map_or(0, |row| row.forgiven);
        let most = self.rules.max_attempts;
        let outcome = match self.luck {
            // An attempt beyond the maximum does not run.
            _ if tries > most => Outcome::Failed,
            Luck::Complete => Outcome::Completed,
            Luck::Stumble if tries < most => Outcome::Retry,
            Luck::Fail | Luck::Stumble => Outcome::Failed,
            Luck::Die => return,
        };
        let recorded =
            self.database.complete_task(self.rules, stage, task, attempt, outcome, is_open);
        if recorded.stage_ended {
            self.advance(stage);
        }
        if recorded.written && outcome == Outcome::Retry && !self.rules.is_worked(stage) {
            self.messages.push_back(Message::Task { stage, task });
        }
    }

    fn advance(&mut self, stage: u8) {
        let Some(read) = self.database.ended_stage(self.rules, stage) else { return };
        let Some(graph) = &self.rules.graph else {
            if let Some(next) = self.database.go_on(self.rules, read) {
                self.send_job_message(next);
            }
            return;
        };
        // A decision chooses the first of its dependents, or the last.
        let first = self.luck == Luck::Complete;
        let mut dependents = graph.dependents(stage);
        let chosen = if first { dependents.next() } else { dependents.last() };
        let chosen = chosen.map_or(0, |one| 1 << one);
        for next in self.database.end_stage(self.rules, graph, read, chosen).into_iter().flatten() {
            if self.database.stage(next).is_some_and(|row| row.unsent) {
                self.send_job_message(next);
            }
            // A decision, or a stage that is skipped, has ended already.
            self.advance(next);
        }
    }
}
