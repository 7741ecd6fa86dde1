//! The scenarios, grouped by what goes wrong. Each makes its worlds, does its harm, and has the
//! oracle judge; what it asks for beyond the oracle it checks itself.

mod boundaries;
mod content;
mod control;
mod database;
mod everything;
mod long_tasks;
mod messages;
mod migration;
mod processes;
mod sizes;

use super::{ChaosError, Findings, Run, Work, work::StageWork};
use lastlight::model::TasksPerMessage;

/// One line of the table of reliability.
#[derive(Debug, PartialEq, Eq)]
pub struct Scenario {
    /// As in the table, from 1.
    pub number: u8,
    /// For `--scenario`.
    pub name: &'static str,
    pub what: &'static str,
}

const fn scenario(number: u8, name: &'static str, what: &'static str) -> Scenario {
    Scenario { number, name, what }
}

/// All of them, in order.
pub const SCENARIOS: [Scenario; 19] = [
    scenario(1, "kill", "a handler of two is killed in mid-task, again and again"),
    scenario(
        2,
        "boundaries",
        "a fault at every commit, send and step in turn, until a run has none",
    ),
    scenario(3, "duplicates", "each message is delivered 2 to 5 times, also inside one batch"),
    scenario(
        4,
        "reorder",
        "messages come late and out of order, before their time and after the job's end",
    ),
    scenario(
        5,
        "late",
        "a completion comes late: the process was stopped past its lease, or the job cancelled",
    ),
    scenario(6, "database", "PostgreSQL is restarted and crashes, under load and during the sweep"),
    scenario(7, "connections", "every connection is terminated; others exhaust the server"),
    scenario(
        8,
        "broker",
        "answers are lost, sends are throttled, every queue is purged in mid-job",
    ),
    scenario(9, "clocks", "the clocks of two handlers are 20 minutes apart"),
    scenario(
        10,
        "poison",
        "tasks that panic, abort or exhaust the memory; messages that nobody can process",
    ),
    scenario(11, "payload", "bodies and results at the limit, over it, far over it, and not text"),
    scenario(12, "sizes", "stages of no, one and many tasks, some failing, some slow"),
    scenario(13, "same", "one submission a hundred times at once"),
    scenario(
        14,
        "last-two",
        "the two last tasks of a stage end at the same moment, stage after stage",
    ),
    scenario(15, "control", "cancel, retry and pause race with completions"),
    scenario(16, "vacuum", "an idle transaction is held open while analysts read"),
    scenario(
        17,
        "migration",
        "a migration is applied under traffic; a schema of another version is refused",
    ),
    scenario(18, "everything", "all faults at once, in an order of the seed's"),
    scenario(
        19,
        "long-tasks",
        "tasks longer than a lock, few at once; then a handler that hangs until the host kills it",
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
        _ => long_tasks::long_tasks(run).await,
    }
}

/// A job of one message a task.
fn work(tag: impl Into<String>, use_service_bus: bool, stages: impl Into<Vec<StageWork>>) -> Work {
    Work {
        tag: tag.into(),
        stages: stages.into(),
        tasks_per_message: TasksPerMessage::ONE,
        use_service_bus,
    }
}

/// The same with several tasks a message.
fn coarse(work: Work, tasks_per_message: u64) -> Work {
    Work {
        tasks_per_message: TasksPerMessage::try_from(tasks_per_message).unwrap_or_default(),
        ..work
    }
}

/// A path's name in a tag.
fn path(use_service_bus: bool) -> &'static str {
    if use_service_bus { "sb" } else { "queue" }
}
