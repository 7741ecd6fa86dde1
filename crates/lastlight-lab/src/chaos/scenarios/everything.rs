//! Everything at once (18): rounds of faults that the seed chooses, while jobs of every kind run
//! over both paths on two handlers. The long soak is the same, until the requested number of
//! messages was delivered.

use std::time::Duration;

use rustix::process::Signal;

use super::{coarse, path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    postgres::Restart,
    world::{LEASE, Setup, World},
};
use lastlight_local::broker::{FaultPlan, LostAnswer};
use lastlight_testing::work::{Act, Rule, StageWork};

const LONG: Duration = Duration::from_secs(600);

/// The longest wait before the fault of a round.
pub(super) const ROUND: Duration = Duration::from_secs(3);

/// The fault of a round.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Kill,
    Stop,
    Purge,
    Restart(Restart),
    Terminate,
    Messages,
    Answers,
    Nothing,
}

pub(super) const FAULTS: [Fault; 9] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Purge,
    Fault::Restart(Restart::Fast),
    Fault::Restart(Restart::Immediate),
    Fault::Terminate,
    Fault::Messages,
    Fault::Answers,
    Fault::Nothing,
];

pub(super) async fn everything(run: &Run) -> Result<Findings, ChaosError> {
    let deliveries = run.shared.soak.unwrap_or_default();
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let rounds = world.sized(12, 200);
    // Separate generators: the number of jobs that are finished by a round depends on the machine's
    // speed and must not change the faults.
    let (jobs, faults) = (world.random.u64(..), world.random.u64(..));
    let mut done = 0;
    let mut submitted = 0;
    for round in 0_u64.. {
        let delivered =
            world.cloud.storage.messages_received() + world.cloud.service_bus.messages_received();
        if round >= rounds && delivered >= deliveries {
            break;
        }
        // Finished jobs are replaced by new ones, so that there is always work to interrupt.
        while submitted < 4 || world.progress().await?.open_jobs < 4 {
            submit(&mut world, submitted, fastrand::Rng::with_seed(jobs ^ submitted)).await?;
            submitted += 1;
        }
        // The round begins after a number of outcomes that the seed chooses, so that its moment
        // does not depend on the machine's speed.
        let mut random = fastrand::Rng::with_seed(faults ^ round);
        done += random.u64(10..80);
        let _ = tokio::time::timeout(ROUND, world.until_done(done, LONG)).await;
        done = done.max(world.progress().await?.done);
        let fault = FAULTS[random.usize(0..FAULTS.len())];
        world.say(&format!("round {round}: {fault:?} after {done} tasks, {delivered} deliveries"));
        strike(&mut world, fault, random).await?;
    }
    world.set_faults(FaultPlan::default());
    world.until_finished(LONG).await?;
    world.finish().await
}

/// Submits a job of a kind that the seed chooses.
async fn submit(
    world: &mut World,
    number: u64,
    mut random: fastrand::Rng,
) -> Result<(), ChaosError> {
    let use_service_bus = random.bool();
    let stages = (0..random.usize(1..=4))
        .map(|_| {
            let tasks = random.u64(0..80);
            let stage = StageWork::of(tasks, random.u64(0..30));
            let slow = Rule::every(13, 4, Act::Sleep { ms: 300 });
            let stumbling = Rule::every(9, 2, Act::Stumble).first(2);
            let panicking = Rule::every(31, 5, Act::Panic).first(1);
            let failing = Rule::every(40, 11, Act::Fail);
            stage.with(slow).with(stumbling).with(panicking).with(failing).tolerating(2)
        })
        .collect::<Vec<_>>();
    let tasks_per_message = [1, 1, 7, 50][random.usize(0..4)];
    let job =
        work(format!("everything-{number}-{}", path(use_service_bus)), use_service_bus, stages);
    world.submit(coarse(job, tasks_per_message), LONG).await?;
    Ok(())
}

/// Does this fault to the world.
pub(super) async fn strike(
    world: &mut World,
    fault: Fault,
    mut random: fastrand::Rng,
) -> Result<(), ChaosError> {
    let victim = random.usize(0..2);
    match fault {
        Fault::Kill => world.kill(victim).await?,
        Fault::Stop => {
            let pause = LEASE.mul_f64(0.5 + random.f64());
            world.signal(victim, Signal::STOP);
            tokio::time::sleep(pause).await;
            world.signal(victim, Signal::CONT);
        }
        Fault::Purge => world.purge(),
        Fault::Restart(how) => world.restart_database(how).await?,
        Fault::Terminate => {
            world.terminate_connections().await?;
        }
        Fault::Messages => {
            let plan = FaultPlan {
                dropped: 0.05,
                doubled: random.f64() / 2.0,
                copies: 5,
                late: random.f64(),
                late_by: Duration::from_secs(1),
                ..FaultPlan::default()
            };
            world.set_faults(plan);
        }
        Fault::Answers => {
            let lost_answer =
                [LostAnswer::ServerError, LostAnswer::ClosedConnection][random.usize(0..2)];
            let plan = FaultPlan {
                throttled: random.f64() / 5.0,
                unavailable: random.f64() / 5.0,
                lost_answers: random.f64() / 3.0,
                lost_answer,
                ..FaultPlan::default()
            };
            world.set_faults(plan);
        }
        Fault::Nothing => world.set_faults(FaultPlan::default()),
    }
    Ok(())
}
