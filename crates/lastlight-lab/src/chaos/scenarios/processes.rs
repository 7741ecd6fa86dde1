//! Faults of processes: they are killed (1), stopped past their leases (5), and have wrong clocks
//! (9).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{LEASE, Setup, World},
};
use lastlight_engine::model::{JobStatus, clock::CLOCK_SKEW_SETTING};
use lastlight_testing::{
    oracle::Expected,
    work::{Act, Rule, StageWork},
};

const LONG: Duration = Duration::from_secs(120);

/// 1: two handlers, one of which is killed after every few outcomes. The throughput must recover.
pub(super) async fn kill(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    // Time for the message that the sweep sends to arrive and be claimed.
    world.rescue_slack = Some(Duration::from_secs(1));
    let (tasks, kills) = world.sized((1_500, 6), (5_000, 40));
    let before = steady(&mut world, "before", tasks).await?;
    let done = world.progress().await?.done;
    let mut all = 0;
    for use_service_bus in [true, false] {
        let job = work(
            format!("kill-{}", path(use_service_bus)),
            use_service_bus,
            [StageWork::of(tasks, 15), StageWork::of(tasks / 2, 15)],
        );
        all += job.tasks();
        world.submit(job, LONG * 10).await?;
    }
    for number in 1..=kills {
        // Within the first nine tenths of the tasks, so that tasks run at each kill.
        let step = all * 9 / 10 / (kills + 1);
        let after = done + number * step + world.random.u64(0..step.max(1));
        if !world.until_done(after, LONG).await? {
            break;
        }
        let victim = world.random.usize(0..2);
        world.say(&format!("kill {number}: handler {victim} after {after} tasks"));
        world.kill(victim).await?;
    }
    world.until_finished(LONG * 10).await?;
    let after = steady(&mut world, "after", tasks).await?;
    world.note(format!(
        "{before:.0} tasks/s before, {after:.0} tasks/s after the kills ({:.0}%)",
        100.0 * after / before
    ));
    world.check_timed(after >= 0.95 * before, || {
        format!("throughput recovered to only {:.0}%", 100.0 * after / before)
    });
    world.finish().await
}

/// Tasks per second of a job without faults.
async fn steady(world: &mut World, name: &str, tasks: u64) -> Result<f64, ChaosError> {
    let began = Instant::now();
    let job = work(format!("steady-{name}"), true, [StageWork::of(tasks, 15)]);
    world.submit(job, LONG).await?;
    world.until_finished(LONG).await?;
    Ok(tasks as f64 / began.elapsed().as_secs_f64())
}

/// 5: a handler is stopped while it runs tasks and resumes after another handler has taken over,
/// once because its leases expired and once because the job was cancelled. Then it tries to record
/// its outcomes.
pub(super) async fn late(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let tasks = world.sized(12, 100);
    for use_service_bus in [true, false] {
        for is_cancelled in [false, true] {
            let tag = format!(
                "late-{}-{}",
                path(use_service_bus),
                if is_cancelled { "cancelled" } else { "leased" }
            );
            world.say(&tag);
            late_once(&mut world, tag, use_service_bus, is_cancelled, tasks).await?;
        }
    }
    world.finish().await
}

async fn late_once(
    world: &mut World,
    tag: String,
    use_service_bus: bool,
    is_cancelled: bool,
    tasks: u64,
) -> Result<(), ChaosError> {
    // Only the handler that will be stopped exists when the tasks are claimed.
    let job = work(tag.clone(), use_service_bus, [StageWork::of(tasks, 600)]);
    let job_id = world.submit_unexpecting(&job).await?;
    let end = if is_cancelled { JobStatus::Cancelled } else { JobStatus::Completed };
    world.expect(Expected::new(job_id.clone(), job, LONG).ending(Some(end)));
    world
        .until("all tasks are claimed", LONG, async || {
            world
                .runs()
                .is_ok_and(|runs| runs.get(&tag).is_some_and(|runs| runs.len() as u64 == tasks))
        })
        .await?;
    world.signal(0, Signal::STOP);
    let helper = world.add_handler(BTreeMap::new()).await?;
    let url = world.base_url(helper);
    if is_cancelled {
        let answer = world.client().post(format!("{url}/api/jobs/cancel/{job_id}")).send().await;
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        world.check(status == 200, || format!("the cancellation of {tag} answered {status}"));
        // Long enough that its tasks end as soon as it resumes, before a heartbeat can stop them.
        tokio::time::sleep(Duration::from_secs(1)).await;
    } else {
        // The other handler sweeps, finds the dead attempts and runs their tasks.
        tokio::time::sleep(LEASE).await;
        let client = world.client().clone();
        world
            .until("the other handler finished all tasks", LONG, async || {
                let _ = client.post(format!("{url}/admin/functions/reconcile")).send().await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                world.progress().await.is_ok_and(|progress| progress.open_jobs == 0)
            })
            .await?;
    }
    let before = world.facts(&job_id).await?;
    world.signal(0, Signal::CONT);
    // It resumes and finishes its tasks, and every one of its outcomes comes too late.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = world.facts(&job_id).await?;
    world.check(after.tasks == before.tasks && after.status == before.status, || {
        format!("late outcomes changed rows of {tag}")
    });
    let stale: i64 = after.stages.values().map(|stage| stage.ignored[1]).sum();
    world.note(format!("{tag}: {stale} late ends of attempts were rejected"));
    world.check(stale > 0, || format!("{tag}: no late end of an attempt was counted"));
    world.remove_handler().await;
    world.until_finished(LONG).await
}

/// 9: two handlers whose clocks are ten minutes fast and ten minutes slow. Leases use the
/// database's clock, so no task runs twice. Delays use the handlers' clocks, so a retry message may
/// come at any time, and the sweep compensates for that.
pub(super) async fn clocks(run: &Run) -> Result<Findings, ChaosError> {
    let fast = Setup { settings: vec![(CLOCK_SKEW_SETTING, "600".to_owned())], ..Setup::default() };
    let mut world = World::start(run, fast).await?;
    let slow = (CLOCK_SKEW_SETTING.to_owned(), "-600".to_owned());
    world.add_handler([slow].into()).await?;
    let tasks = world.sized(60, 1000);
    // Longer than a lease, so that only heartbeats keep the lease.
    let ms = (LEASE * 2).as_millis() as u64;
    for use_service_bus in [true, false] {
        let slow = Rule::every(10, 0, Act::Sleep { ms });
        let stages = [StageWork::of(tasks, 20).with(slow), StageWork::of(tasks / 2, 20)];
        world
            .submit(
                work(format!("leases-{}", path(use_service_bus)), use_service_bus, stages),
                LONG,
            )
            .await?;
        let stumbling = Rule::every(7, 3, Act::Stumble).first(2);
        let stages = [StageWork::of(tasks / 2, 5).with(stumbling)];
        world
            .submit(
                work(format!("retries-{}", path(use_service_bus)), use_service_bus, stages),
                LONG,
            )
            .await?;
    }
    world.until_finished(LONG).await?;
    let runs = world.runs()?;
    for tag in ["leases-sb", "leases-queue"] {
        let twice: Vec<_> = runs
            .get(tag)
            .into_iter()
            .flatten()
            .filter(|(_, runs)| runs.len() > 1)
            .map(|(key, _)| *key)
            .collect();
        world.check(twice.is_empty(), || {
            format!("{tag}: tasks lost their lease and ran twice: {twice:?}")
        });
    }
    world.finish().await
}
