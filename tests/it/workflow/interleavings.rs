//! Random interleavings of several handlers on one PostgreSQL: messages that are duplicated,
//! dropped, interrupted during processing or delivered to any handler; queues that go down or are
//! purged; sweeps; leases that expire under living attempts; users who cancel, retry and pause
//! jobs. Then the faults end, the timer sweeps, and the oracle compares the jobs with what was
//! expected, key by key.
//!
//! The jobs are of the type `chaos`. Its ledger has the runs, the recorder has every change of a
//! status, and the oracle of `lastlight chaos` judges both, so that more than the final state is
//! checked. The model in tests/protocol_model searches the same protocol exhaustively; this test
//! uses the real code, at random.
//!
//! `LASTLIGHT_INTERLEAVINGS=200` runs more seeds, `LASTLIGHT_INTERLEAVING_SEED=7` repeats one.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use axum::http::StatusCode;
use futures_util::future::join_all;
use lastlight_engine::{
    config::Timing,
    model::{ProcessingPath, Stage, TaskId, TasksPerMessage},
    store::{
        Claim, ClaimRequest, Completion, Database, RunningTask, TaskClaims, TaskCompletions,
        TaskOutcome,
    },
    transport::sender::QueueRole,
};
use lastlight_testing::{
    ledger::{self, Entry, Ledger, RunEnd},
    oracle::{Expected, judge},
    recorder::Recorder,
    work::{Act, CHAOS, Rule, StageWork, Work},
};
use serde_json::json;
use sqlx::{PgConnection, Row};
use tokio::sync::Mutex;

use crate::harness::{
    Mailbox, TestApp, catalog, database_settings, new_database_url, quick, time_passes, until_idle,
};

/// Rounds of steps before the faults end. A round has up to four concurrent steps.
const ROUNDS: usize = 60;

/// Number of lives (seeds) per run of the test.
const LIVES: u64 = 16;

/// Maximum number of sweeps after the faults: enough for dead attempts in two stages and for unsent
/// messages.
const MOST_SWEEPS: usize = 25;

/// Longer than any life takes.
const LONGEST: Duration = Duration::from_secs(3600);

/// How the outcomes of slow workers are recorded. They claim tasks like all others, and take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recording {
    /// As lastlight does: an outcome counts while the attempt holds the task and the job runs.
    Fenced,
    /// As the Python app did: the last outcome overwrites the others.
    Unfenced,
}

/// A running attempt of a slow worker.
#[derive(Debug)]
struct Slow {
    task: RunningTask,
    /// The tag of its job, and its number in its stage.
    tag: String,
    number: u64,
}

impl Slow {
    fn entry(&self) -> Entry<'_> {
        let RunningTask { stage, attempt, .. } = &self.task;
        Entry {
            tag: &self.tag,
            task: (stage.get(), self.number),
            attempt: attempt.unsigned_abs().into(),
        }
    }
}

/// A message in a queue.
#[derive(Debug, Clone)]
struct Message {
    path: ProcessingPath,
    role: QueueRole,
    body: String,
}

impl Message {
    fn function(&self) -> &'static str {
        match (self.path, self.role) {
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, QueueRole::Jobs) => {
                "process_queue_job"
            }
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, _) => "process_queue_task",
            (ProcessingPath::ServiceBus, QueueRole::Jobs) => "process_sb_job",
            (ProcessingPath::ServiceBus, _) => "process_sb_task",
        }
    }

    /// The function for dead-lettered messages.
    fn poison_function(&self) -> &'static str {
        match (self.path, self.role) {
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, QueueRole::Jobs) => {
                "process_queue_job_poison"
            }
            (ProcessingPath::QueueStorage | ProcessingPath::Worker, _) => {
                "process_queue_task_poison"
            }
            (ProcessingPath::ServiceBus, QueueRole::Jobs) => "process_sb_job_dead_letter",
            (ProcessingPath::ServiceBus, _) => "process_sb_task_dead_letter",
        }
    }
}

#[derive(Debug)]
enum Step {
    Deliver {
        app: usize,
        message: Message,
    },
    /// Delivers the same message to two handlers at once.
    DeliverTwice {
        apps: [usize; 2],
        message: Message,
    },
    /// The process dies after this number of milliseconds.
    DeliverAndDie {
        app: usize,
        message: Message,
        after: u64,
    },
    /// The queue dead-letters it.
    Poison {
        app: usize,
        message: Message,
    },
    Reconcile {
        app: usize,
    },
    /// The process dies during a sweep.
    ReconcileAndDie {
        app: usize,
        after: u64,
    },
    /// Leases, pauses and grace periods expire.
    TimePasses,
    QueuesDown {
        app: usize,
        after: usize,
    },
    QueuesUp,
    SubmitAgain {
        app: usize,
        job: usize,
    },
    Ask {
        app: usize,
        job: usize,
        verb: &'static str,
    },
    /// The open task at this index.
    SlowClaim {
        job: usize,
        place: i64,
    },
    SlowOutcome {
        slow: Slow,
    },
}

struct World {
    apps: Vec<TestApp>,
    /// What must become of each job.
    jobs: Vec<Expected>,
    messages: Vec<Message>,
    random: fastrand::Rng,
    recording: Recording,
    claims: TaskClaims,
    completions: TaskCompletions,
    /// Running attempts of slow workers.
    slow: Mutex<Vec<Slow>>,
    connection: Mutex<PgConnection>,
    recorder: Recorder,
    /// Where the slow workers record their runs, in the file of the handlers.
    ledger: Ledger,
    ledger_path: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(seed: u64, recording: Recording) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let url = new_database_url().await;
        let folder = tempfile::tempdir().unwrap();
        let ledger_path = folder.path().join("ledger");
        // Nothing waits: time passes only by a step.
        let timing = Timing { tasks_in_flight: 16, max_attempts: 3, ..quick() };
        let mut apps = Vec::new();
        for _ in 0..random.usize(2..=3) {
            let catalog = Ledger::open(&ledger_path).unwrap().add_to(catalog());
            apps.push(TestApp::on(&url, catalog, timing).await);
        }
        let database = Database::new(&database_settings(&url));
        database.migrate().await.unwrap();
        let recorder = Recorder::new(&url).unwrap();
        recorder.install().await.unwrap();
        let connection = apps[0].connection().await;
        let mut world = Self {
            apps,
            jobs: Vec::new(),
            messages: Vec::new(),
            random,
            recording,
            claims: TaskClaims::start(database.clone(), 60.0),
            completions: TaskCompletions::start(database, 60.0),
            slow: Mutex::default(),
            connection: Mutex::new(connection),
            recorder,
            ledger: Ledger::open(&ledger_path).unwrap(),
            ledger_path,
            _folder: folder,
        };
        for number in 0..2 {
            world.submit(number).await;
        }
        world
    }

    async fn submit(&mut self, number: u64) {
        let random = &mut self.random;
        let counts: Vec<u64> = (0..random.usize(1..=3)).map(|_| random.u64(0..=9)).collect();
        let path = *random.choice(ProcessingPath::WITH_MESSAGES.as_slice()).unwrap();
        let some = |random: &mut fastrand::Rng| -> Vec<u64> {
            (0..9).filter(|_| random.u8(..8) == 0).collect()
        };
        let tasks_per_message = *random.choice(&[1_u64, 1, 2, 4]).unwrap();
        let ms = *random.choice(&[0, 0, 3]).unwrap();
        let fails = if random.bool() { some(random) } else { Vec::new() };
        let fails = fails.into_iter().map(|number| Rule::only(number, Act::Fail));
        let (stumbles, attempts) = (some(random), random.u32(1..=2));
        let stumbles =
            stumbles.into_iter().map(|number| Rule::only(number, Act::Stumble).first(attempts));
        let rules: Vec<Rule> = fails.chain(stumbles).collect();
        let tolerates = *random.choice(&[0, 0, 9]).unwrap();
        let stage = |tasks| StageWork {
            tasks,
            ms,
            tolerates,
            rules: rules.clone(),
            ..StageWork::default()
        };
        let work = Work {
            tag: format!("job-{number}"),
            stages: counts.into_iter().map(stage).collect(),
            tasks_per_message: TasksPerMessage::try_from(tasks_per_message).unwrap(),
            use_service_bus: path == ProcessingPath::ServiceBus,
            use_workers: false,
        };
        let job_id = self.apps[0].submitted(CHAOS, json!(work)).await;
        self.jobs.push(Expected {
            end: None,
            may_be_reopened: true,
            outcomes_may_differ: true,
            ..Expected::new(job_id, work, LONGEST)
        });
    }

    /// Runs faults and work for all rounds.
    async fn live(&mut self) {
        for _ in 0..ROUNDS {
            let at_once = self.random.usize(1..=4);
            let mut steps = Vec::new();
            for _ in 0..at_once {
                steps.push(self.step().await);
            }
            join_all(steps.iter().map(|step| self.take(step))).await;
            self.collect();
        }
    }

    async fn step(&mut self) -> Step {
        let app = self.random.usize(..self.apps.len());
        let job = self.random.usize(..self.jobs.len());
        match self.random.u8(..100) {
            0..48 => match self.message() {
                Some(message) => self.delivery(app, message),
                None => Step::Reconcile { app },
            },
            48..56 => Step::Reconcile { app },
            56..58 => Step::ReconcileAndDie { app, after: self.random.u64(0..12) },
            58..65 => Step::TimePasses,
            65..67 => {
                // Every queue is purged.
                self.messages.clear();
                Step::TimePasses
            }
            67..70 => Step::QueuesDown { app, after: self.random.usize(0..3) },
            70..74 => Step::QueuesUp,
            74..76 => Step::SubmitAgain { app, job },
            76..86 => {
                let verbs = [
                    "cancel", "cancel", "retry", "retry", "retry", "retry", "pause", "resume",
                    "resume",
                ];
                let verb = self.random.choice(verbs).unwrap_or("resume");
                Step::Ask { app, job, verb }
            }
            86..95 => Step::SlowClaim { job, place: self.random.i64(0..6) },
            _ => {
                let mut slow = self.slow.lock().await;
                match slow.len() {
                    0 => Step::TimePasses,
                    length => {
                        Step::SlowOutcome { slow: slow.swap_remove(self.random.usize(..length)) }
                    }
                }
            }
        }
    }

    /// Takes a message from the queues. Most are removed, some stay as duplicates, some are lost.
    fn message(&mut self) -> Option<Message> {
        let length = self.messages.len();
        if length == 0 {
            return None;
        }
        let place = self.random.usize(..length);
        match self.random.u8(..10) {
            0..2 => Some(self.messages[place].clone()),
            2 => {
                self.messages.swap_remove(place);
                self.message()
            }
            _ => Some(self.messages.swap_remove(place)),
        }
    }

    fn delivery(&mut self, app: usize, message: Message) -> Step {
        match self.random.u8(..20) {
            0..3 => {
                Step::DeliverTwice { apps: [app, self.random.usize(..self.apps.len())], message }
            }
            3..7 => Step::DeliverAndDie { app, message, after: self.random.u64(0..15) },
            7 => Step::Poison { app, message },
            _ => Step::Deliver { app, message },
        }
    }

    async fn take(&self, step: &Step) {
        match step {
            Step::Deliver { app, message } => {
                self.apps[*app].deliver(message.function(), &message.body).await;
            }
            Step::DeliverTwice { apps, message } => {
                let deliveries =
                    apps.map(|app| self.apps[app].deliver(message.function(), &message.body));
                join_all(deliveries).await;
            }
            Step::DeliverAndDie { app, message, after } => {
                let delivery = self.apps[*app].deliver(message.function(), &message.body);
                let _ = tokio::time::timeout(Duration::from_millis(*after), delivery).await;
            }
            Step::Poison { app, message } => {
                self.apps[*app].deliver(message.poison_function(), &message.body).await;
            }
            Step::Reconcile { app } => {
                // A sweep that is ended by a deadlock with the passing of time continues at the
                // next sweep.
                let _ = self.apps[*app].controller.reconcile().await;
            }
            Step::ReconcileAndDie { app, after } => {
                let sweep = self.apps[*app].controller.reconcile();
                let _ = tokio::time::timeout(Duration::from_millis(*after), sweep).await;
            }
            Step::TimePasses => self.time_passes().await,
            Step::QueuesDown { app, after } => {
                for mailbox in self.mailboxes(*app) {
                    mailbox.goes_down_after(*after);
                }
            }
            Step::QueuesUp => self.queues_up(),
            Step::SubmitAgain { app, job } => {
                let job = &self.jobs[*job];
                let answer = self.apps[*app].submit(CHAOS, json!(job.work)).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                assert_eq!(answer.body["job_id"], job.job_id, "{}", answer.body);
            }
            Step::Ask { app, job, verb } => {
                let answer = self.apps[*app].control(verb, &self.jobs[*job].job_id).await;
                let expected = [StatusCode::OK, StatusCode::CONFLICT];
                assert!(expected.contains(&answer.status), "{verb}: {}", answer.body);
            }
            Step::SlowClaim { job, place } => self.slow_claim(*job, *place).await,
            Step::SlowOutcome { slow } => self.slow_outcome(slow).await,
        }
    }

    async fn slow_claim(&self, job: usize, place: i64) {
        let open = sqlx::query(
            "SELECT stage, task_id, task_index FROM tasks
             WHERE parent_job_id = $1 AND finished_at IS NULL ORDER BY stage, task_id OFFSET $2 LIMIT 1",
        )
        .bind(&self.jobs[job].job_id)
        .bind(place)
        .fetch_optional(&mut *self.connection.lock().await)
        .await
        .unwrap();
        let Some(open) = open else { return };
        let Expected { job_id, work, .. } = &self.jobs[job];
        let job_id = job_id.parse().unwrap();
        let stage = Stage::try_from(open.get::<i16, _>("stage") as u8).unwrap();
        let task_id = TaskId::try_from(open.get::<&str, _>("task_id")).unwrap();
        let number = open.get::<&str, _>("task_index").trim_start_matches("t-").parse().unwrap();
        let request = ClaimRequest { job_id, stage, task_id: task_id.clone() };
        if let Claim::Claimed(claimed) = self.claims.claim(request).await.unwrap() {
            let task = RunningTask { job_id, stage, task_id, attempt: claimed.attempt };
            let slow = Slow { task, tag: work.tag.clone(), number };
            self.ledger.begins(slow.entry());
            self.slow.lock().await.push(slow);
        }
    }

    /// The worker ends. If its task was the last of the stage, a redelivered message or the sweep
    /// continues: the worker dies afterwards.
    async fn slow_outcome(&self, slow: &Slow) {
        let Slow { task: attempt, tag, number } = slow;
        let result = json!({
            "tag": tag, "stage": attempt.stage, "number": number, "by_attempt": attempt.attempt,
        })
        .to_string();
        self.ledger.ends(slow.entry(), RunEnd::Completed);
        match self.recording {
            Recording::Fenced => {
                let outcome = TaskOutcome::Completed(
                    serde_json::value::RawValue::from_string(result).unwrap(),
                );
                let task = attempt.clone();
                let completion = Arc::new(Completion { task, outcome, claim: None });
                self.completions.complete(completion).await.unwrap();
            }
            Recording::Unfenced => {
                let mut connection = self.connection.lock().await;
                for statement in [
                    "UPDATE tasks SET status = 'completed', result_data = $4::json, lease_until = NULL, finished_at = now()
                     WHERE parent_job_id = $1 AND stage = $2 AND task_id = $3",
                    "UPDATE stages SET completed = completed + 1
                     WHERE job_id = $1 AND stage = $2 AND completed + failed + skipped < total
                       AND $3::text IS NOT NULL AND $4::text IS NOT NULL",
                ] {
                    sqlx::query(statement)
                        .bind(attempt.job_id.as_str())
                        .bind(i16::from(attempt.stage.get()))
                        .bind(attempt.task_id.as_str())
                        .bind(&result)
                        .execute(&mut *connection)
                        .await
                        .unwrap();
                }
            }
        }
    }

    /// A day passes for all rows in the database, but not for running code.
    async fn time_passes(&self) {
        time_passes(&mut *self.connection.lock().await, Duration::from_secs(24 * 3600)).await;
    }

    fn mailboxes(&self, app: usize) -> [&Mailbox; 2] {
        [&self.apps[app].queue, &self.apps[app].bus]
    }

    fn queues_up(&self) {
        for app in 0..self.apps.len() {
            self.mailboxes(app).iter().for_each(|mailbox| mailbox.set_down(false));
        }
    }

    /// Moves what the handlers sent to the queues. Delayed messages may come early, since clocks
    /// differ.
    fn collect(&mut self) {
        for app in &self.apps {
            for mailbox in [&app.queue, &app.bus] {
                for role in [QueueRole::Jobs, QueueRole::Tasks] {
                    let path = if Arc::ptr_eq(mailbox, &app.queue) {
                        ProcessingPath::QueueStorage
                    } else {
                        ProcessingPath::ServiceBus
                    };
                    let sent = mailbox.take(role).into_iter().chain(mailbox.take_delayed(role));
                    let sent = sent.map(|message| Message { path, role, body: message.body });
                    self.messages.extend(sent);
                }
            }
        }
    }

    /// The faults end; the timer sweeps and the queues deliver until every job is finished and
    /// closed.
    async fn recover(&mut self) -> Result<(), String> {
        self.queues_up();
        if self.random.bool() {
            self.messages.clear();
        }
        // Statements of dead processes may still be running.
        until_idle(&mut *self.connection.lock().await).await;
        for _ in 0..MOST_SWEEPS {
            self.time_passes().await;
            for job in &self.jobs {
                self.apps[0].control("resume", &job.job_id).await;
            }
            let app = self.random.usize(..self.apps.len());
            let swept = self.apps[app].controller.reconcile().await;
            swept.map_err(|error| format!("the sweep failed: {error}"))?;
            self.collect();
            while !self.messages.is_empty() {
                self.deliver_all().await?;
            }
            if self.is_quiet().await {
                return Ok(());
            }
        }
        let jobs = self
            .read("SELECT job_id || ' is ' || status::text || ' in stage ' || stage FROM jobs")
            .await;
        Err(format!("stuck: {jobs:?}"))
    }

    async fn deliver_all(&mut self) -> Result<(), String> {
        let messages = std::mem::take(&mut self.messages);
        let apps: Vec<usize> =
            messages.iter().map(|_| self.random.usize(..self.apps.len())).collect();
        let deliveries = messages.iter().zip(apps).map(async |(message, app)| {
            let answer = self.apps[app].deliver(message.function(), &message.body).await;
            match answer.status {
                StatusCode::OK => Ok(()),
                status => Err(format!("{message:?}: {status} {}", answer.body)),
            }
        });
        let answers: Result<Vec<()>, String> = join_all(deliveries).await.into_iter().collect();
        self.collect();
        answers.map(|_| ())
    }

    /// Every job and all of its stages are finished.
    async fn is_quiet(&self) -> bool {
        self.recorder.progress().await.unwrap().open_jobs == 0
    }

    async fn read(&self, statement: &'static str) -> Vec<String> {
        let mut connection = self.connection.lock().await;
        sqlx::query_scalar(statement).fetch_all(&mut *connection).await.unwrap()
    }

    /// Counts of the events of this life.
    async fn landmarks(&self) -> BTreeMap<String, i64> {
        let seen = "SELECT 'jobs ' || new_status AS what, count(*) AS times FROM chaos.job_writes
                        WHERE new_status IS DISTINCT FROM old_status GROUP BY 1
                    UNION ALL SELECT 'tasks ' || status::text, count(*) FROM tasks GROUP BY 1
                    UNION ALL SELECT 'attempts beyond the first', COALESCE(sum(greatest(attempt - 1, 0)), 0)::bigint FROM tasks
                    UNION ALL SELECT 'duplicates', sum(duplicates)::bigint FROM stages
                    UNION ALL SELECT 'outcomes refused', sum(stale)::bigint FROM stages
                    UNION ALL SELECT 'tasks retried by a user', count(*) FROM chaos.task_writes
                        WHERE old_status IN ('failed', 'skipped') AND new_status = 'queued'
                    UNION ALL SELECT 'batches sent again', COALESCE(sum(greatest(sends - 1, 0)), 0)::bigint FROM task_batches";
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(seen).fetch_all(&mut *connection).await.unwrap();
        rows.iter().map(|row| (row.get("what"), row.get("times"))).collect()
    }

    /// The violations found, as text; empty if there are none.
    async fn oracle(&self) -> Vec<String> {
        let decided_by_another =
            "SELECT format('%s/%s was decided by attempt %s of %s', stage, task_index,
                                                result_data->>'by_attempt', attempt)
                                  FROM tasks WHERE (result_data->>'by_attempt')::int <> attempt";
        let mut wrong = self.read(decided_by_another).await;
        let mut runs = ledger::read(&self.ledger_path).unwrap();
        for job in &self.jobs {
            let facts = self.recorder.job(&job.job_id).await.unwrap().unwrap();
            let runs = runs.remove(&job.work.tag).unwrap_or_default();
            let violations = judge(job, &facts, &runs).violations;
            wrong.extend(violations.iter().map(|violation| format!("{violation:?}")));
        }
        wrong
    }
}

/// The violations after one life with this seed, and the counts of its events.
async fn live(seed: u64, recording: Recording) -> (Vec<String>, BTreeMap<String, i64>) {
    let mut world = World::new(seed, recording).await;
    world.live().await;
    let (wrong, seen) = match world.recover().await {
        Ok(()) => (world.oracle().await, world.landmarks().await),
        Err(stuck) => (vec![stuck], BTreeMap::new()),
    };
    // Heartbeats of its handlers hold their pools for a while, and the next life needs the
    // connections.
    world.apps[0].end_connections().await;
    (wrong, seen)
}

fn seeds() -> std::ops::Range<u64> {
    let number =
        |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match (number("LASTLIGHT_INTERLEAVING_SEED"), number("LASTLIGHT_INTERLEAVINGS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(LIVES),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_interleavings_keep_jobs_consistent() {
    let mut wrong = BTreeMap::new();
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let seeds = seeds();
    for seed in seeds.clone() {
        let (found, landmarks) = live(seed, Recording::Fenced).await;
        if !found.is_empty() {
            wrong.insert(seed, found);
        }
        for (what, times) in landmarks {
            *seen.entry(what).or_default() += times;
        }
    }
    println!("{} lives: {seen:#?}", seeds.end - seeds.start);
    assert!(wrong.is_empty(), "by LASTLIGHT_INTERLEAVING_SEED: {wrong:#?}");
    if seeds.end - seeds.start >= LIVES {
        // Otherwise the absence of violations would mean little.
        for what in [
            "jobs completed",
            "jobs failed",
            "jobs cancelled",
            "attempts beyond the first",
            "duplicates",
            "outcomes refused",
            "tasks retried by a user",
            "batches sent again",
        ] {
            assert!(seen.get(what).is_some_and(|times| *times > 0), "never seen: {what}");
        }
    }
}

/// The same lives with one statement that differs from lastlight's: the oracle must notice it. It
/// needs the right moment, so not every life shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_notices_outcomes_without_a_fence() {
    let mut noticed = BTreeMap::new();
    for seed in 0..3 * LIVES {
        let (found, _) = live(seed, Recording::Unfenced).await;
        if !found.is_empty() {
            noticed.insert(seed, found);
        }
        if noticed.len() == 3 {
            println!("noticed: {noticed:#?}");
            return;
        }
    }
    panic!("the oracle noticed only {noticed:#?}");
}
