//! Maps all states that cannot be told apart later to one state: without this a search takes ten
//! times as long. Only exact reductions are made, under every mutation too, with one exception that
//! is marked as such.

use lastlight_engine::model::StageOutcome;

use crate::{
    state::{Batch, Handlers, PLANNERS, PlannerId, Stage, State, Straddler, TASKS},
    transactions::Rules,
};

/// The owner of the lease has died.
const DEAD: PlannerId = 15;

/// The canonical form of a state.
pub(crate) fn canonical(rules: &Rules, state: &mut State) {
    for number in 0..rules.stages {
        let Some(stage) = &mut state.database.stages[usize::from(number)] else {
            break;
        };
        if stage.planned {
            // Nothing is written any more, no actor waits for the job message, and all tasks are
            // alike.
            stage.unsent = false;
            state.queues.job_message[usize::from(number)] = true;
            for planner in &mut state.handlers.planners {
                planner.take_if(|planner| planner.stage == number);
            }
        }
        settle_batches(rules, number, stage, &state.queues.task_message[usize::from(number)]);
        let Some(stage) = state.database.stage(number) else { break };
        let is_passed = match &rules.graph {
            Some(_) => stage.outcome == Some(StageOutcome::Completed),
            None => state.database.job.is_some_and(|job| job.stage > number),
        };
        // Late attempts of a run before meet the tasks of a later one.
        let may_begin_again = state.outside.resubmissions > 0 || state.database.reruns > 0;
        if is_passed && !may_begin_again {
            keep_one_attempt(&mut state.handlers.attempts[usize::from(number)]);
        }
    }
    for number in 0..rules.stages {
        if rules.batch == 1
            && state.database.stages[usize::from(number)].is_some_and(|stage| stage.planned)
        {
            sort_tasks(state, number);
        }
    }
    sort_planners(state);
}

/// No statement reads the status of a batch whose tasks have their outcomes: reopening a batch
/// marks it as unsent.
fn settle_batches(rules: &Rules, number: u8, stage: &mut Stage, sent: &[bool; TASKS]) {
    for batch in 0..TASKS as u8 {
        let mut tasks = rules.tasks_of(number, batch);
        let done = |task: u8| {
            sent[usize::from(task)] && stage.task(task).is_some_and(|row| row.status.is_terminal())
        };
        if stage.batches[usize::from(batch)] == Some(Batch::Unsent) && tasks.all(done) {
            stage.batches[usize::from(batch)] = Some(Batch::Sent);
        }
    }
}

/// Keeps one late attempt of a stage that the job has passed. This is the exception: several late
/// attempts would be rejected in the same way.
fn keep_one_attempt(attempts: &mut [u8; TASKS]) {
    let mut kept = false;
    for running in attempts {
        let last = if *running == 0 || kept { 0 } else { 1 << running.ilog2() };
        kept |= last != 0;
        *running = last;
    }
}

/// Tasks of a planned stage, each in its own batch, are interchangeable.
fn sort_tasks(state: &mut State, number: u8) {
    let place = usize::from(number);
    let Some(stage) = &mut state.database.stages[place] else {
        return;
    };
    let straddles = |task: usize| {
        let same = |stage: u8, at: u8| stage == number && usize::from(at) == task;
        match state.handlers.straddler {
            Some(Straddler::Claim { stage, task } | Straddler::ClaimInBatch { stage, task }) => {
                same(stage, task)
            }
            Some(Straddler::Complete { stage, task, .. }) => same(stage, task),
            _ => false,
        }
    };
    let mut order: [usize; TASKS] = std::array::from_fn(|task| task);
    let messages = &mut state.queues.task_message[place];
    let attempts = &mut state.handlers.attempts[place];
    let key = |task: &usize| {
        let row = stage.tasks[*task].map(|row| {
            (
                row.status as u8,
                row.attempt,
                row.forgiven,
                row.deferred,
                row.ready,
                row.claimed,
                row.skipped_by_user,
                row.outcomes,
                row.decided_by,
            )
        });
        let batch = stage.batches[*task].map(|batch| batch as u8);
        (row.is_none(), row, batch, messages[*task], attempts[*task], straddles(*task))
    };
    order.sort_by_key(key);
    if order.is_sorted() {
        return;
    }
    let (tasks, batches) = (stage.tasks, stage.batches);
    let (old_messages, old_attempts) = (*messages, *attempts);
    for (to, from) in order.into_iter().enumerate() {
        stage.tasks[to] = tasks[from];
        stage.batches[to] = batches[from];
        messages[to] = old_messages[from];
        attempts[to] = old_attempts[from];
    }
    let moved = |task: u8| {
        order.iter().position(|from| *from == usize::from(task)).unwrap_or_default() as u8
    };
    match &mut state.handlers.straddler {
        Some(
            Straddler::Claim { stage, task }
            | Straddler::ClaimInBatch { stage, task }
            | Straddler::Complete { stage, task, .. },
        ) if *stage == number => {
            *task = moved(*task);
        }
        _ => {}
    }
}

/// Planners are interchangeable, and a planner that died is no longer identified. Only a pause
/// checks whether there is an expired lease.
fn sort_planners(state: &mut State) {
    let may_pause = state.outside.pauses > 0;
    let Handlers { planners, straddler, .. } = &mut state.handlers;
    let holds = |planner: usize| {
        let stage = planners[planner]?.stage;
        Some(state.database.stage(stage)?.lease_owner == Some(planner as PlannerId))
    };
    let straddles = |planner: usize| {
        *straddler == Some(Straddler::WriteChunk { planner: planner as PlannerId })
    };
    let mut order: [usize; PLANNERS] = std::array::from_fn(|planner| planner);
    order.sort_by_key(|&planner| {
        let slot = planners[planner].map(|slot| (slot.stage, slot.cursor));
        (slot.is_none(), slot, holds(planner), straddles(planner))
    });
    let renamed = |planner: PlannerId| order.iter().position(|from| *from == usize::from(planner));
    for (number, stage) in (0..).zip(&mut state.database.stages) {
        let Some(owner) = stage.as_mut().and_then(|stage| stage.lease_owner.as_mut()) else {
            continue;
        };
        let lives = planners
            .get(usize::from(*owner))
            .copied()
            .flatten()
            .is_some_and(|slot| slot.stage == number);
        *owner = match renamed(*owner) {
            Some(name) if lives => name as PlannerId,
            _ => DEAD,
        };
    }
    if !may_pause {
        for stage in state.database.stages.iter_mut().flatten() {
            stage.lease_owner.take_if(|owner| *owner == DEAD);
        }
    }
    if let Some(Straddler::WriteChunk { planner }) = straddler {
        *planner = renamed(*planner).unwrap_or_default() as PlannerId;
    }
    let old = *planners;
    for (to, from) in order.into_iter().enumerate() {
        planners[to] = old[from];
    }
}
