//! Workers that die, stop and go on after their leases, are cut off from the app, and lose answers; and
//! an app that is killed while claims wait (21).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::work;
use crate::{
    chaos::{
        ChaosError, Findings, Run,
        world::{LEASE, Setup, World},
    },
    worker::{Worker, completed},
};
use lastlight_api::workers::{ClaimedTask, Outcome, OutcomeKind};
use lastlight_engine::failpoint::{FAILPOINT_SETTING, HITS_SETTING, WORKER_PLACES};
use lastlight_testing::{
    ledger::{Entry, Ledger, RunEnd},
    work::{Act, Rule, StageWork, Work},
};

const LONG: Duration = Duration::from_secs(120);

/// The handler of the job type.
const HANDLER: [&str; 1] = ["chaos_task"];

/// Tasks of a claim, enough for a claim of a batch that is one row.
const MOST: u16 = 12;

/// What becomes of a claim's tasks.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// They run and are finished.
    Honest,
    /// The answer of the claim does not arrive.
    Deaf,
    /// The worker dies while they run.
    Dies,
    /// The worker is stopped, or cut off, for longer than a lease, and then finishes them.
    Late,
    /// The answer of the finish does not arrive, and it is sent again, twice.
    Repeats,
    /// They are released.
    Releases,
    /// A heartbeat names them before they run.
    Beats,
}

/// The fields of a task's parameters that a worker reads.
#[derive(Debug, Deserialize)]
struct Task {
    tag: String,
    stage: u8,
    number: u64,
    ms: u64,
    #[serde(default)]
    needs: Option<u64>,
    #[serde(default)]
    acts: Vec<Rule>,
}

/// 21.
pub(super) async fn workers(run: &Run) -> Result<Findings, ChaosError> {
    let mut findings = faults(run).await?;
    findings.add(boundaries(run).await?);
    Ok(findings)
}

/// Many workers with every fault, and two handlers that are killed meanwhile.
async fn faults(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let (tasks, kills) = world.sized((300, 4), (3_000, 30));
    let ledger = Arc::new(Ledger::open(&world.folder.join("ledger"))?);
    let stop = CancellationToken::new();
    let mut living = JoinSet::new();
    for number in 0..8 {
        let worker =
            Worker::new(&world.base_url(number % 2), &format!("chaos {number}"), &HANDLER)?;
        let random = fastrand::Rng::with_seed(world.random.u64(..));
        let (ledger, stop) = (Arc::clone(&ledger), stop.clone());
        living.spawn(async move { stop.run_until_cancelled(live(worker, ledger, random)).await });
    }
    // Claims that wait for tasks of a handler that no job has.
    for number in 0..50 {
        let worker =
            Worker::new(&world.base_url(number % 2), &format!("idle {number}"), &["none"])?;
        let stop = stop.clone();
        living.spawn(async move { stop.run_until_cancelled(wait(worker)).await });
    }
    let mut all = 0;
    for name in ["first", "second"] {
        let stumbling = StageWork::of(tasks, 20)
            .with(Rule::every(7, 1, Act::Stumble).first(1))
            .with(Rule::only(5, Act::Fail))
            .tolerating(1);
        let job = at_workers(name, [stumbling, StageWork::of(tasks / 2, 20)]);
        all += job.tasks();
        world.submit(job, LONG * 5).await?;
    }
    for number in 1..=kills {
        let step = all * 9 / 10 / (kills + 1);
        if !world.until_done(number * step, LONG).await? {
            break;
        }
        let victim = world.random.usize(0..2);
        world.say(&format!("kill {number}: handler {victim}, while 50 claims wait"));
        world.kill(victim).await?;
    }
    world.until_finished(LONG * 5).await?;
    stop.cancel();
    living.join_all().await;
    world.finish().await
}

/// A fault at each fail point of the workers' path.
async fn boundaries(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let ledger = Arc::new(Ledger::open(&world.folder.join("ledger"))?);
    for (place, fails) in WORKER_PLACES {
        let fate = match place.split_once('.') {
            Some(("release_worker", _)) => Fate::Releases,
            Some(("heartbeat_worker", _)) => Fate::Beats,
            Some(("dead_claims", _)) => Fate::Dies,
            _ => Fate::Honest,
        };
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            for k in 1..=2 {
                let tag = format!("{place}-{action}-{k}");
                let hits = world.folder.join(format!("hit-{tag}"));
                let armed = BTreeMap::from([
                    (FAILPOINT_SETTING.to_owned(), format!("{place}:{k}:{action}")),
                    (HITS_SETTING.to_owned(), hits.display().to_string()),
                ]);
                world.replace_handler(armed).await?;
                let worker = Worker::new(&world.base_url(0), "honest", &HANDLER)?;
                let ledger = Arc::clone(&ledger);
                let honest = AbortOnDropHandle::new(tokio::spawn(async move {
                    // A few claims do what the place needs to be passed.
                    for round in 1..=3 {
                        let _ = serve(&worker, &ledger, fate, round * MOST).await;
                    }
                    loop {
                        let _ = serve(&worker, &ledger, Fate::Honest, MOST).await;
                    }
                }));
                let stumbling = StageWork::of(40, 1).with(Rule::only(1, Act::Stumble).first(1));
                let job = at_workers(&tag, [stumbling, StageWork::of(3, 1)]);
                world.submit(job, LONG).await?;
                world.until_finished(LONG).await?;
                drop(honest);
                world.check(hits.exists(), || format!("no run reaches {tag}"));
                if hits.exists() && action == "kill" {
                    world.count_kill();
                }
            }
        }
    }
    world.finish().await
}

fn at_workers(tag: &str, stages: impl Into<Vec<StageWork>>) -> Work {
    Work { use_workers: true, ..work(tag, false, stages) }
}

/// Claims and waits, for ever.
async fn wait(worker: Worker) {
    loop {
        if worker.claim(1, 20.0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Claims and runs tasks, with a fate for each claim.
async fn live(worker: Worker, ledger: Arc<Ledger>, mut random: fastrand::Rng) {
    loop {
        let fate = match random.u8(..40) {
            0 => Fate::Deaf,
            1 => Fate::Dies,
            2 => Fate::Late,
            3..7 => Fate::Repeats,
            7 => Fate::Releases,
            8..10 => Fate::Beats,
            _ => Fate::Honest,
        };
        if serve(&worker, &ledger, fate, MOST).await.is_none() {
            tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
        }
    }
}

/// Claims up to `most` tasks and lets their fate happen; `None`: a request failed.
async fn serve(worker: &Worker, ledger: &Ledger, fate: Fate, most: u16) -> Option<()> {
    if matches!(fate, Fate::Deaf) {
        let _ = tokio::time::timeout(Duration::from_millis(3), worker.claim(most, 0.0)).await;
        return Some(());
    }
    let tasks = worker.claim(most, 2.0).await.ok()?;
    if tasks.is_empty() {
        return Some(());
    }
    if matches!(fate, Fate::Releases) {
        let released = tasks.iter().map(|task| outcome(task, OutcomeKind::Released)).collect();
        return worker.finish(released).await.ok().map(drop);
    }
    if matches!(fate, Fate::Dies) {
        tasks.iter().filter_map(read).for_each(|(entry, task)| {
            ledger.begins(entry.of(&task));
        });
        return Some(());
    }
    if matches!(fate, Fate::Beats) {
        let _ = worker.heartbeat(&tasks).await;
    }
    let ends = join_all(tasks.iter().map(|task| perform(task, ledger, fate)));
    let beats = async {
        loop {
            tokio::time::sleep(LEASE / 4).await;
            let _ = worker.heartbeat(&tasks).await;
        }
    };
    let late = matches!(fate, Fate::Late);
    let ends: Vec<Outcome> = tokio::select! {
        ends = ends => ends,
        () = beats, if !late => Vec::new(),
    };
    let again = |ends: &[Outcome]| ends.iter().map(copied).collect::<Vec<_>>();
    if matches!(fate, Fate::Repeats) {
        let lost = worker.finish(again(&ends));
        let _ = tokio::time::timeout(Duration::from_millis(2), lost).await;
        let _ = worker.finish(again(&ends)).await;
    }
    // Until it is answered, as the Python worker does.
    for _ in 0..100 {
        if worker.finish(again(&ends)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Some(())
}

/// The place of a task in the ledger, without its tag.
struct Place {
    task: (u8, u64),
    attempt: u32,
}

impl Place {
    fn of<'a>(&self, task: &'a Task) -> Entry<'a> {
        Entry { tag: &task.tag, task: self.task, attempt: self.attempt }
    }
}

fn read(task: &ClaimedTask) -> Option<(Place, Task)> {
    let read: Task = serde_json::from_str(task.params.get()).ok()?;
    let attempt = u32::from(task.attempt.unsigned_abs());
    Some((Place { task: (read.stage, read.number), attempt }, read))
}

async fn perform(task: &ClaimedTask, ledger: &Ledger, fate: Fate) -> Outcome {
    let Some((place, read)) = read(task) else {
        return failed(task, "ValueError", "the parameters cannot be read");
    };
    ledger.begins(place.of(&read));
    let late = if matches!(fate, Fate::Late) { LEASE.mul_f64(2.5) } else { Duration::ZERO };
    tokio::time::sleep(Duration::from_millis(read.ms) + late).await;
    let end = act(task, &read, place.attempt);
    let has_completed = end.outcome == OutcomeKind::Completed;
    ledger.ends(place.of(&read), if has_completed { RunEnd::Completed } else { RunEnd::Failed });
    end
}

fn act(task: &ClaimedTask, read: &Task, attempt: u32) -> Outcome {
    if let Some(needs) = read.needs {
        let before = task.predecessor_result.as_ref();
        let before: Value =
            before.and_then(|result| serde_json::from_str(result.get()).ok()).unwrap_or_default();
        if before["number"] != needs || before["tag"] != *read.tag {
            return failed(task, "ValueError", "the task read the result of another task");
        }
    }
    let now = |rule: &&Rule| rule.attempts.is_none_or(|attempts| attempt <= attempts);
    for rule in read.acts.iter().filter(now) {
        match rule.act {
            Act::Stumble => return outcome(task, OutcomeKind::Retry),
            Act::Fail => return failed(task, "ValueError", "a failure by request of the job"),
            _ => {}
        }
    }
    completed(task, json!({ "tag": read.tag, "stage": read.stage, "number": read.number }))
}

fn outcome(task: &ClaimedTask, outcome: OutcomeKind) -> Outcome {
    Outcome { outcome, result: None, ..completed(task, Value::Null) }
}

fn failed(task: &ClaimedTask, kind: &str, error: &str) -> Outcome {
    Outcome {
        error: Some(error.to_owned()),
        error_type: Some(kind.to_owned()),
        ..outcome(task, OutcomeKind::Failed)
    }
}

fn copied(outcome: &Outcome) -> Outcome {
    Outcome {
        key: outcome.key.clone(),
        outcome: outcome.outcome,
        result: outcome.result.clone(),
        error: outcome.error.clone(),
        error_type: outcome.error_type.clone(),
        retry_after_seconds: None,
        log_tail: None,
    }
}
