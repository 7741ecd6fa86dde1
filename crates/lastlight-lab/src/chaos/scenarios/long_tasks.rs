//! Tasks longer than a message's lock, few at once, with a `functionTimeout` a few tasks long (19).
//! In the first part messages wait for most of the time, in their queues, prefetched and in
//! invocations, without consequences: each task completes in its first attempt, and no process is
//! killed. In the second part a handler hangs, and its host kills it.

use std::time::Duration;

use super::{path, work};
use crate::chaos::{
    ChaosError, Findings, Run, Size,
    world::{Setup, World},
};
use lastlight_testing::work::{Act, Rule, StageWork};

const FUNCTION_TIMEOUT: &str = "AzureFunctionsJobHost__functionTimeout";
const PREFETCH_COUNT: &str = "AzureFunctionsJobHost__extensions__serviceBus__prefetchCount";
const TASKS_IN_FLIGHT: &str = "LASTLIGHT_TASKS_IN_FLIGHT";
const LOST_AFTER: &str = "LASTLIGHT_LOST_AFTER_SECONDS";

/// Tasks that one process runs at once.
const AT_ONCE: u64 = 4;

const HANDLERS: u64 = 2;

/// The sizes of the first part.
struct Sizes {
    /// Number of tasks of each path.
    tasks: u64,
    /// Duration of a task.
    task: Duration,
    timeout: Duration,
    /// How long Service Bus locks a message; at least the five seconds that Azure demands. Locks of
    /// messages in a batch are not renewed: a message that waits longer than its lock uses one of
    /// its ten deliveries. So the small run, whose tasks are longer than a lock, must end well
    /// before ten such waits: its 40 tasks take at least 30 seconds, which is six.
    lock: Duration,
    /// As in Azure: no message is lost here, so the sweep must not find any.
    lost_after: Duration,
}

const SMALL: Sizes = Sizes {
    tasks: 20,
    task: Duration::from_secs(6),
    timeout: Duration::from_secs(20),
    lock: Duration::from_secs(5),
    lost_after: Duration::from_secs(60),
};

const FULL: Sizes = Sizes {
    tasks: 500,
    task: Duration::from_secs(20),
    timeout: Duration::from_secs(60),
    lock: Duration::from_secs(60),
    lost_after: Duration::from_secs(300),
};

const SHORT_TIMEOUT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(120);

pub(super) async fn long_tasks(run: &Run) -> Result<Findings, ChaosError> {
    let mut findings = waiting(run).await?;
    findings.add(hanging(run).await?);
    Ok(findings)
}

fn setting(name: &'static str, value: impl ToString) -> (&'static str, String) {
    (name, value.to_string())
}

/// A time span in the format of host.json.
fn time_span(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// More messages arrive than may run at once, without any fault.
async fn waiting(run: &Run) -> Result<Findings, ChaosError> {
    let sizes = match run.shared.size {
        Size::Small => SMALL,
        Size::Full => FULL,
    };
    let setup = Setup {
        handlers: HANDLERS as usize,
        settings: vec![
            setting(FUNCTION_TIMEOUT, time_span(sizes.timeout)),
            setting(TASKS_IN_FLIGHT, AT_ONCE),
            setting(PREFETCH_COUNT, 20),
            setting(LOST_AFTER, sizes.lost_after.as_secs()),
        ],
        has_poison: true,
        lock: Some(sizes.lock),
        ..Setup::default()
    };
    let mut world = World::start(run, setup).await?;
    // The minimum, if all slots are always in use.
    let at_best =
        sizes.task * u32::try_from(2 * sizes.tasks / (AT_ONCE * HANDLERS)).unwrap_or(u32::MAX);
    let within = 3 * at_best + LONG;
    let mut jobs = Vec::new();
    for use_service_bus in [true, false] {
        let ms = sizes.task.as_millis() as u64;
        let tag = format!("waiting-{}", path(use_service_bus));
        let job = work(tag.clone(), use_service_bus, [StageWork::of(sizes.tasks, ms)]);
        jobs.push((tag, world.submit(job, within).await?));
    }
    world.until_finished(within).await?;
    let (mut completed, mut in_first) = (0, 0);
    let runs = world.runs()?;
    for (tag, job_id) in &jobs {
        let facts = world.facts(job_id).await?;
        completed +=
            facts.stages.values().map(|stage| stage.counters[1].unsigned_abs()).sum::<u64>();
        let ran = runs.get(tag);
        let again: Vec<_> = facts
            .tasks
            .iter()
            .filter(|(key, task)| {
                let ran = ran.and_then(|ran| ran.get(key)).map_or(0, Vec::len);
                task.attempt != 1 || ran != 1
            })
            .map(|(key, task)| (*key, task.attempt))
            .collect();
        in_first += facts.tasks.len() as u64 - again.len() as u64;
        world.check(again.is_empty(), || {
            format!(
                "{tag}: {} tasks did not complete in their first attempt; the first ((stage, task), attempts): {:?}",
                again.len(),
                &again[..again.len().min(5)]
            )
        });
    }
    let (killed, restarted, dead) =
        (world.timeouts(), world.handler_restarts(), world.dead_lettered());
    world.note(format!(
        "{} tasks of {} s over each path, {AT_ONCE} at once in each of {HANDLERS} instances, functionTimeout {} s: {completed} of {} \
         completed, {in_first} in their first attempt; {killed} processes killed, {dead} messages dead-lettered",
        sizes.tasks,
        sizes.task.as_secs(),
        sizes.timeout.as_secs(),
        2 * sizes.tasks,
    ));
    world.check(killed == 0 && restarted == 0, || {
        format!("{killed} processes were killed at functionTimeout, {restarted} were restarted")
    });
    world.check(dead == 0, || format!("{dead} messages were dead-lettered"));
    world.finish().await
}

/// Some tasks block the threads of their process, so that it neither answers nor notices the
/// timeout. The host kills it with everything that runs in it, and all tasks complete nevertheless.
async fn hanging(run: &Run) -> Result<Findings, ChaosError> {
    let setup = Setup {
        handlers: HANDLERS as usize,
        settings: vec![
            setting(FUNCTION_TIMEOUT, time_span(SHORT_TIMEOUT)),
            setting(TASKS_IN_FLIGHT, AT_ONCE),
        ],
        ..Setup::default()
    };
    let mut world = World::start(run, setup).await?;
    let tasks = world.sized(40, 400);
    let ms = 3 * SHORT_TIMEOUT.as_millis() as u64;
    for use_service_bus in [true, false] {
        let hanging = Rule::every(20, world.random.u64(0..20), Act::Block { ms }).first(1);
        let stage = StageWork::of(tasks, 200).with(hanging);
        let job = work(format!("hanging-{}", path(use_service_bus)), use_service_bus, [stage]);
        world.submit(job, LONG * 10).await?;
    }
    world.until("a host has killed its handler", LONG, async || world.timeouts() > 0).await?;
    world.fault();
    world.until_finished(LONG * 10).await?;
    world
        .until("every handler is restarted", LONG, async || {
            world.handler_restarts() == world.timeouts()
        })
        .await?;
    for _ in 0..world.timeouts() {
        world.count_kill();
    }
    let killed = world.timeouts();
    world.note(format!(
        "{killed} hanging processes were killed at functionTimeout ({} s)",
        SHORT_TIMEOUT.as_secs()
    ));
    world.finish().await
}
