//! The scenarios, grouped by the kind of fault. Each one starts its worlds, injects its faults and
//! lets the oracle check the jobs; conditions beyond the oracle's it checks itself.

mod boundaries;
mod content;
mod control;
mod database;
mod everything;
mod graphs;
mod long_tasks;
mod messages;
mod migration;
mod orders;
mod processes;
mod purge;
mod schedules;
mod sizes;
mod workers;

use super::{ChaosError, Findings, Run};
use lastlight_engine::model::TasksPerMessage;
use lastlight_testing::{work::StageWork, work::Work};

/// One row of the reliability table.
#[derive(Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Number in the reliability table, from 1.
    pub number: u8,
    /// Name for `--scenario`.
    pub name: &'static str,
    pub what: &'static str,
}

const fn scenario(number: u8, name: &'static str, what: &'static str) -> Scenario {
    Scenario { number, name, what }
}

/// All scenarios, by number.
pub const SCENARIOS: [Scenario; 24] = [
    scenario(1, "kill", "one of two handlers is killed while it runs tasks, repeatedly"),
    scenario(
        2,
        "boundaries",
        "a fault at each commit, send and step in turn, until a run no longer reaches it",
    ),
    scenario(3, "duplicates", "each message is delivered 2 to 5 times, also within one batch"),
    scenario(
        4,
        "reorder",
        "messages arrive late and out of order, too early, and after the end of the job",
    ),
    scenario(
        5,
        "late",
        "a completion comes late: the process was stopped past its lease, or the job was cancelled",
    ),
    scenario(6, "database", "PostgreSQL is restarted and crashes, under load and during the sweep"),
    scenario(
        7,
        "connections",
        "every connection is terminated; other clients take all connections of the server",
    ),
    scenario(
        8,
        "broker",
        "answers are lost, sends are throttled, every queue is purged while jobs run",
    ),
    scenario(9, "clocks", "the clocks of two handlers are 20 minutes apart"),
    scenario(
        10,
        "poison",
        "tasks that panic, abort or exhaust the memory; messages that cannot be processed",
    ),
    scenario(
        11,
        "payload",
        "bodies and results at the limit, over it and far over it; bodies that are not text",
    ),
    scenario(12, "sizes", "stages of zero, one and many tasks, some of which fail or are slow"),
    scenario(13, "same", "the same job is submitted a hundred times at once"),
    scenario(
        14,
        "last-two",
        "the last two tasks of a stage end at the same moment, stage after stage",
    ),
    scenario(15, "control", "cancel, retry and pause race with completions"),
    scenario(16, "vacuum", "a transaction stays open and idle while other clients scan the tables"),
    scenario(
        17,
        "migration",
        "a migration is applied under traffic; a schema of another version is refused",
    ),
    scenario(18, "everything", "all faults at once, in an order chosen by the seed"),
    scenario(
        19,
        "long-tasks",
        "tasks longer than a message lock, few at once; then a handler that hangs until the host kills it",
    ),
    scenario(
        20,
        "graphs",
        "random graphs of stages with skips, best effort, gates, fan-outs and child jobs, through all faults",
    ),
    scenario(
        21,
        "workers",
        "workers that die, are late, are cut off and lose answers; the app is killed while claims wait",
    ),
    scenario(
        22,
        "purge",
        "jobs are archived, deleted and submitted again, while handlers are killed at each step and blob requests fail",
    ),
    scenario(
        23,
        "schedules",
        "due times are decided while handlers are killed at each step, and by several at once",
    ),
    scenario(
        24,
        "orders",
        "many jobs and single tasks are changed, and ends of jobs told, while handlers are killed at each step",
    ),
];

pub(super) async fn run(run: &Run) -> Result<Findings, ChaosError> {
    match run.scenario.number {
        1 => processes::kill(run).await,
        2 => boundaries::boundaries(run).await,
        3 => messages::duplicates(run).await,
        4 => messages::reorder(run).await,
        5 => processes::late(run).await,
        6 => database::restarts(run).await,
        7 => database::connections(run).await,
        8 => messages::broker(run).await,
        9 => processes::clocks(run).await,
        10 => content::poison(run).await,
        11 => content::payload(run).await,
        12 => sizes::sizes(run).await,
        13 => sizes::same(run).await,
        14 => sizes::last_two(run).await,
        15 => control::races(run).await,
        16 => database::vacuum(run).await,
        17 => migration::migration(run).await,
        18 => everything::everything(run).await,
        19 => long_tasks::long_tasks(run).await,
        20 => graphs::graphs(run).await,
        21 => workers::workers(run).await,
        22 => purge::purge(run).await,
        23 => schedules::schedules(run).await,
        _ => orders::orders(run).await,
    }
}

/// A job with one task per message.
fn work(tag: impl Into<String>, use_service_bus: bool, stages: impl Into<Vec<StageWork>>) -> Work {
    Work {
        tag: tag.into(),
        stages: stages.into(),
        tasks_per_message: TasksPerMessage::ONE,
        use_service_bus,
        use_workers: false,
    }
}

/// The same job with several tasks per message.
fn coarse(work: Work, tasks_per_message: u64) -> Work {
    Work {
        tasks_per_message: TasksPerMessage::try_from(tasks_per_message).unwrap_or_default(),
        ..work
    }
}

/// Name of a path in a tag.
fn path(use_service_bus: bool) -> &'static str {
    if use_service_bus { "sb" } else { "queue" }
}
