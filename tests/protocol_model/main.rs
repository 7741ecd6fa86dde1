//! A model of the protocol that keeps jobs from being lost, executed twice or stuck: planning under
//! a lease, claims and fenced completions, counters and the end of a stage, the outbox, queues that
//! lose, duplicate, reorder and delay messages, processes that die at any step, the sweep, and
//! concurrent actions of users. Small jobs are searched exhaustively, larger ones by random walks.
//!
//! - [`state`]: the rows, the queues and the memory of handlers; [`transactions`]: the writes, one
//!   function per statement file; [`actions`]: the possible next steps; [`properties`]: what must
//!   hold in every state, including liveness ([`recovery`]).
//! - [`mutations`]: the protocol without one of its parts. For each of them a test names the
//!   property that breaks, which proves that the part is needed.
//! - [`conformance`]: the same calls on the model and on PostgreSQL lead to the same rows.
//!
//! `LASTLIGHT_MODEL_SIZE=large` searches and walks for a quarter of an hour; `LASTLIGHT_MODEL_SEED`
//! selects other walks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod actions;
mod canonical;
mod conformance;
mod mutations;
mod properties;
mod recovery;
mod state;
mod transactions;
mod walks;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use actions::{Protocol, Sizes};
use conformance::Pair;
use mutations::Mutation;
use properties as must;
use state::{Outside, STAGES};
use stateright::{Checker, HasDiscoveries, Model};
use transactions::Rules;
use walks::Unlucky;

/// No mutation needs more steps to break a property.
const DEEPEST: usize = 24;

/// A job with the given number of tasks in each stage, each task with its own message and chunk,
/// and with two attempts.
fn job(tasks: &[u8]) -> Rules {
    let mut plan = [0; STAGES];
    plan[..tasks.len()].copy_from_slice(tasks);
    Rules {
        plan,
        stages: tasks.len() as u8,
        batch: 1,
        max_attempts: 2,
        tolerates: 0,
        mutation: None,
    }
}

/// Two concurrent planners, two concurrent advancers, two claims of each task, and no outside
/// events.
const SMALL: Sizes = Sizes {
    planners: 2,
    attempts: 2,
    advancers: 2,
    straddling: false,
    outside: Outside {
        cancels: 0,
        pauses: 0,
        retries: 0,
        failures: 0,
        poisons: 0,
        hand_backs: 0,
        deferrals: 0,
        drifts: 0,
    },
    walk: false,
};

const fn with(outside: Outside) -> Sizes {
    Sizes { outside, ..SMALL }
}

const CANCEL: Sizes = with(Outside { cancels: 1, ..SMALL.outside });
const RETRY: Sizes = with(Outside { retries: 1, ..CANCEL.outside });
const FAILURE: Sizes = with(Outside { failures: 1, ..SMALL.outside });
const DEFERRAL: Sizes = with(Outside { deferrals: 1, ..SMALL.outside });
const DRIFT: Sizes = with(Outside { drifts: 1, ..SMALL.outside });
const PLANNERS: Sizes = Sizes { planners: 3, attempts: 1, ..SMALL };

fn is_large() -> bool {
    std::env::var("LASTLIGHT_MODEL_SIZE").is_ok_and(|size| size == "large")
}

/// One more attempt, and statements that commit after the job's end wherever the job may end early.
fn larger(sizes: Sizes) -> Sizes {
    Sizes {
        attempts: sizes.attempts + 1,
        straddling: sizes.outside.cancels + sizes.outside.failures > 0,
        ..sizes
    }
}

/// Visits every reachable state.
fn search(rules: Rules, sizes: Sizes) {
    let began = Instant::now();
    let (threads, sizes) = if is_large() { (2, larger(sizes)) } else { (1, sizes) };
    let search = Protocol::new(rules, sizes).checker().threads(threads).spawn_bfs().join();
    report(&search, "all", began);
    assert!(search.is_done());
    search.assert_properties();
    // One sweep for each attempt that dies in each stage, one for the claim after the last attempt,
    // and one for whatever was wrong before.
    let most = u32::from(rules.stages) * (u32::from(rules.max_attempts) + 1) + 1;
    let sweeps = search.model().recovered.most_rounds();
    assert!(sweeps <= most, "{sweeps} sweeps");
}

fn report(checker: &impl Checker<Protocol>, what: &str, began: Instant) {
    let Protocol { rules, recovered, .. } = checker.model();
    println!(
        "{:?}: {what} {} states, {} steps, at most {} deep; {} sweeps end it; {:.1} s",
        &rules.plan[..usize::from(rules.stages)],
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        recovered.most_rounds(),
        began.elapsed().as_secs_f64(),
    );
}

#[test]
fn crashes_and_lost_messages_keep_all_properties() {
    search(job(&[2, 1]), Sizes { attempts: 3, ..SMALL });
}

#[test]
fn a_cancellation_keeps_all_properties() {
    search(job(&[2, 1]), CANCEL);
    let straddling = Sizes { straddling: true, ..CANCEL };
    search(job(&[1, 1]), straddling);
    search(job(&[2]), straddling);
}

#[test]
fn a_cancel_and_a_retry_keep_all_properties() {
    let straddling = Sizes { straddling: true, ..RETRY };
    search(job(&[1, 1]), straddling);
    // Both tasks are in one batch, which is reopened as a whole.
    let whole = Rules { batch: 2, ..job(&[2]) };
    search(whole, RETRY);
}

#[test]
fn a_pause_and_a_retry_keep_all_properties() {
    let outside = Outside { cancels: 1, pauses: 1, retries: 1, ..SMALL.outside };
    search(job(&[1, 1]), Sizes { outside, ..SMALL });
}

#[test]
fn failed_plans_and_limits_keep_all_properties() {
    let outside = Outside { failures: 1, retries: 1, ..SMALL.outside };
    let sizes = Sizes { straddling: true, outside, ..SMALL };
    search(job(&[1]), sizes);
    search(job(&[1, 1]), with(outside));
}

#[test]
fn tolerated_failures_keep_all_properties() {
    let rules = Rules { tolerates: 1, ..job(&[2, 1]) };
    search(rules, SMALL);
}

#[test]
fn stages_without_tasks_keep_all_properties() {
    let outside = Outside { cancels: 1, pauses: 1, ..SMALL.outside };
    search(job(&[0, 1, 0]), Sizes { outside, ..SMALL });
    search(job(&[0]), Sizes { outside, ..SMALL });
}

#[test]
fn releases_and_poison_keep_all_properties() {
    let outside = Outside { cancels: 1, poisons: 1, hand_backs: 1, ..SMALL.outside };
    search(job(&[1, 1]), Sizes { outside, ..SMALL });
}

#[test]
fn deferred_tasks_keep_all_properties() {
    let outside = Outside { deferrals: 2, ..SMALL.outside };
    search(job(&[2]), with(outside));
    let harder = Outside { cancels: 1, retries: 1, hand_backs: 1, ..outside };
    search(job(&[1, 1]), with(Outside { retries: 0, ..harder }));
    search(job(&[1]), with(harder));
}

#[test]
fn a_drifted_counter_keeps_all_properties() {
    let outside = Outside { cancels: 1, drifts: 1, ..SMALL.outside };
    search(job(&[2]), Sizes { outside, ..SMALL });
}

/// Random walks through a state space that is too large for a search.
fn walk(rules: Rules, sizes: Sizes, seed: u64) {
    let began = Instant::now();
    let states = if is_large() { 1_500_000 } else { 60_000 };
    let sizes = Sizes { walk: true, ..sizes };
    let walks = Protocol::new(rules, sizes)
        .checker()
        .target_state_count(states)
        .target_max_depth(600)
        .spawn_simulation(seed, Unlucky)
        .join();
    report(&walks, "walked through", began);
    walks.assert_properties();
}

#[test]
fn long_random_walks_keep_all_properties() {
    let seed =
        std::env::var("LASTLIGHT_MODEL_SEED").map_or(18, |seed| seed.parse().expect("a number"));
    println!("LASTLIGHT_MODEL_SEED={seed}");
    let outside = Outside {
        cancels: 1,
        pauses: 2,
        retries: 2,
        failures: 1,
        poisons: 2,
        hand_backs: 3,
        deferrals: 3,
        drifts: 0,
    };
    let sizes =
        Sizes { planners: 3, attempts: 7, advancers: 3, straddling: true, outside, ..SMALL };
    let rules = Rules { batch: 2, max_attempts: 3, ..job(&[4, 3, 2]) };
    walk(rules, sizes, seed);
    let quiet = Sizes { straddling: false, outside: SMALL.outside, ..sizes };
    walk(Rules { batch: 1, ..rules }, quiet, seed + 1);
}

/// Searches the protocol without one of its parts, deeper and deeper, until a property breaks. It
/// must be the property that the part protects.
fn breaks(mutation: Mutation, property: &'static str, rules: Rules, sizes: Sizes) {
    let began = Instant::now();
    let rules = Rules { mutation: Some(mutation), ..rules };
    let search = |depth| {
        Protocol::new(rules, sizes)
            .checker()
            .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
            .target_max_depth(depth)
            .spawn_bfs()
            .join()
    };
    let found = (2..=DEEPEST).map(search).find(|search| search.discovery(property).is_some());
    let found = found.unwrap_or_else(|| panic!("with {mutation:?} {property:?} does not break"));
    let steps = found.discovery(property).unwrap().into_actions();
    println!(
        "{mutation:?}: {property:?} breaks in {} steps ({} states, {:.1} s)",
        steps.len(),
        found.unique_state_count(),
        began.elapsed().as_secs_f64(),
    );
    for step in steps {
        println!("    {step:?}");
    }
}

/// Each part of the protocol is needed: the property that breaks without it, and the sizes at which
/// it breaks.
macro_rules! breaks {
    ($($name:ident: $mutation:ident breaks $property:ident, $job:expr, $sizes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                breaks(Mutation::$mutation, must::$property, $job, $sizes);
            }
        )+
    };
}

breaks! {
    without_attempt_checks_stale_attempts_decide: CompleteWithoutAttempt breaks HOLDER_DECIDES, job(&[1]), SMALL;
    without_a_fence_a_task_has_two_outcomes: CompleteWithoutFence breaks ONE_OUTCOME, job(&[1]), SMALL;
    without_a_fence_the_counters_drift: CompleteWithoutFence breaks RECOUNT, job(&[2]), SMALL;
    without_job_checks_late_outcomes_count: CompleteAfterTheEnd breaks NOTHING_LATE, job(&[1]), CANCEL;
    attempts_counted_at_their_end_never_stop: AttemptCountedAtItsEnd breaks ENDS, job(&[1]), SMALL;
    advancing_without_a_claim_advances_twice: AdvanceByWhatWasRead breaks ONE_ADVANCE, job(&[1, 1]), SMALL;
    stale_counters_advance_a_stage_wrongly: AdvanceByOtherCounters breaks JUDGED, job(&[1]), RETRY;
    ending_an_unplanned_stage_loses_tasks: EndBeforePlanned breaks WHOLE_JOB, job(&[2]), SMALL;
    ending_an_unplanned_stage_breaks_the_order: EndBeforePlanned breaks IN_ORDER, job(&[2, 1]), SMALL;
    writing_chunks_without_a_lease_omits_tasks: WriteChunkWithoutLease breaks WHOLE_PLAN, job(&[2]), PLANNERS;
    writing_chunks_without_batches_strands_tasks: WriteChunkWithoutBatches breaks ENDS, job(&[1]), SMALL;
    without_its_lease_a_planner_fails_a_job: FailPlanWithoutLease breaks PLANNER_FAILS, job(&[1]), FAILURE;
    marking_before_sending_loses_messages: MarkBeforeSend breaks SENT_IF_MARKED, job(&[1]), SMALL;
    without_an_outbox_job_messages_are_lost: NextStageWithoutOutbox breaks UNSENT_OR_SENT, job(&[1, 1]), SMALL;
    closing_a_stage_too_soon_leaves_open_tasks: CloseBeforeSkipped breaks CLOSED, job(&[1]), CANCEL;
    skipping_tasks_of_a_running_job_loses_them: SkipWithoutEnd breaks WHOLE_JOB, job(&[1]), CANCEL;
    a_partially_reopened_job_completes_too_soon: ReopenHalf breaks WHOLE_JOB, job(&[2]), RETRY;
    a_sweep_without_the_outbox_strands_jobs: SweepWithoutOutbox breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_unsent_batches_strands_tasks: SweepWithoutUnsentBatches breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_lost_batches_strands_tasks: SweepWithoutLostBatches breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_dead_attempts_strands_tasks: SweepWithoutDeadAttempts breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_deferred_tasks_strands_them: SweepWithoutDeferred breaks ENDS, job(&[1]), DEFERRAL;
    deferring_a_finished_task_loses_its_outcome: DeferWithoutState breaks ONE_OUTCOME, job(&[1]), DEFERRAL;
    a_sweep_without_dead_planners_strands_stages: SweepWithoutDeadPlanners breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_ended_stages_strands_jobs: SweepWithoutAdvance breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_closing_leaves_tasks_open: SweepWithoutClosing breaks ENDS, job(&[1]), CANCEL;
    a_sweep_without_partial_retries_strands_tasks: SweepWithoutPartiallyReopened breaks ENDS, job(&[1]), RETRY;
    a_sweep_without_repair_leaves_counters_wrong: SweepWithoutRepair breaks ENDS, job(&[1]), DRIFT;
}

/// The same calls on the model and on PostgreSQL have the same results.
#[tokio::test]
async fn postgresql_behaves_as_the_model() {
    let rules = Rules { batch: 2, tolerates: 1, ..job(&[4, 3]) };
    let lives = if is_large() { 500 } else { 36 };
    // The number of calls of each statement, and the number of calls that changed something.
    let mut calls: BTreeMap<&'static str, [u32; 2]> = BTreeMap::new();
    for seed in 0..lives {
        let mut pair = Pair::new(rules, seed).await;
        let mut story = Vec::new();
        let mut before = String::new();
        for _ in 0..300 {
            let (name, model, real) = pair.call().await;
            story.push(format!("{name}: {model}"));
            assert_eq!(model, real, "seed {seed}: {name} has different results; {story:#?}");
            let (model, real) = pair.rows().await;
            assert_eq!(model, real, "seed {seed}: {name} leaves different rows; {story:#?}");
            let [called, changed] = calls.entry(name).or_default();
            *called += 1;
            let repaired = name == "repair_counters"
                && story.last().is_some_and(|last| last.ends_with("true"));
            *changed += u32::from(real != before || repaired);
            before = real;
        }
    }
    println!("{lives} lives, calls and those that changed something: {calls:#?}");
    for (name, [_, changed]) in calls {
        let only_reads = ["ended_stage", "nothing", "what a sweep finds"].contains(&name);
        assert!(changed > 0 || only_reads, "{name} never changed anything");
    }
}

#[test]
fn writing_statements_are_modelled_or_excluded() {
    let unknown = conformance::unknown_statements();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: model the statement in transactions.rs and actions.rs and call it in conformance.rs, or exclude it there with a reason"
    );
}
