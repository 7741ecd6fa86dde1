//! Random interleavings of several handlers on one PostgreSQL: messages that are duplicated,
//! dropped, interrupted during processing or delivered to any handler; queues that go down or are
//! purged; sweeps; leases that expire under living attempts; users who cancel, retry and pause
//! jobs. Then the faults end, the timer sweeps, and the oracle compares the jobs with what was
//! expected, key by key.
//!
//! A chronicle (triggers in the test's own database) records every change of a status, so that more
//! than the final state is checked. The model in tests/protocol_model searches the same protocol
//! exhaustively; this test uses the real code, at random.
//!
//! `LASTLIGHT_INTERLEAVINGS=200` runs more seeds, `LASTLIGHT_INTERLEAVING_SEED=7` repeats one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use axum::http::StatusCode;
use futures_util::future::join_all;
use lastlight::{
    config::Timing,
    model::{JobStatus, ProcessingPath, Stage, TaskId, TaskStatus},
    store::{
        Claim, ClaimRequest, Completion, Database, RunningTask, TaskClaims, TaskCompletions,
        TaskOutcome,
    },
    transport::sender::QueueRole,
};
use serde_json::{Value, json};
use sqlx::{Executor, PgConnection, Row};
use tokio::sync::Mutex;

use crate::{
    harness::{Mailbox, TestApp, database_settings, new_database_url},
    probe::Probe,
    waiting::{time_passes, until_idle},
};

/// Rounds of steps before the faults end. A round has up to four concurrent steps.
const ROUNDS: usize = 60;

/// Number of lives (seeds) per run of the test.
const LIVES: u64 = 16;

/// Maximum number of sweeps after the faults: enough for dead attempts in two stages and for unsent
/// messages.
const MOST_SWEEPS: usize = 25;

/// How the outcomes of slow workers are recorded. They claim tasks like all others, and take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recording {
    /// As lastlight does: an outcome counts while the attempt holds the task and the job runs.
    Fenced,
    /// As the Python app did: the last outcome overwrites the others.
    Unfenced,
}

/// One job and its expected outcome.
#[derive(Debug)]
struct Job {
    id: String,
    /// Number of tasks of each stage.
    stages: Vec<u64>,
    parameters: Value,
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
            (ProcessingPath::QueueStorage, QueueRole::Jobs) => "process_queue_job",
            (ProcessingPath::QueueStorage, _) => "process_queue_task",
            (ProcessingPath::ServiceBus, QueueRole::Jobs) => "process_sb_job",
            (ProcessingPath::ServiceBus, _) => "process_sb_task",
        }
    }

    /// The function for dead-lettered messages.
    fn poison_function(&self) -> &'static str {
        match (self.path, self.role) {
            (ProcessingPath::QueueStorage, QueueRole::Jobs) => "process_queue_job_poison",
            (ProcessingPath::QueueStorage, _) => "process_queue_task_poison",
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
        attempt: RunningTask,
    },
}

struct World {
    apps: Vec<TestApp>,
    probe: Probe,
    jobs: Vec<Job>,
    messages: Vec<Message>,
    random: fastrand::Rng,
    recording: Recording,
    claims: TaskClaims,
    completions: TaskCompletions,
    /// Running attempts of slow workers.
    slow: Mutex<Vec<RunningTask>>,
    connection: Mutex<PgConnection>,
}

impl World {
    async fn new(seed: u64, recording: Recording) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let url = new_database_url().await;
        let probe = Probe::default();
        // Nothing waits: time passes only by a step.
        let timing = Timing { tasks_in_flight: 16, ..Timing::default() };
        let mut apps = Vec::new();
        for _ in 0..random.usize(2..=3) {
            let catalog = lastlight_app::app().catalog().with(probe.clone());
            apps.push(TestApp::on(&url, catalog, timing).await);
        }
        let database = Database::new(&database_settings(&url));
        database.migrate().await.unwrap();
        let mut connection = apps[0].connection().await;
        connection.execute(CHRONICLE).await.unwrap();
        let mut world = Self {
            apps,
            probe,
            jobs: Vec::new(),
            messages: Vec::new(),
            random,
            recording,
            claims: TaskClaims::start(database.clone(), 60.0),
            completions: TaskCompletions::start(database, 60.0),
            slow: Mutex::default(),
            connection: Mutex::new(connection),
        };
        for number in 0..2 {
            world.submit(number).await;
        }
        world
    }

    async fn submit(&mut self, number: u64) {
        let random = &mut self.random;
        let stages: Vec<u64> = (0..random.usize(1..=3)).map(|_| random.u64(0..=9)).collect();
        let path = *random.choice(ProcessingPath::ALL.as_slice()).unwrap();
        let some = |random: &mut fastrand::Rng| -> Vec<u64> {
            (0..9).filter(|_| random.u8(..8) == 0).collect()
        };
        let parameters = json!({
            "number": number,
            "stages": stages,
            "use_service_bus": path == ProcessingPath::ServiceBus,
            "tasks_per_message": random.choice(&[1, 1, 2, 4]).unwrap(),
            "sleeps_ms": random.choice(&[0, 0, 3]).unwrap(),
            "fails": if random.bool() { some(random) } else { Vec::new() },
            "stumbles": some(random),
            "stumbling_attempts": random.u32(1..=2),
            "tolerates": random.choice(&[0, 0, 9]).unwrap(),
        });
        let id = self.apps[0].submitted("probe", parameters.clone()).await;
        self.jobs.push(Job { id, stages, parameters });
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
                        Step::SlowOutcome { attempt: slow.swap_remove(self.random.usize(..length)) }
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
                let answer =
                    self.apps[*app].submit("probe", self.jobs[*job].parameters.clone()).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                assert_eq!(answer.body["job_id"], self.jobs[*job].id, "{}", answer.body);
            }
            Step::Ask { app, job, verb } => {
                let answer = self.apps[*app].control(verb, &self.jobs[*job].id).await;
                let expected = [StatusCode::OK, StatusCode::CONFLICT];
                assert!(expected.contains(&answer.status), "{verb}: {}", answer.body);
            }
            Step::SlowClaim { job, place } => self.slow_claim(*job, *place).await,
            Step::SlowOutcome { attempt } => self.slow_outcome(attempt).await,
        }
    }

    async fn slow_claim(&self, job: usize, place: i64) {
        let open = sqlx::query(
            "SELECT stage, task_id FROM tasks
             WHERE parent_job_id = $1 AND finished_at IS NULL ORDER BY stage, task_id OFFSET $2 LIMIT 1",
        )
        .bind(&self.jobs[job].id)
        .bind(place)
        .fetch_optional(&mut *self.connection.lock().await)
        .await
        .unwrap();
        let Some(open) = open else { return };
        let job_id = self.jobs[job].id.parse().unwrap();
        let stage = Stage::try_from(open.get::<i16, _>("stage") as u8).unwrap();
        let task_id = TaskId::try_from(open.get::<&str, _>("task_id")).unwrap();
        let request = ClaimRequest { job_id, stage, task_id: task_id.clone() };
        if let Claim::Claimed(claimed) = self.claims.claim(request).await.unwrap() {
            self.slow.lock().await.push(RunningTask {
                job_id,
                stage,
                task_id,
                attempt: claimed.attempt,
            });
        }
    }

    /// The worker ends. If its task was the last of the stage, a redelivered message or the sweep
    /// continues: the worker dies afterwards.
    async fn slow_outcome(&self, attempt: &RunningTask) {
        let result = json!({ "by_attempt": attempt.attempt }).to_string();
        match self.recording {
            Recording::Fenced => {
                let outcome = TaskOutcome::Completed(
                    serde_json::value::RawValue::from_string(result).unwrap(),
                );
                let task = attempt.clone();
                let completion = Arc::new(Completion { task, outcome });
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
                self.apps[0].control("resume", &job.id).await;
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
        let open = "SELECT 'job' FROM jobs WHERE finished_at IS NULL
                    UNION ALL SELECT 'stage' FROM stages WHERE advanced_at IS NULL";
        self.read(open).await.is_empty()
    }

    async fn read(&self, statement: &'static str) -> Vec<String> {
        let mut connection = self.connection.lock().await;
        sqlx::query_scalar(statement).fetch_all(&mut *connection).await.unwrap()
    }
}

/// Records every commit.
const CHRONICLE: &str = "
    CREATE TABLE chronicle (place bigserial PRIMARY KEY, kind text, job_id text, stage smallint, task_id text,
                            before text, after text);
    CREATE FUNCTION chronicle_task() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chronicle (kind, job_id, stage, task_id, before, after)
        VALUES ('task', NEW.parent_job_id, NEW.stage, NEW.task_id, OLD.status::text, NEW.status::text);
        RETURN NULL;
    END $$;
    CREATE TRIGGER chronicle AFTER UPDATE ON tasks FOR EACH ROW
        WHEN (NEW.status <> OLD.status OR NEW.attempt <> OLD.attempt OR NEW.finished_at IS DISTINCT FROM OLD.finished_at)
        EXECUTE FUNCTION chronicle_task();
    CREATE FUNCTION chronicle_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chronicle (kind, job_id, stage, before, after)
        VALUES ('job', NEW.job_id, NEW.stage, OLD.status::text, NEW.status::text);
        IF NEW.stage <> OLD.stage THEN
            INSERT INTO chronicle (kind, job_id, stage) VALUES ('advance', NEW.job_id, NEW.stage);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER chronicle AFTER UPDATE ON jobs FOR EACH ROW
        WHEN (NEW.status <> OLD.status OR NEW.stage <> OLD.stage)
        EXECUTE FUNCTION chronicle_job();
";

/// One row of the chronicle.
struct Event {
    kind: String,
    stage: i16,
    task_id: String,
    before: String,
    after: String,
}

/// A task's row.
struct TaskRow {
    stage: i16,
    index: String,
    status: TaskStatus,
    attempt: u32,
    /// The attempt whose result this is, if it was a slow worker's.
    by_attempt: Option<u32>,
    /// The task that the probe's handler reports to have run.
    ran: Option<String>,
}

/// A job's row and those of its stages.
struct Audited {
    status: JobStatus,
    stage: i16,
    /// Total, completed, failed and skipped, by stage number.
    counters: BTreeMap<i16, [i64; 4]>,
    tasks: Vec<TaskRow>,
    events: Vec<Event>,
}

impl World {
    async fn books(&self, job: &Job) -> Audited {
        let mut connection = self.connection.lock().await;
        let connection = &mut *connection;
        let row = sqlx::query("SELECT status::text, stage FROM jobs WHERE job_id = $1")
            .bind(&job.id)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        let counters = sqlx::query(
            "SELECT stage, total, completed, failed, skipped FROM stages WHERE job_id = $1 ORDER BY stage",
        )
        .bind(&job.id)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let tasks = sqlx::query(
            "SELECT stage, task_index, status::text, attempt::int, (result_data->>'by_attempt')::int AS by_attempt,
                    result_data->>'ran' AS ran
             FROM tasks WHERE parent_job_id = $1",
        )
        .bind(&job.id)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let events = sqlx::query(
            "SELECT kind, stage, COALESCE(task_id, '') AS task_id, COALESCE(before, '') AS before,
                    COALESCE(after, '') AS after
             FROM chronicle WHERE job_id = $1 ORDER BY place",
        )
        .bind(&job.id)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        Audited {
            status: JobStatus::from_name(row.get("status")).unwrap(),
            stage: row.get("stage"),
            counters: counters
                .iter()
                .map(|row| {
                    (
                        row.get("stage"),
                        ["total", "completed", "failed", "skipped"].map(|name| row.get(name)),
                    )
                })
                .collect(),
            tasks: tasks
                .iter()
                .map(|row| TaskRow {
                    stage: row.get("stage"),
                    index: row.get("task_index"),
                    status: TaskStatus::from_name(row.get("status")).unwrap(),
                    attempt: row.get::<i32, _>("attempt").unsigned_abs(),
                    by_attempt: row.get::<Option<i32>, _>("by_attempt").map(i32::unsigned_abs),
                    ran: row.get("ran"),
                })
                .collect(),
            events: events
                .iter()
                .map(|row| Event {
                    kind: row.get("kind"),
                    stage: row.get("stage"),
                    task_id: row.get("task_id"),
                    before: row.get("before"),
                    after: row.get("after"),
                })
                .collect(),
        }
    }

    /// Counts of the events of this life.
    async fn landmarks(&self) -> BTreeMap<String, i64> {
        let seen = "SELECT 'jobs ' || after AS what, count(*) AS times FROM chronicle WHERE kind = 'job' GROUP BY 1
                    UNION ALL SELECT 'tasks ' || status::text, count(*) FROM tasks GROUP BY 1
                    UNION ALL SELECT 'attempts beyond the first', COALESCE(sum(greatest(attempt - 1, 0)), 0)::bigint FROM tasks
                    UNION ALL SELECT 'duplicates', sum(duplicates)::bigint FROM stages
                    UNION ALL SELECT 'outcomes refused', sum(stale)::bigint FROM stages
                    UNION ALL SELECT 'tasks retried by a user', count(*) FROM chronicle
                        WHERE kind = 'task' AND before IN ('failed', 'skipped')
                    UNION ALL SELECT 'batches sent again', COALESCE(sum(greatest(sends - 1, 0)), 0)::bigint FROM task_batches";
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(seen).fetch_all(&mut *connection).await.unwrap();
        rows.iter().map(|row| (row.get("what"), row.get("times"))).collect()
    }

    /// The violations found, as text; empty if there are none.
    async fn oracle(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut attempts: BTreeMap<String, u32> = BTreeMap::new();
        let runs = self.probe.runs();
        for job in &self.jobs {
            let books = self.books(job).await;
            books.nothing_is_lost(job, &mut wrong);
            books.nothing_is_twice(&mut wrong);
            books.stages_are_in_order(&mut wrong);
            books.counters_equal_a_recount(&mut wrong);
            books.job_has_ended(job, &mut wrong);
            for task in &books.tasks {
                let key = format!("{}/{}", task.stage, task.index.trim_start_matches("t-"));
                let is_the_handlers =
                    task.status == TaskStatus::Completed && task.by_attempt.is_none();
                if is_the_handlers && (task.ran.as_ref() != Some(&key) || !runs.contains_key(&key))
                {
                    wrong.push(format!("{key} completed and did not run: {:?}", task.ran));
                }
                if task.by_attempt.is_some_and(|by| by != task.attempt) {
                    wrong.push(format!(
                        "{key} was decided by attempt {:?} of {}",
                        task.by_attempt, task.attempt
                    ));
                }
                *attempts.entry(key).or_default() += task.attempt;
            }
        }
        for (key, runs) in runs {
            let claimed = attempts.get(&key).copied().unwrap_or_default();
            if runs > claimed {
                wrong.push(format!("{key} ran {runs} times and was claimed {claimed} times"));
            }
        }
        wrong
    }
}

impl Audited {
    /// (a)
    fn nothing_is_lost(&self, job: &Job, wrong: &mut Vec<String>) {
        for (number, expected) in (1..).zip(&job.stages) {
            let planned: BTreeSet<&str> = self
                .tasks
                .iter()
                .filter(|task| task.stage == number)
                .map(|task| task.index.as_str())
                .collect();
            let expected: BTreeSet<String> =
                (0..*expected).map(|task| format!("t-{task}")).collect();
            let is_past = self.status == JobStatus::Completed || number < self.stage;
            let is_right = if is_past {
                planned.iter().eq(expected.iter())
            } else {
                planned.iter().all(|index| expected.contains(*index))
            };
            if !is_right {
                wrong.push(format!("stage {number} should have {expected:?} and has {planned:?}"));
            }
        }
        for task in &self.tasks {
            let is_past = self.status == JobStatus::Completed || task.stage < self.stage;
            if !task.status.is_terminal() || (is_past && task.status == TaskStatus::Skipped) {
                wrong.push(format!("{}/{} is {}", task.stage, task.index, task.status));
            }
        }
    }

    /// (b)
    fn nothing_is_twice(&self, wrong: &mut Vec<String>) {
        let mut stands: BTreeMap<&str, &str> = BTreeMap::new();
        for Event { kind, task_id, before, after, .. } in &self.events {
            let is_legal = match kind.as_str() {
                "task" => {
                    let [from, to] =
                        [before, after].map(|name| TaskStatus::from_name(name).unwrap());
                    let repeated = matches!(from, TaskStatus::Failed | TaskStatus::Skipped)
                        && to == TaskStatus::Queued;
                    from.transition(to).is_ok() || repeated
                }
                "job" => {
                    let [from, to] =
                        [before, after].map(|name| JobStatus::from_name(name).unwrap());
                    from.transition(to).is_ok() || (from.reopen().is_ok() && !to.is_terminal())
                }
                _ => continue,
            };
            let stood = stands.insert(task_id, after).unwrap_or("queued");
            if !is_legal || stood != before {
                wrong.push(format!(
                    "{kind} {task_id} went from {before} to {after} and had been {stood}"
                ));
            }
        }
    }

    /// (c)
    fn stages_are_in_order(&self, wrong: &mut Vec<String>) {
        let advances = self.events.iter().filter(|event| event.kind == "advance");
        let advances: Vec<i16> = advances.map(|event| event.stage).collect();
        if advances != (2..=self.stage).collect::<Vec<_>>() {
            wrong.push(format!(
                "the job is in stage {} and was advanced to {advances:?}",
                self.stage
            ));
        }
        for number in 2..=self.stage {
            let place = |stage: i16, matches: &dyn Fn(&Event) -> bool| {
                let events = self.events.iter().enumerate();
                let mut places = events.filter(move |(_, event)| {
                    event.kind == "task" && event.stage == stage && matches(event)
                });
                (places.next().map(|(place, _)| place), places.last().map(|(place, _)| place))
            };
            let (first, last) = place(number - 1, &|event| {
                TaskStatus::from_name(&event.after).unwrap().is_terminal()
            });
            let (began, _) = place(number, &|event| event.after == "processing");
            if let (Some(began), Some(last)) = (began, last.or(first))
                && began < last
            {
                wrong.push(format!(
                    "stage {number} began before the last outcome of the one before"
                ));
            }
        }
    }

    /// (d)
    fn counters_equal_a_recount(&self, wrong: &mut Vec<String>) {
        for (number, counters) in &self.counters {
            let tasks = || self.tasks.iter().filter(|task| task.stage == *number);
            let count = |status| tasks().filter(|task| task.status == status).count() as i64;
            let recount = [
                tasks().count() as i64,
                count(TaskStatus::Completed),
                count(TaskStatus::Failed),
                count(TaskStatus::Skipped),
            ];
            if *counters != recount {
                wrong.push(format!(
                    "stage {number} counts {counters:?}; a recount says {recount:?}"
                ));
            }
        }
    }

    /// (e)
    fn job_has_ended(&self, job: &Job, wrong: &mut Vec<String>) {
        let tolerates = job.parameters["tolerates"].as_i64().unwrap();
        let failed = |stage: i16| self.counters.get(&stage).map_or(0, |counters| counters[2]);
        let is_right = match self.status {
            JobStatus::Completed => {
                self.counters.len() == job.stages.len()
                    && self.counters.keys().all(|stage| failed(*stage) <= tolerates)
            }
            status => {
                status.is_terminal() && (1..self.stage).all(|stage| failed(stage) <= tolerates)
            }
        };
        if !is_right {
            wrong.push(format!(
                "the job is {} in stage {}: {:?}",
                self.status, self.stage, self.counters
            ));
        }
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
