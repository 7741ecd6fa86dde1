//! The possible next steps: one action for each transaction, each send and each death. Any other
//! action may happen between two of them.

use lastlight_engine::model::{JobStatus, TaskStatus};
use stateright::{Model, Property};

use crate::{
    canonical::canonical,
    graphs::Kind,
    mutations::Mutation,
    properties,
    recovery::Recovered,
    state::{
        Advancer, Batch, Database, Decision, Handlers, Outside, Planner, PlannerId, State,
        Straddler,
    },
    transactions::{Outcome, Rules},
};

/// The protocol with its rules and sizes.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub rules: Rules,
    pub sizes: Sizes,
    pub recovered: Recovered,
}

/// The bounds of the search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Number of planners that hold a lease or believe to hold one.
    pub planners: usize,
    /// Number of attempts of one task. Recovery may use more.
    pub attempts: u8,
    /// Number of actors that have read an ended stage and not advanced it yet.
    pub advancers: usize,
    /// Whether a statement that saw the job open may commit after the job's end.
    pub straddling: bool,
    /// The events from outside.
    pub outside: Outside,
    /// Only actions that change the state, for walks; a search detects the others by itself.
    pub walk: bool,
}

/// A step, named after the function of the repository or of the controller that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    InsertJob,
    /// The queue accepts a job message from the submitter, from an advancer or from `reconcile`.
    SendJobMessage {
        stage: u8,
    },
    JobMessageSent {
        stage: u8,
    },
    /// A job message is delivered.
    LeaseStage {
        stage: u8,
        planner: PlannerId,
    },
    WriteChunk {
        planner: PlannerId,
    },
    FinishPlan {
        planner: PlannerId,
    },
    /// The planner has used up its share of the function's timeout, and stops at its cursor.
    StopPlan {
        planner: PlannerId,
    },
    /// The planner meets an error and releases its lease.
    ReleaseStage {
        planner: PlannerId,
    },
    PlannerDies {
        planner: PlannerId,
    },
    /// The plan turns out to be impossible.
    FailPlan {
        planner: PlannerId,
    },
    /// The queue accepts the messages of a batch, from its planner or from `reconcile`.
    SendBatch {
        stage: u8,
        batch: u8,
    },
    BatchUpdateStatus {
        stage: u8,
        batch: u8,
    },
    /// A task message is delivered, and the task is free or its lease has expired. Or a worker asks
    /// for ready tasks.
    Claim {
        stage: u8,
        task: u8,
    },
    /// A worker asks for many tasks of a batch.
    ClaimInBatch {
        stage: u8,
        task: u8,
    },
    /// A worker's heartbeat names a task in a claim of a batch.
    OwnClaimed {
        stage: u8,
        task: u8,
    },
    /// The lease of a claim of a batch has expired.
    EndClaim {
        stage: u8,
        task: u8,
    },
    Complete {
        stage: u8,
        task: u8,
        attempt: u8,
        outcome: Outcome,
    },
    /// The caller of the claim is gone.
    ReleaseClaim {
        stage: u8,
        task: u8,
        attempt: u8,
    },
    /// A task message is delivered, and there is no permit to start the task.
    DeferTask {
        stage: u8,
        task: u8,
    },
    /// A deferred task gets a new message.
    TakeDeferred {
        stage: u8,
        task: u8,
    },
    /// A task's message was dead-lettered more often than it is redelivered.
    FailTask {
        stage: u8,
        task: u8,
    },
    /// The same for the stage's job message.
    FailUnplannedJob {
        stage: u8,
    },
    /// An actor reads that a stage has ended: the recorder of its last outcome, the planner, a
    /// duplicate delivery, or `reconcile`.
    EndedStage {
        stage: u8,
    },
    /// `next_stage` or `end_job`; in a graph the end of the stage, with the dependents that a
    /// decision chooses.
    GoOn {
        advancer: Advancer,
        chosen: u8,
    },
    /// A user decides at a gate.
    DecideGate {
        stage: u8,
        decision: Decision,
    },
    OweLostBatch {
        stage: u8,
        batch: u8,
    },
    TakeDeadAttempt {
        stage: u8,
        task: u8,
    },
    OweDeadPlanner {
        stage: u8,
    },
    /// A user cancels the job, or its deadline has passed, while a statement may have seen the job
    /// open.
    Cancel {
        straddler: Option<Straddler>,
    },
    TimeOut {
        straddler: Option<Straddler>,
    },
    /// The statement that saw the job open commits: the end of an attempt, with an outcome.
    Straddle {
        outcome: Option<Outcome>,
    },
    SkipOpenTask {
        stage: u8,
        task: u8,
    },
    CloseStage {
        stage: u8,
    },
    RequestPause {
        straddler: Option<Straddler>,
    },
    ResumeJob,
    ReopenTasks {
        stage: u8,
        batch: u8,
    },
    ReopenJob,
    /// A user has the job run again from its beginning.
    Resubmit,
    RetryTask {
        stage: u8,
        task: u8,
    },
    SkipTask {
        stage: u8,
        task: u8,
    },
    /// The last stage runs after the job ended before it.
    FinalizeJob,
    OpenPartiallyReopened {
        stage: u8,
    },
    Drift {
        stage: u8,
    },
    RepairCounters {
        stage: u8,
    },
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { outside: self.sizes.outside, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.workflow_actions(state, actions);
        self.handler_actions(state, actions);
        self.outside_actions(state, actions);
        if self.sizes.walk {
            actions.retain(|action| self.next_state(state, *action).is_some());
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.apply(&mut next, action)?;
        canonical(&self.rules, &mut next);
        if self.sizes.walk {
            // A search keeps track of visited states by itself.
            let goes_on = next != *state;
            next.steps += 1;
            return goes_on.then_some(next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Protocol {
    pub(crate) fn new(rules: Rules, sizes: Sizes) -> Self {
        Self { rules, sizes, recovered: Recovered::default() }
    }

    fn workflow_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let State { database, queues, outside, .. } = state;
        if database.job.is_none() {
            actions.push(Action::InsertJob);
        }
        if self.rules.graph.is_some_and(|graph| database.is_to_be_finalized(&self.rules, &graph)) {
            actions.push(Action::FinalizeJob);
        }
        for (number, stage) in database.stages() {
            if stage.unsent {
                // A second send leaves the set of messages unchanged.
                let is_sent = queues.job_message[usize::from(number)];
                actions.push(if is_sent {
                    Action::JobMessageSent { stage: number }
                } else {
                    Action::SendJobMessage { stage: number }
                });
            }
            for (batch, row) in (0..).zip(stage.batches) {
                let is_sent = self.is_sent(state, number, batch);
                let is_written =
                    row.is_some() || self.rules.lacks(Mutation::WriteChunkWithoutBatches);
                let is_known = is_written
                    && self.rules.tasks_of(number, batch).all(|task| stage.task(task).is_some());
                if !is_known || self.rules.tasks_of(number, batch).is_empty() {
                    continue;
                }
                let marks_first = self.rules.lacks(Mutation::MarkBeforeSend);
                if self.rules.is_worked(number) {
                    continue;
                }
                if !is_sent && (!marks_first || row == Some(Batch::Sent)) {
                    actions.push(Action::SendBatch { stage: number, batch });
                }
                if row != Some(Batch::Sent) && (is_sent || marks_first) {
                    actions.push(Action::BatchUpdateStatus { stage: number, batch });
                }
                if row == Some(Batch::Sent) {
                    actions.push(Action::OweLostBatch { stage: number, batch });
                }
            }
            if stage.advanced {
                if !stage.counters_add_up() {
                    actions.push(Action::OpenPartiallyReopened { stage: number });
                }
                continue;
            }
            if database.seen.drifted {
                actions.push(Action::RepairCounters { stage: number });
            }
            if outside.drifts > 0 && stage.planned {
                actions.push(Action::Drift { stage: number });
            }
            if database.ended_stage(&self.rules, number).is_some() {
                actions.push(Action::EndedStage { stage: number });
            }
            if !stage.planned && !stage.unsent {
                actions.push(Action::OweDeadPlanner { stage: number });
            }
            let over = database.is_finished() || self.rules.lacks(Mutation::SkipWithoutEnd);
            for (task, row) in stage.tasks() {
                if row.claimed {
                    actions.push(Action::OwnClaimed { stage: number, task });
                    actions.push(Action::EndClaim { stage: number, task });
                }
                if row.status == TaskStatus::Processing {
                    actions.push(Action::TakeDeadAttempt { stage: number, task });
                }
                if over && !row.status.is_terminal() {
                    actions.push(Action::SkipOpenTask { stage: number, task });
                }
            }
            if database.is_finished() {
                actions.push(Action::CloseStage { stage: number });
            }
        }
    }

    fn handler_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let State { database, queues, handlers, outside, .. } = state;
        let planners = (0..).zip(&handlers.planners).take(self.sizes.planners);
        let free =
            planners.clone().find(|(_, planner)| planner.is_none()).map(|(planner, _)| planner);
        for (planner, slot) in planners {
            let Some(Planner { stage, cursor }) = *slot else {
                continue;
            };
            actions.push(if cursor < self.rules.tasks(stage) {
                Action::WriteChunk { planner }
            } else {
                Action::FinishPlan { planner }
            });
            if outside.failures > 0 {
                actions.push(Action::FailPlan { planner });
            }
            actions.extend([
                Action::StopPlan { planner },
                Action::ReleaseStage { planner },
                Action::PlannerDies { planner },
            ]);
        }
        for (stage, row) in database.stages() {
            let place = usize::from(stage);
            let is_open = !row.planned && !row.advanced && database.is_open();
            if outside.poisons > 0 && is_open && queues.job_message[place] {
                actions.push(Action::FailUnplannedJob { stage });
            }
            if let Some(planner) = free.filter(|_| is_open && queues.job_message[place]) {
                actions.push(Action::LeaseStage { stage, planner });
            }
            for (task, row) in row.tasks() {
                let is_sent = queues.task_message[place][usize::from(task)];
                if outside.poisons > 0 && is_sent && !row.status.is_terminal() {
                    actions.push(Action::FailTask { stage, task });
                }
                let arrives = is_sent || row.ready;
                let tries = row.attempt - database.attempts_before;
                if arrives && !row.status.is_terminal() && tries < self.sizes.attempts {
                    actions.push(Action::Claim { stage, task });
                    if row.ready && tries == 0 {
                        actions.push(Action::ClaimInBatch { stage, task });
                    }
                }
                if outside.deferrals > 0 && is_sent {
                    actions.push(Action::DeferTask { stage, task });
                }
                if row.deferred {
                    actions.push(Action::TakeDeferred { stage, task });
                }
                for attempt in attempts(handlers, stage, task) {
                    let complete = |outcome| Action::Complete { stage, task, attempt, outcome };
                    actions.extend(self.outcomes(row, attempt).map(complete));
                    if outside.hand_backs > 0 {
                        actions.push(Action::ReleaseClaim { stage, task, attempt });
                    }
                }
            }
        }
        for advancer in handlers.advancers.into_iter().flatten() {
            let Some(graph) = &self.rules.graph else {
                actions.push(Action::GoOn { advancer, chosen: 0 });
                continue;
            };
            let decides = self.rules.kind(advancer.stage) == Kind::Decision;
            let choices = graph.dependents(advancer.stage).filter(|_| decides);
            actions.extend(choices.map(|one| Action::GoOn { advancer, chosen: 1 << one }));
            if !decides {
                actions.push(Action::GoOn { advancer, chosen: 0 });
            }
        }
        match handlers.straddler {
            Some(Straddler::Complete { stage, task, attempt }) => {
                if let Some(row) = database.stage(stage).and_then(|row| row.task(task)) {
                    let outcomes = self.outcomes(row, attempt);
                    actions.extend(
                        outcomes.map(|outcome| Action::Straddle { outcome: Some(outcome) }),
                    );
                }
            }
            Some(_) => actions.push(Action::Straddle { outcome: None }),
            None => {}
        }
    }

    fn outside_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let State { database, outside, .. } = state;
        let Some(job) = database.job else { return };
        if !job.status.is_terminal() {
            let straddlers =
                || std::iter::once(None).chain(self.straddlers(state).into_iter().map(Some));
            if outside.cancels > 0 {
                actions.extend(straddlers().map(|straddler| Action::Cancel { straddler }));
            }
            if outside.failures > 0 {
                actions.extend(straddlers().map(|straddler| Action::TimeOut { straddler }));
            }
            if outside.pauses > 0 && !job.pause_requested {
                let leases = straddlers()
                    .filter(|one| matches!(one, None | Some(Straddler::LeaseStage { .. })));
                actions.extend(leases.map(|straddler| Action::RequestPause { straddler }));
            }
            if job.pause_requested {
                actions.push(Action::ResumeJob);
            }
        }
        if outside.decisions > 0 {
            let gates =
                database.stages().filter(|(stage, _)| self.rules.kind(*stage) == Kind::Gate);
            actions.extend(gates.flat_map(|(stage, _)| {
                let decide = move |decision| Action::DecideGate { stage, decision };
                [Decision::Approve, Decision::Reject].map(decide)
            }));
        }
        if outside.retries > 0 && job.status.reopen().is_ok() {
            for (stage, _) in database.stages() {
                let is_reopened = match &self.rules.graph {
                    Some(graph) => database.is_to_be_reopened(graph, stage),
                    None => stage == job.stage,
                };
                let batches = (0..)
                    .take_while(|batch| !self.rules.tasks_of(stage, *batch).is_empty())
                    .filter(|_| is_reopened);
                actions.extend(batches.map(|batch| Action::ReopenTasks { stage, batch }));
            }
            actions.push(Action::ReopenJob);
        }
        if outside.resubmissions > 0 && database.may_be_resubmitted(&self.rules) {
            actions.push(Action::Resubmit);
        }
        if outside.task_changes > 0 {
            for (stage, row) in database.stages() {
                for (task, _) in row.tasks() {
                    actions.push(Action::RetryTask { stage, task });
                    actions.push(Action::SkipTask { stage, task });
                }
            }
        }
    }

    /// The possible outcomes of an attempt: one beyond the maximum fails without running.
    fn outcomes(
        &self,
        row: &crate::state::Task,
        attempt: u8,
    ) -> impl Iterator<Item = Outcome> + use<> {
        let tries = attempt.saturating_sub(row.forgiven);
        let most = self.rules.max_attempts;
        let completes = (tries <= most).then_some(Outcome::Completed);
        let retries = (tries < most).then_some(Outcome::Retry);
        completes.into_iter().chain([Outcome::Failed]).chain(retries)
    }

    /// The statements that may be running.
    fn straddlers(&self, state: &State) -> Vec<Straddler> {
        if !self.sizes.straddling {
            return Vec::new();
        }
        let mut actions = Vec::new();
        self.handler_actions(state, &mut actions);
        let mut straddlers = Vec::new();
        for action in actions {
            let straddler = match action {
                Action::LeaseStage { stage, .. } => Straddler::LeaseStage { stage },
                Action::WriteChunk { planner } => Straddler::WriteChunk { planner },
                Action::Claim { stage, task } => Straddler::Claim { stage, task },
                Action::ClaimInBatch { stage, task } => Straddler::ClaimInBatch { stage, task },
                Action::Complete { stage, task, attempt, .. } => {
                    Straddler::Complete { stage, task, attempt }
                }
                _ => continue,
            };
            if !straddlers.contains(&straddler) {
                straddlers.push(straddler);
            }
        }
        straddlers
    }

    fn is_sent(&self, state: &State, stage: u8, batch: u8) -> bool {
        let messages = state.queues.task_message[usize::from(stage)];
        self.rules.tasks_of(stage, batch).all(|task| messages[usize::from(task)])
    }

    /// Takes the step; `None` if it is not possible now.
    fn apply(&self, state: &mut State, action: Action) -> Option<()> {
        let rules = &self.rules;
        let database = &mut state.database;
        let sees_open = database.is_open();
        let sees_running = sees_open && database.job.is_some_and(|job| !job.paused);
        match action {
            Action::InsertJob => database.insert_job(rules),
            Action::SendJobMessage { stage } => state.queues.job_message[usize::from(stage)] = true,
            Action::JobMessageSent { stage } => database.job_message_sent(stage),
            Action::LeaseStage { stage, planner } => {
                lease_stage(rules, state, stage, planner, sees_running)?
            }
            Action::WriteChunk { planner } => self.write_chunk(state, planner, sees_open)?,
            Action::FinishPlan { planner } => {
                let Planner { stage, .. } = state.handlers.planners[usize::from(planner)].take()?;
                // The planner then reads like any other actor whether this ended the stage.
                database.finish_plan(stage, planner);
            }
            Action::StopPlan { planner } => {
                let Planner { stage, .. } = state.handlers.planners[usize::from(planner)].take()?;
                database.stop_plan(stage, planner);
            }
            Action::ReleaseStage { planner } => {
                let Planner { stage, .. } = state.handlers.planners[usize::from(planner)].take()?;
                database.release_stage(stage, planner);
            }
            Action::PlannerDies { planner } => {
                state.handlers.planners[usize::from(planner)].take()?;
            }
            Action::FailPlan { planner } => {
                let Planner { stage, .. } = state.handlers.planners[usize::from(planner)].take()?;
                state.outside.failures -= 1;
                match rules.graph {
                    Some(_) => drop(database.fail_stage_plan(stage, planner)),
                    None => drop(database.fail_plan(rules, stage, planner)),
                }
            }
            Action::SendBatch { stage, batch } => {
                for task in rules.tasks_of(stage, batch) {
                    state.queues.task_message[usize::from(stage)][usize::from(task)] = true;
                }
            }
            Action::BatchUpdateStatus { stage, batch } => {
                database.batch_update_status(rules, stage, batch)
            }
            Action::Claim { stage, task } => self.claim(state, stage, task, sees_open)?,
            Action::ClaimInBatch { stage, task } => {
                self.claim_in_batch(state, stage, task, sees_open)?;
            }
            Action::OwnClaimed { stage, task } => {
                database.own_claimed(stage, task).then_some(())?;
            }
            Action::EndClaim { stage, task } => {
                database.end_claim(rules, stage, task).then_some(())?;
            }
            Action::Complete { stage, task, attempt, outcome } => {
                self.complete(state, stage, task, attempt, outcome, sees_open);
            }
            Action::ReleaseClaim { stage, task, attempt } => {
                state.outside.hand_backs -= 1;
                end_attempt(&mut state.handlers, stage, task, attempt);
                database.release_claim(rules, stage, task, attempt);
            }
            Action::DeferTask { stage, task } => {
                state.outside.deferrals -= 1;
                database.defer_task(rules, stage, task).then_some(())?;
            }
            Action::TakeDeferred { stage, task } => {
                database.take_deferred(stage, task).then_some(())?;
                // Its message was sent before; sending it again does not change the set.
            }
            Action::FailTask { stage, task } => {
                state.outside.poisons -= 1;
                database.fail_task(rules, stage, task).then_some(())?;
            }
            Action::FailUnplannedJob { stage } => {
                state.outside.poisons -= 1;
                database.fail_unplanned_job(rules, stage).then_some(())?;
            }
            Action::EndedStage { stage } => {
                let advancer = database.ended_stage(rules, stage)?;
                let advancers = &mut state.handlers.advancers;
                let free =
                    advancers.iter_mut().take(self.sizes.advancers).find(|slot| slot.is_none())?;
                *free = Some(advancer);
                advancers.sort_by_key(|slot| (slot.is_none(), *slot));
            }
            Action::GoOn { advancer, chosen } => {
                end_advancer(&mut state.handlers, advancer)?;
                match &rules.graph {
                    // The caller then reads like any other actor which stages have ended.
                    Some(graph) => drop(state.database.end_stage(rules, graph, advancer, chosen)),
                    None => drop(state.database.go_on(rules, advancer)),
                }
            }
            Action::DecideGate { stage, decision } => {
                state.outside.decisions -= 1;
                database.decide_gate(rules, stage, decision).then_some(())?;
            }
            Action::OweLostBatch { stage, batch } => {
                database.owe_lost_batch(rules, stage, batch).then_some(())?;
            }
            Action::TakeDeadAttempt { stage, task } => {
                database.take_dead_attempt(rules, stage, task).then_some(())?;
                // Its message was sent before; sending it again does not change the set.
            }
            Action::OweDeadPlanner { stage } => {
                database.owe_dead_planner(rules, stage).then_some(())?
            }
            Action::Cancel { straddler } => {
                state.outside.cancels -= 1;
                interrupt(state, straddler, |database| database.end_early(JobStatus::Cancelled))?;
            }
            Action::TimeOut { straddler } => {
                state.outside.failures -= 1;
                interrupt(state, straddler, |database| database.end_early(JobStatus::Failed))?;
            }
            Action::Straddle { outcome } => match (state.handlers.straddler.take()?, outcome) {
                (Straddler::LeaseStage { stage }, _) => {
                    let planners = &state.handlers.planners[..self.sizes.planners];
                    let free = planners.iter().position(Option::is_none)?;
                    lease_stage(rules, state, stage, free as PlannerId, true)?;
                }
                (Straddler::WriteChunk { planner }, _) => self.write_chunk(state, planner, true)?,
                (Straddler::Claim { stage, task }, _) => self.claim(state, stage, task, true)?,
                (Straddler::ClaimInBatch { stage, task }, _) => {
                    self.claim_in_batch(state, stage, task, true)?;
                }
                (Straddler::Complete { stage, task, attempt }, Some(outcome)) => {
                    self.complete(state, stage, task, attempt, outcome, true);
                }
                (Straddler::Complete { .. }, None) => return None,
            },
            Action::SkipOpenTask { stage, task } => {
                database.skip_open_task(rules, stage, task).then_some(())?
            }
            Action::CloseStage { stage } => database.close_stage(rules, stage).then_some(())?,
            Action::RequestPause { straddler } => {
                state.outside.pauses -= 1;
                let pause = |database: &mut Database| {
                    database.request_pause();
                    true
                };
                interrupt(state, straddler, pause)?;
            }
            Action::ResumeJob => database.resume_job(rules),
            Action::ReopenTasks { stage, batch } => {
                (database.reopen_tasks_of(rules, stage, batch) > 0).then_some(())?;
            }
            Action::ReopenJob => {
                state.outside.retries -= 1;
                database.reopen_job(rules).then_some(())?;
            }
            Action::Resubmit => {
                state.outside.resubmissions -= 1;
                database.resubmit(rules).then_some(())?;
            }
            Action::RetryTask { stage, task } => {
                state.outside.task_changes -= 1;
                database.retry_task(rules, stage, task).then_some(())?;
            }
            Action::SkipTask { stage, task } => {
                state.outside.task_changes -= 1;
                database.skip_task(rules, stage, task).then_some(())?;
            }
            Action::FinalizeJob => {
                database.finalize_job(rules, rules.graph.as_ref()?).then_some(())?;
            }
            Action::OpenPartiallyReopened { stage } => {
                database.open_partially_reopened(stage).then_some(())?
            }
            Action::Drift { stage } => {
                state.outside.drifts -= 1;
                database.drift(stage).then_some(())?;
            }
            Action::RepairCounters { stage } => database.repair_counters(stage).then_some(())?,
        }
        Some(())
    }

    fn write_chunk(&self, state: &mut State, planner: PlannerId, sees_open: bool) -> Option<()> {
        let slot = &mut state.handlers.planners[usize::from(planner)];
        let Planner { stage, cursor } = (*slot)?;
        let written = state.database.write_chunk(&self.rules, stage, planner, cursor, sees_open);
        // Without the lease the planner ends.
        *slot = written.map(|length| Planner { stage, cursor: cursor + length });
        Some(())
    }

    fn claim(&self, state: &mut State, stage: u8, task: u8, sees_open: bool) -> Option<()> {
        let attempt = state.database.claim_task(&self.rules, stage, task, sees_open)?;
        begin_attempt(state, stage, task, attempt);
        Some(())
    }

    fn claim_in_batch(
        &self,
        state: &mut State,
        stage: u8,
        task: u8,
        sees_open: bool,
    ) -> Option<()> {
        let attempt = state.database.claim_in_batch(&self.rules, stage, task, sees_open)?;
        begin_attempt(state, stage, task, attempt);
        Some(())
    }

    fn complete(
        &self,
        state: &mut State,
        stage: u8,
        task: u8,
        attempt: u8,
        outcome: Outcome,
        sees_open: bool,
    ) {
        end_attempt(&mut state.handlers, stage, task, attempt);
        // The recorder then reads like any other actor whether this was the last outcome. A retry's
        // message was sent before.
        state.database.complete_task(&self.rules, stage, task, attempt, outcome, sees_open);
    }
}

/// Changes the job's state while a statement runs that saw its earlier state.
fn interrupt(
    state: &mut State,
    straddler: Option<Straddler>,
    change: impl FnOnce(&mut Database) -> bool,
) -> Option<()> {
    if straddler.is_some() {
        state.handlers.straddler = straddler;
    }
    change(&mut state.database).then_some(())
}

fn lease_stage(
    rules: &Rules,
    state: &mut State,
    stage: u8,
    planner: PlannerId,
    sees_running: bool,
) -> Option<()> {
    let cursor = state.database.lease_stage(rules, stage, planner, sees_running)?;
    state.handlers.planners[usize::from(planner)] = Some(Planner { stage, cursor });
    Some(())
}

fn attempts(handlers: &Handlers, stage: u8, task: u8) -> impl Iterator<Item = u8> + use<> {
    let running = handlers.attempts[usize::from(stage)][usize::from(task)];
    (1..=8).filter(move |attempt| running & (1 << (attempt - 1)) != 0)
}

fn begin_attempt(state: &mut State, stage: u8, task: u8, attempt: u8) {
    let running = &mut state.handlers.attempts[usize::from(stage)][usize::from(task)];
    state.database.seen.given_twice |= *running & (1 << (attempt - 1)) != 0;
    *running |= 1 << (attempt - 1);
}

fn end_attempt(handlers: &mut Handlers, stage: u8, task: u8, attempt: u8) {
    handlers.attempts[usize::from(stage)][usize::from(task)] &= !(1 << (attempt - 1));
}

fn end_advancer(handlers: &mut Handlers, advancer: Advancer) -> Option<()> {
    let place = handlers.advancers.iter().position(|slot| *slot == Some(advancer))?;
    handlers.advancers[place] = None;
    handlers.advancers.sort_by_key(|slot| (slot.is_none(), *slot));
    Some(())
}
