//! Random walks that favour progress: if every step were equally likely, planners would die before
//! they plan, and most walks would end in a cancelled job.

use lastlight_engine::model::TaskStatus;
use stateright::Chooser;

use crate::{
    actions::{Action, Protocol},
    state::State,
};

/// Faults happen occasionally; how often varies between walks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unlucky;

/// The random generator and the frequency of faults of this walk.
pub(crate) struct Dice {
    random: fastrand::Rng,
    faults: f64,
}

impl Chooser<Protocol> for Unlucky {
    type State = Dice;

    fn new_state(&self, seed: u64) -> Dice {
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = *random.choice(&[0.02, 0.1, 0.4]).unwrap_or(&0.1);
        Dice { random, faults }
    }

    fn choose_initial_state(&self, dice: &mut Dice, initial_states: &[State]) -> usize {
        dice.random.usize(..initial_states.len())
    }

    fn choose_action(&self, dice: &mut Dice, state: &State, actions: &[Action]) -> usize {
        let goes_wrong = dice.random.f64() < dice.faults;
        let chosen: Vec<usize> = (0..actions.len())
            .filter(|place| is_fault(state, &actions[*place]) == goes_wrong)
            .collect();
        *dice.random.choice(&chosen).unwrap_or(&dice.random.usize(..actions.len()))
    }
}

fn is_fault(state: &State, action: &Action) -> bool {
    match action {
        Action::ReleaseStage { .. }
        | Action::PlannerDies { .. }
        | Action::FailPlan { .. }
        | Action::OweLostBatch { .. }
        | Action::TakeDeadAttempt { .. }
        | Action::OweDeadPlanner { .. }
        | Action::Cancel { .. }
        | Action::TimeOut { .. }
        | Action::RequestPause { .. }
        | Action::ReleaseClaim { .. }
        | Action::FailTask { .. }
        | Action::FailUnplannedJob { .. }
        | Action::Drift { .. } => true,
        // From an attempt or a planner that holds its lease.
        Action::Claim { stage, task } => {
            let row = state.database.stage(*stage).and_then(|stage| stage.task(*task));
            row.is_some_and(|row| row.status == TaskStatus::Processing)
        }
        Action::LeaseStage { stage, .. } => {
            state.database.stage(*stage).is_some_and(|stage| stage.lease_owner.is_some())
        }
        _ => false,
    }
}
