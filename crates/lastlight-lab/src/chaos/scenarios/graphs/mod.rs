//! Random graphs (20): jobs whose stages form a graph, with skips, best effort, gates, fan-outs and
//! jobs for which they wait, over both paths on two handlers, while every kind of fault happens.

mod gates;
mod random;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lastlight_testing::{graph_work::GraphWork, ledger, oracle::ExpectedGraph};

use self::{
    gates::Gates,
    random::{Drawing, Drawn},
};
use super::{
    control::settle,
    everything::{FAULTS, ROUND, strike},
    path,
};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_local::broker::FaultPlan;

const LONG: Duration = Duration::from_secs(200);

/// How long the jobs may take once no more faults happen: short enough that the oracle judges jobs that
/// are stuck before the scenario's time is over.
const LONGEST_END: Duration = Duration::from_secs(120);

/// A job that was submitted.
struct Submitted {
    job_id: String,
    work: GraphWork,
    /// It is retried once if it fails.
    is_to_retry: bool,
    was_retried: bool,
}

pub(super) async fn graphs(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let (rounds, count) = world.sized((14, 8), (400, 200));
    // Separate generators, so that the graphs and the faults do not depend on the machine's speed.
    let (jobs, faults) = (world.random.u64(..), world.random.u64(..));
    let mut chosen = world.random.fork();
    let mut submitted: Vec<Submitted> = Vec::new();
    let mut gates = Gates::default();
    let mut paused: BTreeSet<usize> = BTreeSet::new();
    let mut done = 0;
    for round in 0..rounds {
        // Three at first, then one in each round, and always enough to have work to interrupt.
        while submitted.len() < count
            && ((submitted.len() as u64) < 3 + round || world.progress().await?.open_jobs < 2)
        {
            let number = submitted.len() as u64;
            let random = fastrand::Rng::with_seed(jobs ^ number);
            submitted.push(submit(&world, &mut gates, number, random).await?);
        }
        let mut random = fastrand::Rng::with_seed(faults ^ round);
        done += random.u64(5..30);
        let _ = tokio::time::timeout(ROUND, world.until_done(done, LONG)).await;
        done = done.max(world.progress().await?.done);
        let fault = FAULTS[random.usize(0..FAULTS.len())];
        world.say(&format!("round {round}: {fault:?} after {done} tasks"));
        // Decisions are sent while the fault happens, and after it.
        gates.attend(&mut world, || chosen.u8(0..10) < 2).await;
        pause_or_resume(&world, &submitted, &mut paused, &mut random).await;
        strike(&mut world, fault, random).await?;
        gates.attend(&mut world, || chosen.u8(0..10) < 4).await;
        retry_failed(&world, &mut submitted).await?;
    }
    world.set_faults(FaultPlan::default());
    for job in &submitted {
        settle(&world, &job.job_id).await?;
    }
    let began = Instant::now();
    while began.elapsed() < LONGEST_END {
        gates.attend(&mut world, || true).await;
        let retried = retry_failed(&world, &mut submitted).await?;
        if retried == 0 && world.progress().await?.open_jobs == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The answer to a decision may have been lost, and its job have ended since.
    gates.attend(&mut world, || true).await;
    expect(&mut world, &submitted, &gates);
    let nodes: usize = submitted.iter().map(|job| job.work.nodes.len()).sum();
    let retried = submitted.iter().filter(|job| job.was_retried).count();
    let [accepted, refused] = gates.counts();
    world.note(format!(
        "{} graphs with {nodes} nodes, {retried} retried, {accepted} decisions accepted and {refused} refused",
        submitted.len()
    ));
    world.finish().await
}

/// Submits a graph that the seed draws; every sixth has thirty nodes.
async fn submit(
    world: &World,
    gates: &mut Gates,
    number: u64,
    mut random: fastrand::Rng,
) -> Result<Submitted, ChaosError> {
    let use_service_bus = number.is_multiple_of(2);
    let nodes = if number % 6 == 2 { 30 } else { random.usize(8..=16) };
    let is_to_retry = random.u8(0..100) < 75;
    let tag = format!("{}{number}", path(use_service_bus));
    let drawn = Drawing::new(random).graph(&tag, use_service_bus, nodes)?;
    let Drawn { work, gates: its_gates } = drawn;
    let job_id = world.submit_graph(&work).await?;
    gates.add(its_gates);
    Ok(Submitted { job_id, work, is_to_retry, was_retried: false })
}

/// Pauses a job that the seed chooses, or resumes all that are paused. A request that is refused or not
/// answered is not repeated.
async fn pause_or_resume(
    world: &World,
    submitted: &[Submitted],
    paused: &mut BTreeSet<usize>,
    random: &mut fastrand::Rng,
) {
    if random.u8(0..10) < 4 {
        let number = random.usize(0..submitted.len());
        let _ = world.post(&format!("/api/jobs/pause/{}", submitted[number].job_id)).await;
        paused.insert(number);
    } else {
        for number in std::mem::take(paused) {
            let _ = world.post(&format!("/api/jobs/resume/{}", submitted[number].job_id)).await;
        }
    }
}

/// Repairs the failed jobs that are to be retried, with those for which they wait, and retries them;
/// returns their number.
async fn retry_failed(world: &World, submitted: &mut [Submitted]) -> Result<usize, ChaosError> {
    let mut retried = 0;
    for job in submitted.iter_mut().filter(|job| job.is_to_retry && !job.was_retried) {
        let status = world.get(&format!("/api/jobs/status/{}", job.job_id)).await;
        if !matches!(status, Ok((200, status)) if status["status"] == "failed") {
            continue;
        }
        for tag in job.work.tags() {
            std::fs::write(ledger::repaired(&world.folder.join("ledger"), tag), "")?;
        }
        let retry = format!("/api/jobs/retry/{}", job.job_id);
        // 409: an earlier request had no answer, and was carried out.
        world
            .until("the retry is answered", LONG, async || {
                matches!(world.post(&retry).await, Ok((200 | 409, _)))
            })
            .await?;
        job.was_retried = true;
        retried += 1;
    }
    Ok(retried)
}

fn expect(world: &mut World, submitted: &[Submitted], gates: &Gates) {
    for Submitted { job_id, work, was_retried, .. } in submitted {
        let at_first = work.expected(gates.answers());
        let nodes = if *was_retried {
            work.expected_after_retry(&at_first, gates.answers())
        } else {
            at_first
        };
        world.expect_graph(ExpectedGraph {
            job_id: job_id.clone(),
            work: work.clone(),
            nodes,
            within: LONG,
            may_be_reopened: *was_retried,
        });
    }
}
