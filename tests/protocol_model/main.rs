//! A model of the protocol that keeps jobs from being lost, executed twice or stuck: planning under
//! a lease, claims and fenced completions, counters and the end of a stage, the outbox, queues that
//! lose, duplicate, reorder and delay messages, processes that die at any step, the sweep, and
//! concurrent actions of users. Small jobs are searched exhaustively, larger ones by random walks.
//!
//! - [`state`]: the rows, the queues and the memory of handlers; [`transactions`]: the writes, one
//!   function per statement file, those of graphs in [`graphs`]; [`actions`]: the possible next steps; [`properties`]: what must
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
mod graphs;
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
use graphs::{Graph, Kind};
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
        graph: None,
        workers: 0,
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
        decisions: 0,
        resubmissions: 0,
        task_changes: 0,
    },
    walk: false,
};

const fn with(outside: Outside) -> Sizes {
    Sizes { outside, ..SMALL }
}

const CANCEL: Sizes = with(Outside { cancels: 1, ..SMALL.outside });
const RETRY: Sizes = with(Outside { retries: 1, ..CANCEL.outside });
const RESUBMIT: Sizes = with(Outside { resubmissions: 1, ..SMALL.outside });
const TASK_CHANGE: Sizes = with(Outside { task_changes: 1, ..SMALL.outside });
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
fn a_resubmission_keeps_all_properties() {
    search(job(&[1, 1]), RESUBMIT);
    let cancelled = Outside { cancels: 1, ..RESUBMIT.outside };
    search(job(&[1]), Sizes { straddling: true, ..with(cancelled) });
    search(worked(0b1, job(&[1])), with(Outside { retries: 1, ..cancelled }));
    search(graph([needs(&[]), needs(&[0])]), narrow(cancelled));
    search(gate(), narrow(Outside { resubmissions: 1, ..GATE_CANCEL }));
    search(
        finalized(graph([needs(&[])])),
        Sizes { attempts: 2, advancers: 1, ..narrow(cancelled) },
    );
}

#[test]
fn single_tasks_that_are_retried_and_skipped_keep_all_properties() {
    search(Rules { tolerates: 1, ..job(&[2, 1]) }, TASK_CHANGE);
    search(job(&[1, 1]), with(Outside { retries: 1, ..TASK_CHANGE.outside }));
    let cancelled = Outside { cancels: 1, retries: 1, ..TASK_CHANGE.outside };
    search(job(&[1]), Sizes { straddling: true, ..with(cancelled) });
    search(worked(0b1, job(&[1])), with(Outside { task_changes: 2, ..SMALL.outside }));
    search(graph([needs(&[]), needs(&[0])]), narrow(cancelled));
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

/// The same with all tasks of the given stages, as bits, claimed by workers.
fn worked(workers: u8, rules: Rules) -> Rules {
    Rules { workers, ..rules }
}

#[test]
fn tasks_of_workers_keep_all_properties() {
    search(worked(0b11, job(&[2, 1])), Sizes { attempts: 3, ..SMALL });
    let outside = Outside { cancels: 1, poisons: 1, hand_backs: 1, ..SMALL.outside };
    search(worked(0b10, job(&[1, 1])), Sizes { outside, ..SMALL });
    search(worked(0b01, job(&[1, 1])), Sizes { outside, ..SMALL });
}

#[test]
fn tasks_of_workers_survive_a_cancel_and_a_retry() {
    search(worked(0b10, job(&[1, 1])), Sizes { straddling: true, ..RETRY });
    search(worked(0b01, Rules { batch: 2, ..job(&[2]) }), RETRY);
    search(worked(0b010, join()), CLAIMED_TWICE);
}

/// A graph of stages with a task each, or none if they are decisions or gates.
fn graph<const N: usize>(stages: [Node; N]) -> Rules {
    let mut graph = Graph {
        needs: [0; STAGES],
        follows: [0; STAGES],
        kinds: [Kind::Tasks; STAGES],
        best_effort: 0,
        finalize: None,
    };
    let mut plan = [0; N];
    for (number, stage) in stages.into_iter().enumerate() {
        plan[number] = u8::from(stage.kind == Kind::Tasks);
        graph.needs[number] = stage.needs.iter().fold(0, |bits, one| bits | 1 << one);
        graph.follows[number] = stage.follows.iter().fold(0, |bits, one| bits | 1 << one);
        graph.kinds[number] = stage.kind;
        graph.best_effort |= u8::from(stage.best_effort) << number;
    }
    Rules { graph: Some(graph), max_attempts: 1, ..job(&plan) }
}

/// A stage of a graph: what it needs, what it only follows, its kind.
#[derive(Debug, Clone, Copy)]
struct Node {
    needs: &'static [u8],
    follows: &'static [u8],
    kind: Kind,
    best_effort: bool,
}

const fn needs(needs: &'static [u8]) -> Node {
    Node { needs, follows: &[], kind: Kind::Tasks, best_effort: false }
}

const fn of_kind(kind: Kind, node: Node) -> Node {
    Node { kind, ..node }
}

/// One planner, one attempt of each task, and two actors that see the same end.
const NARROW: Sizes = Sizes { planners: 1, attempts: 1, ..SMALL };

/// The same with a second claim of each task.
const CLAIMED_TWICE: Sizes = Sizes { attempts: 2, ..NARROW };

const fn narrow(outside: Outside) -> Sizes {
    Sizes { outside, ..NARROW }
}

const fn following(follows: &'static [u8], node: Node) -> Node {
    Node { follows, ..node }
}

const fn best_effort(node: Node) -> Node {
    Node { best_effort: true, ..node }
}

/// The graph with a last stage that follows all others, and that runs whatever becomes of the job.
fn finalized(rules: Rules) -> Rules {
    let (last, mut graph) = (rules.stages, rules.graph.expect("a graph"));
    graph.follows[usize::from(last)] = (1 << last) - 1;
    graph.best_effort |= 1 << last;
    graph.finalize = Some(last);
    let mut plan = rules.plan;
    plan[usize::from(last)] = 1;
    Rules { graph: Some(graph), stages: last + 1, plan, ..rules }
}

/// Two stages side by side, and one that needs both.
fn join() -> Rules {
    graph([needs(&[]), needs(&[]), needs(&[0, 1])])
}

/// A decision that chooses one of two stages, and one that follows both.
fn choice() -> Rules {
    let last = following(&[1, 2], needs(&[]));
    graph([of_kind(Kind::Decision, needs(&[])), needs(&[0]), needs(&[0]), last])
}

/// A stage, a gate, and a stage that needs the gate.
fn gate() -> Rules {
    graph([needs(&[]), of_kind(Kind::Gate, needs(&[0])), needs(&[1])])
}

/// A decision between a stage and a gate, and a stage that follows both.
fn two_ways() -> Rules {
    graph([
        needs(&[]),
        of_kind(Kind::Decision, needs(&[0])),
        needs(&[1]),
        of_kind(Kind::Gate, needs(&[1])),
        following(&[2, 3], needs(&[0])),
    ])
}

/// A gate and a stage to begin with, a decision behind the gate, and two stages that depend on it.
fn early_gate() -> Rules {
    graph([
        of_kind(Kind::Gate, needs(&[])),
        needs(&[]),
        of_kind(Kind::Decision, needs(&[0])),
        needs(&[2]),
        following(&[1], needs(&[2])),
    ])
}

/// Two stages to begin with, one that may fail, and two more.
fn wide() -> Rules {
    let third = best_effort(needs(&[0]));
    graph([needs(&[]), needs(&[]), third, following(&[2], needs(&[1])), needs(&[3])])
}

const GATE_CANCEL: Outside = Outside { decisions: 2, cancels: 1, ..SMALL.outside };
const GRAPH_RETRY: Outside = Outside { cancels: 1, retries: 1, ..SMALL.outside };

#[test]
fn stages_side_by_side_keep_all_properties() {
    search(join(), CLAIMED_TWICE);
    search(graph([needs(&[]), needs(&[0]), needs(&[0]), needs(&[1, 2])]), CLAIMED_TWICE);
}

#[test]
fn stages_that_are_skipped_keep_all_properties() {
    // A skip reaches a stage that needs the skipped one, and not one that only follows it.
    search(
        graph([needs(&[]), needs(&[0]), needs(&[1]), following(&[1], needs(&[]))]),
        CLAIMED_TWICE,
    );
    search(graph([best_effort(needs(&[])), following(&[0], needs(&[]))]), CLAIMED_TWICE);
}

#[test]
fn decisions_keep_all_properties() {
    search(choice(), CLAIMED_TWICE);
    // The stage that was not chosen is needed by one that a decision chooses.
    let second = of_kind(Kind::Decision, needs(&[0]));
    search(
        graph([of_kind(Kind::Decision, needs(&[])), second, needs(&[0]), needs(&[1, 2])]),
        CLAIMED_TWICE,
    );
}

#[test]
fn gates_keep_all_properties() {
    search(gate(), narrow(GATE_CANCEL));
    let both = of_kind(Kind::Gate, needs(&[]));
    search(graph([both, both, needs(&[0, 1])]), narrow(GATE_CANCEL));
}

#[test]
fn a_graph_that_is_cancelled_and_retried_keeps_all_properties() {
    // A second attempt is needed after the retry.
    let retry = |outside| Sizes { attempts: 2, ..narrow(outside) };
    search(graph([needs(&[]), needs(&[0])]), retry(GRAPH_RETRY));
    search(graph([needs(&[]), following(&[0], needs(&[]))]), retry(GRAPH_RETRY));
    let first = of_kind(Kind::Decision, needs(&[]));
    search(graph([first, needs(&[0]), needs(&[0])]), retry(GRAPH_RETRY));
    search(gate(), retry(Outside { decisions: 1, ..GRAPH_RETRY }));
}

#[test]
fn a_graph_that_is_paused_keeps_all_properties() {
    let outside = Outside { pauses: 1, cancels: 1, ..SMALL.outside };
    search(join(), narrow(outside));
    search(choice(), narrow(outside));
    search(gate(), narrow(Outside { decisions: 1, ..outside }));
}

#[test]
fn failed_plans_and_limits_keep_all_properties_of_a_graph() {
    let outside = Outside { failures: 1, poisons: 1, ..SMALL.outside };
    search(join(), narrow(outside));
    let outside = Outside { failures: 1, retries: 1, ..SMALL.outside };
    search(graph([needs(&[]), needs(&[])]), Sizes { attempts: 2, advancers: 1, ..narrow(outside) });
}

#[test]
fn a_finalized_graph_keeps_all_properties() {
    let one = || finalized(graph([needs(&[])]));
    let outside = Outside { cancels: 2, retries: 1, ..SMALL.outside };
    search(one(), Sizes { attempts: 2, advancers: 1, ..narrow(outside) });
    search(one(), narrow(Outside { cancels: 1, pauses: 1, failures: 1, ..SMALL.outside }));
    search(
        finalized(graph([needs(&[]), needs(&[0])])),
        narrow(Outside { cancels: 1, ..SMALL.outside }),
    );
    search(finalized(graph([of_kind(Kind::Gate, needs(&[]))])), narrow(GATE_CANCEL));
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
        decisions: 0,
        resubmissions: 0,
        task_changes: 2,
    };
    let sizes =
        Sizes { planners: 3, attempts: 7, advancers: 3, straddling: true, outside, ..SMALL };
    let rules = Rules { batch: 2, max_attempts: 3, ..job(&[4, 3, 2]) };
    walk(rules, sizes, seed);
    let quiet = Sizes { straddling: false, outside: SMALL.outside, ..sizes };
    walk(Rules { batch: 1, ..rules }, quiet, seed + 1);
    walk(worked(0b101, rules), sizes, seed + 2);
}

#[test]
fn long_random_walks_through_a_graph_keep_all_properties() {
    let seed =
        std::env::var("LASTLIGHT_MODEL_SEED").map_or(18, |seed| seed.parse().expect("a number"));
    println!("LASTLIGHT_MODEL_SEED={seed}");
    let outside = Outside {
        cancels: 1,
        pauses: 2,
        retries: 2,
        failures: 1,
        poisons: 2,
        hand_backs: 2,
        deferrals: 2,
        drifts: 0,
        decisions: 3,
        resubmissions: 0,
        task_changes: 2,
    };
    let sizes =
        Sizes { planners: 3, attempts: 5, advancers: 3, straddling: true, outside, ..SMALL };
    let rules = Rules { max_attempts: 2, tolerates: 1, ..two_ways() };
    walk(Rules { plan: [2, 0, 2, 0, 1], ..rules }, sizes, seed);
    walk(Rules { max_attempts: 2, ..wide() }, sizes, seed + 1);
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
    a_claim_that_leaves_a_task_ready_gives_it_away_again: ClaimKeepsReady breaks READY, worked(1, job(&[1])), SMALL;
    a_retry_that_is_not_ready_strands_its_task: RetryNotReady breaks ENDS, worked(1, job(&[1])), SMALL;
    a_dead_attempt_that_is_not_ready_strands_its_task: DeadAttemptNotReady breaks ENDS, worked(1, job(&[1])), SMALL;
    a_skipped_task_that_stays_ready_is_given_away: SkipKeepsReady breaks READY, worked(1, job(&[1])), CANCEL;
    a_reopened_task_whose_attempt_is_not_new_is_decided_by_the_old_one: ReopenKeepsAttempt breaks GIVEN_ONCE, worked(1, job(&[1])), RETRY;
    a_dead_claim_whose_attempt_is_not_counted_is_claimed_as_the_same: DeadClaimKeepsAttempt breaks GIVEN_ONCE, worked(1, job(&[1])), SMALL;
    a_claim_without_a_fence_decides_what_another_attempt_has: CompleteClaimedWithoutFence breaks HOLDER_DECIDES, worked(1, job(&[1])), SMALL;
    a_sweep_without_dead_claims_strands_their_tasks: SweepWithoutDeadClaims breaks ENDS, worked(1, job(&[1])), SMALL;
    a_retried_job_without_ready_tasks_is_stuck: ReopenNotReady breaks ENDS, worked(1, job(&[1])), RETRY;
    a_sweep_without_dead_planners_strands_stages: SweepWithoutDeadPlanners breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_ended_stages_strands_jobs: SweepWithoutAdvance breaks ENDS, job(&[1]), SMALL;
    a_sweep_without_closing_leaves_tasks_open: SweepWithoutClosing breaks ENDS, job(&[1]), CANCEL;
    a_sweep_without_partial_retries_strands_tasks: SweepWithoutPartiallyReopened breaks ENDS, job(&[1]), RETRY;
    a_sweep_without_repair_leaves_counters_wrong: SweepWithoutRepair breaks ENDS, job(&[1]), DRIFT;
    a_dependent_started_without_a_claim_starts_twice: StartWithoutClaim breaks STARTS_ONCE, graph([needs(&[]), needs(&[0])]), NARROW;
    counting_what_was_read_leaves_a_stage_waiting: CountWhatWasRead breaks ENDS, join(), NARROW;
    a_skip_after_the_commit_runs_what_must_not_run: SkipAfterCommit breaks NEEDS, graph([needs(&[]), needs(&[0])]), NARROW;
    without_skips_a_stage_runs_after_a_failure: StartWithoutSkip breaks NEEDS, graph([needs(&[]), needs(&[0])]), NARROW;
    a_gate_that_may_be_decided_again_changes_its_mind: DecideAgain breaks ONE_DECISION, gate(), narrow(GATE_CANCEL);
    a_gate_decided_before_it_waits_is_wrong: DecideTooEarly breaks DECIDED_IN_TIME, gate(), narrow(GATE_CANCEL);
    a_retry_without_the_skipped_stages_loses_them: ReopenWithoutSkipped breaks SKIPPED, graph([needs(&[]), needs(&[0])]), Sizes { attempts: 2, ..narrow(GRAPH_RETRY) };
    finalizing_before_all_is_closed_is_not_the_last: FinalizeTooSoon breaks LAST, finalized(graph([needs(&[])])), narrow(Outside { cancels: 1, ..SMALL.outside });
    a_finalized_job_is_not_finalized_again: FinalizeAgain breaks STARTS_ONCE, finalized(graph([needs(&[])])), narrow(Outside { cancels: 1, ..SMALL.outside });
    a_cancelled_job_stays_cancelled_when_finalized: FinalizeForgets breaks FINAL, finalized(graph([needs(&[])])), narrow(Outside { cancels: 1, ..SMALL.outside });
    a_sweep_without_finalizing_forgets_it: SweepWithoutFinalizing breaks ENDS, finalized(graph([needs(&[])])), narrow(Outside { cancels: 1, ..SMALL.outside });
    a_retry_that_keeps_a_failed_plan_loses_tasks: KeepFailedPlan breaks WHOLE_JOB, graph([needs(&[])]), Sizes { attempts: 2, ..narrow(Outside { failures: 1, retries: 1, ..SMALL.outside }) };
    a_task_retried_after_its_stage_is_lost: RetryTaskAfterTheEnd breaks CLOSED, Rules { tolerates: 1, ..job(&[1]) }, TASK_CHANGE;
    a_retried_task_whose_attempt_is_not_new_is_decided_by_the_old_one: RetryTaskKeepsAttempt breaks GIVEN_ONCE, worked(1, job(&[1])), with(Outside { task_changes: 2, ..SMALL.outside });
    a_skipped_task_that_counts_as_failed_is_counted_twice: SkipTaskKeepsFailure breaks RECOUNT, job(&[1]), TASK_CHANGE;
    a_run_that_counts_from_the_start_gives_numbers_again: ResubmitForgetsAttempts breaks GIVEN_ONCE, job(&[1]), RESUBMIT;
    a_reader_of_another_run_advances_with_its_results: AdvanceOfAnotherRun breaks JUDGED, job(&[1]), RESUBMIT;
    a_resume_of_one_stage_strands_the_others: ResumeOneStage breaks UNSENT_OR_SENT, graph([needs(&[]), needs(&[]), needs(&[0])]), narrow(Outside { pauses: 1, ..SMALL.outside });
}

/// The same calls on the model and on PostgreSQL have the same results.
#[tokio::test]
async fn postgresql_behaves_as_the_model() {
    let line = Rules { batch: 2, tolerates: 1, ..job(&[4, 3]) };
    let mut calls = compare(line, if is_large() { 500 } else { 36 }).await;
    for of_graphs in ["decide_gate", "finalize_job"] {
        assert_eq!(calls.remove(of_graphs).map(|[_, changed]| changed), Some(0));
    }
    everything_changed_something(&calls);
}

#[tokio::test]
async fn postgresql_behaves_as_the_model_of_workers() {
    let lives = if is_large() { 300 } else { 16 };
    let line = Rules { batch: 2, tolerates: 1, ..job(&[4, 3]) };
    let calls = compare(worked(0b11, line), lives).await;
    for name in [
        "claim_ready",
        "claim_batches",
        "own_claimed",
        "dead_claims",
        "complete_tasks",
        "take_dead_attempts",
        "reopen_tasks",
    ] {
        let changed = calls.get(name).map_or(0, |[_, changed]| *changed);
        assert!(changed > 0, "{name} never changed anything: {calls:#?}");
    }
    compare(worked(0b10, line), lives / 2).await;
    let graph = Rules { batch: 2, plan: [0, 3, 0, 1, 1], ..early_gate() };
    compare(worked(0b1010, graph), lives / 2).await;
}

#[tokio::test]
async fn postgresql_behaves_as_the_model_of_a_graph() {
    let rules = Rules { batch: 2, max_attempts: 2, ..early_gate() };
    let lives = if is_large() { 300 } else { 12 };
    let mut calls = compare(Rules { plan: [0, 3, 0, 1, 1], tolerates: 1, ..rules }, lives).await;
    for rules in [wide(), finalized(gate())] {
        for (name, [called, changed]) in compare(rules, lives).await {
            let sum = calls.entry(name).or_default();
            *sum = [sum[0] + called, sum[1] + changed];
        }
    }
    // All other statements are the same for a stage of a line, where each must change something.
    for name in [
        "insert_job",
        "end_stage",
        "fail_stage_plan",
        "decide_gate",
        "finalize_job",
        "reopen_graph",
    ] {
        let changed = calls.get(name).map_or(0, |[_, changed]| *changed);
        assert!(changed > 0, "{name} never changed anything: {calls:#?}");
    }
}

/// The number of calls of each statement, and the number of calls that changed something.
type Calls = BTreeMap<&'static str, [u32; 2]>;

/// Makes random calls on both in several lives.
async fn compare(rules: Rules, lives: u64) -> Calls {
    let mut calls = Calls::new();
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
    calls
}

fn everything_changed_something(calls: &Calls) {
    println!("calls and those that changed something: {calls:#?}");
    for (name, [_, changed]) in calls {
        let only_reads = ["ended_stage", "nothing", "what a sweep finds"].contains(name);
        assert!(*changed > 0 || only_reads, "{name} never changed anything");
    }
}

#[test]
fn writing_statements_are_modelled_or_excluded() {
    let unknown = conformance::unknown_statements();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: model the statement in transactions.rs and actions.rs, call it in conformance.rs and list it in conformance/statements.rs, or exclude it there with a reason"
    );
}
