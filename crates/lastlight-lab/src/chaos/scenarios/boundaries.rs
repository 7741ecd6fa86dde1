//! A fault at every boundary in turn (2): before and after each commit and each send, and between
//! steps that belong together. For each fail point and each kind of fault, the k-th passage, k = 1,
//! 2, 3 … until a run does not reach the k-th passage. Several worlds work through the list
//! concurrently, since most of a run is waiting for a lease.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use futures_util::future::join_all;
use serde_json::json;

use super::{coarse, work};
use crate::chaos::{
    ChaosError, Findings, Run, Size,
    world::{Setup, World},
};
use lastlight_engine::{
    failpoint::{FAILPOINT_SETTING, GRAPH_PLACES, HITS_SETTING, PLACES},
    model::{GateDecision, JobStatus},
};
use lastlight_local::broker::FaultPlan;
use lastlight_testing::{
    graph_work::{Answers, Choice, GateAnswer, GraphWork, Node},
    ledger,
    oracle::{Expected, ExpectedGraph},
    work::{Act, Rule, StageWork, Work},
};

const LONG: Duration = Duration::from_secs(90);

/// Number of worlds that run concurrently.
const LANES: usize = 6;

/// Runs per fail point of the sweep or of a narrow handler at the small size. The sweep passes its
/// fail points twice a second for as long as a job lasts, and a narrow handler passes its own again
/// and again.
const SWEEPS: u64 = 2;

/// The kind of fault of a fail point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Kill,
    Error,
}

/// One fail point and a kind of fault.
#[derive(Debug, Clone, Copy)]
struct Trial {
    place: &'static str,
    strike: Strike,
    use_service_bus: bool,
}

/// What happens while a fail point is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// A job is submitted and runs to its end.
    Plain,
    /// The same, while messages are dropped, so that the sweep has something to do.
    Swept,
    /// The handler runs one task at a time, and a planner writes no more than one batch.
    Narrow,
    /// The job is cancelled while its tasks run, and then retried.
    Controlled,
    /// The job's second stage cannot be planned.
    Unplannable,
    /// The job's stages form a graph, with a gate that is decided and a job for which it waits.
    Graph,
    /// The same; a task and a plan fail, and the job with them; it is repaired and retried.
    RetriedGraph,
}

impl Trial {
    fn life(&self) -> Life {
        match self.place.split('.').next() {
            Some("reconcile") => Life::Swept,
            Some("defer" | "stop_plan") => Life::Narrow,
            Some("fail_plan") => Life::Unplannable,
            Some("end_stage" | "decide_gate" | "child") => Life::Graph,
            Some("reopen_graph" | "fail_stage_plan") => Life::RetriedGraph,
            Some("end_early" | "skip" | "reopen_tasks" | "reopen_job") => Life::Controlled,
            _ => Life::Plain,
        }
    }
}

pub(super) async fn boundaries(run: &Run) -> Result<Findings, ChaosError> {
    let mut random = fastrand::Rng::with_seed(run.seed);
    let places = PLACES.iter().chain(GRAPH_PLACES);
    let mut trials: Vec<Trial> = places
        .clone()
        .flat_map(|(place, fails)| {
            let strikes: &[Strike] =
                if *fails { &[Strike::Kill, Strike::Error] } else { &[Strike::Kill] };
            strikes.iter().map(move |strike| (*place, *strike))
        })
        .flat_map(|(place, strike)| {
            // At full size over both paths, otherwise over a random one.
            let both = run.shared.size == Size::Full;
            let drawn = random.bool();
            [true, false]
                .into_iter()
                .filter(move |path| both || *path == drawn)
                .map(move |use_service_bus| Trial { place, strike, use_service_bus })
                .collect::<Vec<_>>()
        })
        .collect();
    // Shuffled, so that long trials are not all at the end.
    random.shuffle(&mut trials);
    let count = trials.len();
    let trials = Mutex::new(VecDeque::from(trials));
    let lanes = join_all((0..LANES).map(|_| lane(run, &trials))).await;
    let mut findings = Findings::default();
    let mut runs = 0;
    for lane in lanes {
        let (lane, lane_runs) = lane?;
        findings.add(lane);
        runs += lane_runs;
    }
    findings.notes.retain(|note| !note.starts_with("longest recovery"));
    let points = places.count();
    findings.notes.push(format!("{points} fail points, {count} faults, {runs} runs"));
    Ok(findings)
}

/// Takes trials until none is left.
async fn lane(run: &Run, trials: &Mutex<VecDeque<Trial>>) -> Result<(Findings, u64), ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let mut runs = 0;
    loop {
        let trial = trials.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(trial) = trial else { break };
        for k in 1.. {
            let struck = strike(&mut world, trial, k).await?;
            runs += 1;
            let is_enough = matches!(trial.life(), Life::Swept | Life::Narrow)
                && !world.is_full()
                && k >= SWEEPS;
            if !struck || is_enough {
                // A fail point that no run reaches is not tested at all.
                world.check(struck || k > 1, || format!("no run reaches {}", trial.place));
                world.say(&format!("{} {:?}: {k} runs", trial.place, trial.strike));
                break;
            }
        }
    }
    Ok((world.finish().await?, runs))
}

/// One run with one armed fail point; returns whether the fault happened.
async fn strike(world: &mut World, trial: Trial, k: u64) -> Result<bool, ChaosError> {
    let Trial { place, strike, use_service_bus } = trial;
    let action = match strike {
        Strike::Kill => "kill",
        Strike::Error => "error",
    };
    let tag = format!("{place}-{action}-{k}{}", if use_service_bus { "-sb" } else { "" });
    let hits = world.folder.join(format!("hit-{tag}"));
    let mut armed: BTreeMap<String, String> = [
        (FAILPOINT_SETTING.to_owned(), format!("{place}:{k}:{action}")),
        (HITS_SETTING.to_owned(), hits.display().to_string()),
    ]
    .into();
    if trial.life() == Life::Narrow {
        armed.insert("LASTLIGHT_TASKS_IN_FLIGHT".to_owned(), "1".to_owned());
        armed.insert("AzureFunctionsJobHost__functionTimeout".to_owned(), "00:00:04".to_owned());
    }
    world.replace_handler(armed).await?;
    let dropped = if trial.life() == Life::Swept { 0.5 } else { 0.0 };
    world.set_faults(FaultPlan { dropped, ..FaultPlan::default() });
    match trial.life() {
        Life::Controlled => controlled(world, tag, use_service_bus).await?,
        Life::Unplannable => {
            let unplannable = StageWork { plan_fails: true, ..StageWork::of(3, 1) };
            let job = work(tag, use_service_bus, [StageWork::of(2, 1), unplannable]);
            world.submit(job, LONG).await?;
        }
        Life::Narrow => {
            let listed_slowly = StageWork { plan_ms: 300, ..StageWork::of(8, 700) };
            let job = coarse(work(tag, use_service_bus, [listed_slowly]), 2);
            world.submit(job, LONG).await?;
        }
        Life::Graph => graph(world, &tag, use_service_bus, false).await?,
        Life::RetriedGraph => graph(world, &tag, use_service_bus, true).await?,
        Life::Plain | Life::Swept => {
            world.submit(plain(tag, use_service_bus), LONG).await?;
        }
    }
    if trial.life() == Life::Swept {
        // Long enough to lose messages of the first stage; messages that are sent again arrive.
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.set_faults(FaultPlan::default());
    }
    world.until_finished(LONG).await?;
    let struck = struck_at(&hits);
    if let Some(at) = struck {
        world.fault_at(at);
        if strike == Strike::Kill {
            world.count_kill();
        }
    }
    Ok(struck.is_some())
}

/// A small job with everything that a job can have: a retry, a coarse message, a second stage.
fn plain(tag: String, use_service_bus: bool) -> Work {
    let stumbling = StageWork::of(3, 1).with(Rule::only(1, Act::Stumble).first(1));
    coarse(work(tag, use_service_bus, [stumbling, StageWork::of(2, 1)]), 2)
}

async fn controlled(
    world: &mut World,
    tag: String,
    use_service_bus: bool,
) -> Result<(), ChaosError> {
    let job = work(tag.clone(), use_service_bus, [StageWork::of(4, 400), StageWork::of(1, 1)]);
    let job_id = world.submit_unexpecting(&job).await?;
    world
        .until("a task runs", LONG, async || world.runs().is_ok_and(|runs| runs.contains_key(&tag)))
        .await?;
    // A client repeats a request without an answer or with a 503 answer; 409 means that
    // the change has already happened.
    for (request, wanted) in [("cancel", "cancelled"), ("retry", "")] {
        let path = format!("/api/jobs/{request}/{job_id}");
        world
            .until("the request is answered", LONG, async || {
                matches!(world.post(&path).await, Ok((200 | 409, _)))
            })
            .await?;
        let status = world.get(&format!("/api/jobs/status/{job_id}")).await;
        let status =
            status.map(|(_, answer)| answer["status"].as_str().unwrap_or_default().to_owned());
        if let (Ok(status), false) = (&status, wanted.is_empty()) {
            world.check(status == wanted, || format!("{tag} is {status} after {request}"));
        }
    }
    let mut expected = Expected::new(job_id, job, LONG).ending(Some(JobStatus::Completed));
    expected.may_be_reopened = true;
    world.expect(expected);
    Ok(())
}

/// A small graph with every kind of node and a skip: its gate is approved, and once it has failed it is
/// repaired and retried.
async fn graph(
    world: &mut World,
    tag: &str,
    use_service_bus: bool,
    fails: bool,
) -> Result<(), ChaosError> {
    let child = GraphWork {
        use_service_bus,
        ..GraphWork::new(&format!("{tag}-child"), [Node::tasks("in-child", 1)])
    };
    let fragile = Node::tasks("fragile", 2).needs(["choose"]);
    let planned = Node::tasks("planned", 1).needs(["choose"]);
    let nodes = [
        Node::decision("choose", Choice::these(["fragile", "planned", "ask"])),
        Node::gate("ask").needs(["choose"]),
        Node::tasks("not-chosen", 1).needs(["choose"]),
        if fails { fragile.fails([1]) } else { fragile },
        if fails { planned.plan_fails() } else { planned },
        Node::job("wait", child).needs(["ask"]),
        Node::tasks("end", 2).needs(["wait", "fragile"]).follows(["not-chosen"]).reads("fragile"),
    ];
    let work = GraphWork { use_service_bus, ..GraphWork::new(tag, nodes) };
    let job_id = world.submit_graph(&work).await?;
    let approval = GateAnswer { decision: GateDecision::Approve, value: 7 };
    let body = json!({ "decision": approval.decision, "data": approval.value }).to_string();
    let path = format!("/api/jobs/gate/{job_id}/ask");
    world
        .until("the gate is decided", LONG, async || {
            let answer = world.request(reqwest::Method::POST, &path, body.clone()).await;
            matches!(answer, Ok((200, _)))
        })
        .await?;
    let answers = Answers::from([("ask".to_owned(), approval)]);
    let mut expected = work.expected(&answers);
    if fails {
        world.until_finished(LONG).await?;
        std::fs::write(ledger::repaired(&world.folder.join("ledger"), tag), "")?;
        let path = format!("/api/jobs/retry/{job_id}");
        world
            .until("the retry is answered", LONG, async || {
                matches!(world.post(&path).await, Ok((200 | 409, _)))
            })
            .await?;
        expected = work.expected_after_retry(&expected, &answers);
    }
    world.expect_graph(ExpectedGraph {
        job_id,
        work,
        nodes: expected,
        within: LONG,
        may_be_reopened: fails,
    });
    Ok(())
}

/// When the fault happened, in microseconds since 1970; `None`: it did not.
fn struck_at(hits: &Path) -> Option<i64> {
    let modified = std::fs::metadata(hits).ok()?.modified().ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}
