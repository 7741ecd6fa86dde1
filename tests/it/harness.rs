//! A handler in this process, with a database of its own. Its messages stay in a mailbox until a
//! test delivers them.

use lastlight::queries::Queries;
use std::{
    collections::VecDeque,
    str::FromStr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lastlight::{
    config::{DatabaseSettings, Timing},
    functions::{AppState, router},
    job::{Backoff, Catalog, JobType},
    model::ProcessingPath,
    store::Database,
    transport::{
        dead_letters::{DeadLetter, DeadLetterQueues, Settled, TakenMessage},
        sender::{BatchSendReport, MessageSender, OutgoingMessage, QueueRole, SendError},
    },
    workflow::{Controller, Senders},
};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tower::ServiceExt;

use crate::waiting::until;

/// A setting that `scripts/test` sets; the test fails without it.
pub(crate) fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with scripts/test"))
}

/// The URL of a new, empty database.
pub(crate) async fn new_database_url() -> String {
    let server = service("LASTLIGHT_TEST_DATABASE_URL");
    let mut connection =
        PgConnection::connect(&server).await.expect("the test database server answers");
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    // The name is generated here, and `CREATE DATABASE` takes no parameters.
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    format!("{address}/{name}")
}

pub(crate) fn database_settings(url: &str) -> DatabaseSettings {
    DatabaseSettings {
        connect: PgConnectOptions::from_str(url).unwrap(),
        schema: "app".to_owned(),
        connections: 8,
        acquire_timeout: Duration::from_secs(5),
    }
}

/// A transport whose messages wait for the test. It can be switched off, and accepts what a queue
/// would accept.
#[derive(Debug)]
pub(crate) struct Mailbox {
    path: ProcessingPath,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Waiting>,
    tasks: VecDeque<Waiting>,
    poison: VecDeque<Waiting>,
    /// Dead-lettered messages.
    dead_lettered_jobs: VecDeque<Waiting>,
    dead_lettered_tasks: VecDeque<Waiting>,
    down: bool,
    /// It accepts requests and never answers.
    hangs: bool,
    /// Number of sends that succeed before it goes down by itself.
    sends_left: Option<usize>,
}

/// A message, and when it becomes visible.
type Waiting = (Instant, OutgoingMessage);

impl Mailbox {
    pub(crate) fn new(path: ProcessingPath) -> Arc<Self> {
        Arc::new(Self { path, state: Mutex::default() })
    }

    pub(crate) fn set_down(&self, down: bool) {
        let mut state = self.state.lock().unwrap();
        state.down = down;
        state.sends_left = None;
    }

    /// Health checks get no answer.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        self.state.lock().unwrap().hangs = hangs;
    }

    pub(crate) fn goes_down_after(&self, sends: usize) {
        self.state.lock().unwrap().sends_left = Some(sends);
    }

    /// All messages that are visible by now.
    pub(crate) fn take(&self, role: QueueRole) -> Vec<OutgoingMessage> {
        let mut state = self.state.lock().unwrap();
        let waiting = queue(&mut state, role);
        let now = Instant::now();
        let (due, later): (VecDeque<_>, VecDeque<_>) =
            waiting.drain(..).partition(|(shows, _)| *shows <= now);
        *waiting = later;
        due.into_iter().map(|(_, message)| message).collect()
    }

    /// All delayed messages, before they become visible.
    pub(crate) fn take_delayed(&self, role: QueueRole) -> Vec<OutgoingMessage> {
        let mut state = self.state.lock().unwrap();
        let waiting = queue(&mut state, role);
        let (delayed, others) = waiting.drain(..).partition(|(_, message)| message.delay.is_some());
        *waiting = others;
        let delayed: VecDeque<Waiting> = delayed;
        delayed.into_iter().map(|(_, message)| message).collect()
    }

    pub(crate) fn count(&self, role: QueueRole) -> usize {
        queue(&mut self.state.lock().unwrap(), role).len()
    }

    /// Dead-letters a message, as a host does after too many deliveries.
    pub(crate) fn put_aside(&self, role: QueueRole, body: &str) {
        let message = OutgoingMessage {
            message_id: uuid::Uuid::new_v4().to_string(),
            correlation_id: String::new(),
            body: body.to_owned(),
            delay: None,
            trace: None,
        };
        dead_letters(&mut self.state.lock().unwrap(), role).push_back((Instant::now(), message));
    }
}

fn dead_letters(state: &mut State, role: QueueRole) -> &mut VecDeque<Waiting> {
    match role {
        QueueRole::Jobs => &mut state.dead_lettered_jobs,
        QueueRole::Tasks => &mut state.dead_lettered_tasks,
        QueueRole::Poison => &mut state.poison,
    }
}

fn shown((_, message): &Waiting) -> DeadLetter {
    DeadLetter {
        id: message.message_id.clone(),
        body: message.body.clone(),
        enqueued: None,
        delivery_count: 1,
        reason: None,
    }
}

/// A taken message is not in its queue until it is released; its lock token is its correlation id.
#[async_trait::async_trait]
impl DeadLetterQueues for Mailbox {
    fn dead_letter_name(&self, role: QueueRole) -> &str {
        match (self.path, role) {
            (ProcessingPath::QueueStorage, QueueRole::Jobs) => "jobs-poison",
            (ProcessingPath::QueueStorage, QueueRole::Tasks) => "tasks-poison",
            (ProcessingPath::QueueStorage, QueueRole::Poison) => "poison",
            (ProcessingPath::ServiceBus, QueueRole::Jobs) => "jobs/$DeadLetterQueue",
            (ProcessingPath::ServiceBus, QueueRole::Tasks) => "tasks/$DeadLetterQueue",
            (ProcessingPath::ServiceBus, QueueRole::Poison) => "sb-poison",
        }
    }

    async fn count(&self, role: QueueRole) -> Result<u64, SendError> {
        self.probe(role).await?;
        Ok(dead_letters(&mut self.state.lock().unwrap(), role).len() as u64)
    }

    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError> {
        self.probe(role).await?;
        let mut state = self.state.lock().unwrap();
        Ok(dead_letters(&mut state, role).iter().take(at_most).map(shown).collect())
    }

    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError> {
        self.probe(role).await?;
        let mut state = self.state.lock().unwrap();
        let queue = dead_letters(&mut state, role);
        let some = queue.drain(..at_most.min(queue.len()));
        Ok(some
            .map(|waiting| TakenMessage::new(shown(&waiting), waiting.1.correlation_id))
            .collect())
    }

    async fn complete(&self, role: QueueRole, _taken: &TakenMessage) -> Result<Settled, SendError> {
        self.probe(role).await?;
        Ok(Settled::Done)
    }

    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        let message = OutgoingMessage {
            message_id: taken.message.id.clone(),
            correlation_id: taken.lock().to_owned(),
            body: taken.message.body.clone(),
            delay: None,
            trace: None,
        };
        dead_letters(&mut self.state.lock().unwrap(), role).push_front((Instant::now(), message));
        Ok(Settled::Done)
    }
}

fn queue(state: &mut State, role: QueueRole) -> &mut VecDeque<Waiting> {
    match role {
        QueueRole::Jobs => &mut state.jobs,
        QueueRole::Tasks => &mut state.tasks,
        QueueRole::Poison => &mut state.poison,
    }
}

#[async_trait::async_trait]
impl MessageSender for Mailbox {
    fn path(&self) -> ProcessingPath {
        self.path
    }

    fn queue_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => "jobs",
            QueueRole::Tasks => "tasks",
            QueueRole::Poison => "poison",
        }
    }

    fn max_body_bytes(&self) -> usize {
        48 * 1024
    }

    async fn batch_send_messages(
        &self,
        role: QueueRole,
        messages: &[OutgoingMessage],
    ) -> BatchSendReport {
        let mut state = self.state.lock().unwrap();
        match &mut state.sends_left {
            Some(0) => state.down = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if state.down {
            let errors =
                vec![SendError::Unavailable { detail: "switched off by the test".to_owned() }];
            return BatchSendReport { errors, ..BatchSendReport::default() };
        }
        let now = Instant::now();
        let shows = |message: &OutgoingMessage| now + message.delay.unwrap_or_default();
        let (fit, oversize): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| message.body.len() <= self.max_body_bytes());
        let errors: Vec<SendError> = oversize
            .iter()
            .map(|message| SendError::Oversize {
                message_id: message.message_id.clone(),
                bytes: message.body.len(),
                limit: self.max_body_bytes(),
            })
            .collect();
        queue(&mut state, role)
            .extend(fit.iter().map(|message| (shows(message), (*message).clone())));
        BatchSendReport {
            success: errors.is_empty(),
            messages_sent: fit.len(),
            batch_count: 1,
            errors,
            ..BatchSendReport::default()
        }
    }

    async fn probe(&self, role: QueueRole) -> Result<Option<u64>, SendError> {
        let (down, hangs) = {
            let state = self.state.lock().unwrap();
            (state.down, state.hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        match down {
            true => Err(SendError::Unavailable { detail: "switched off by the test".to_owned() }),
            false => Ok(Some(self.count(role) as u64)),
        }
    }
}

/// A handler in this process.
pub(crate) struct TestApp {
    pub router: Router,
    pub controller: Controller,
    pub queue: Arc<Mailbox>,
    pub bus: Arc<Mailbox>,
    pub url: String,
}

/// An answer with its parsed body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

/// Retry pauses that are short enough to wait for. Leases and grace periods are long, so that no
/// slow machine loses a lease; [`TestApp::time_passes`] lets them expire.
pub(crate) fn quick() -> Timing {
    Timing {
        backoff: Backoff { first: Duration::from_millis(100), largest: Duration::from_millis(200) },
        ..Timing::default()
    }
}

/// Everything that the handler answers, as it serves it.
pub(crate) fn router_of(controller: &Controller, allows_schema_admin: bool) -> Router {
    router(AppState {
        queries: Queries::of(controller),
        controller: controller.clone(),
        environment: "test".into(),
        allows_schema_admin,
        prices: Arc::default(),
    })
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(lastlight_app::app().catalog(), Timing::default()).await
    }

    pub(crate) async fn with_job_type(job_type: impl JobType, timing: Timing) -> Self {
        Self::with(lastlight_app::app().catalog().with(job_type), timing).await
    }

    pub(crate) async fn with(catalog: Catalog, timing: Timing) -> Self {
        Self::on(&new_database_url().await, catalog, timing).await
    }

    /// A handler on an existing database, with mailboxes of its own.
    pub(crate) async fn on(url: &str, catalog: Catalog, timing: Timing) -> Self {
        let database = Database::new(&database_settings(url));
        database.migrate().await.expect("the migrations run");
        let (queue, bus) =
            (Mailbox::new(ProcessingPath::QueueStorage), Mailbox::new(ProcessingPath::ServiceBus));
        let senders = Senders::new(queue.clone(), Some(bus.clone()));
        let controller = Controller::new(catalog, database, senders, timing);
        let router = router_of(&controller, false);
        Self { router, controller, queue, bus, url: url.to_owned() }
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub(crate) async fn submit(&self, job_type: &str, parameters: Value) -> Answer {
        self.request("POST", &format!("/api/jobs/submit/{job_type}"), parameters.to_string()).await
    }

    /// Submits a job that must be accepted and returns its id.
    pub(crate) async fn submitted(&self, job_type: &str, parameters: Value) -> String {
        let answer = self.submit(job_type, parameters).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body["job_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn status(&self, job_id: &str) -> Value {
        let answer =
            self.request("GET", &format!("/api/jobs/status/{job_id}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Posts one message to a function, encoded as by the host.
    pub(crate) async fn deliver(&self, function: &str, text: &str) -> Answer {
        // The string in Data is the JSON text of the message's text.
        let body = json!({ "Data": { "msg": json!(text).to_string() }, "Metadata": {} });
        self.request("POST", &format!("/{function}"), body.to_string()).await
    }

    /// Posts messages to a function, each in an invocation of its own, all at once. Each must
    /// succeed.
    pub(crate) async fn deliver_each(&self, function: &str, messages: &[OutgoingMessage]) {
        let deliveries = messages.iter().map(|message| self.deliver(function, &message.body));
        for answer in futures_util::future::join_all(deliveries).await {
            assert_eq!(answer.status, StatusCode::OK, "{function}: {}", answer.body);
        }
    }

    /// Posts several messages in one invocation (cardinality `many`).
    pub(crate) async fn deliver_many(&self, function: &str, texts: &[&str]) -> Answer {
        let body = json!({ "Data": { "msg": json!(texts).to_string() }, "Metadata": {} });
        self.request("POST", &format!("/{function}"), body.to_string()).await
    }

    /// Delivers all messages in the mailboxes until no more come.
    pub(crate) async fn run_dry(&self) {
        loop {
            let mut delivered = 0;
            for (mailbox, job, task) in [
                (&self.queue, "process_queue_job", "process_queue_task"),
                (&self.bus, "process_sb_job", "process_sb_task"),
            ] {
                for (role, function) in [(QueueRole::Jobs, job), (QueueRole::Tasks, task)] {
                    let messages = mailbox.take(role);
                    delivered += messages.len();
                    // As many at once as a host processes.
                    for some in messages.chunks(64) {
                        let deliveries =
                            some.iter().map(|message| self.deliver(function, &message.body));
                        for answer in futures_util::future::join_all(deliveries).await {
                            assert_eq!(
                                answer.status,
                                StatusCode::OK,
                                "{function}: {}",
                                answer.body
                            );
                        }
                    }
                }
            }
            if delivered == 0 {
                return;
            }
        }
    }

    /// Delivers messages as they become visible, until the job is finished.
    pub(crate) async fn run_until_finished(&self, job_id: &str) -> Value {
        until("the job is finished", async || {
            self.run_dry().await;
            let status = self.status(job_id).await;
            let is_finished =
                ["completed", "failed", "cancelled"].contains(&status["status"].as_str().unwrap());
            is_finished.then_some(status)
        })
        .await
    }

    /// Delivers all messages and returns the job's status.
    pub(crate) async fn run_dry_and_status(&self, job_id: &str) -> String {
        self.run_dry().await;
        self.status(job_id).await["status"].as_str().unwrap().to_owned()
    }

    /// Requests a change of a job: cancel, retry, pause or resume.
    pub(crate) async fn control(&self, verb: &str, job_id: &str) -> Answer {
        self.request("POST", &format!("/api/jobs/{verb}/{job_id}"), Body::empty()).await
    }

    /// The audit of a job.
    pub(crate) async fn audit(&self, job_id: &str) -> Value {
        let answer = self.request("GET", &format!("/api/jobs/audit/{job_id}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Runs the planner of the job's current stage and returns the messages of its tasks.
    pub(crate) async fn planned(&self) -> Vec<OutgoingMessage> {
        for message in self.queue.take(QueueRole::Jobs) {
            let answer = self.deliver("process_queue_job", &message.body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        self.queue.take(QueueRole::Tasks)
    }

    /// The same over Service Bus.
    pub(crate) async fn planned_over_bus(&self) -> Vec<OutgoingMessage> {
        for message in self.bus.take(QueueRole::Jobs) {
            let answer = self.deliver("process_sb_job", &message.body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        self.bus.take(QueueRole::Tasks)
    }

    /// A connection for the test, with the app's schema.
    pub(crate) async fn connection(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute("SET search_path = app").await.unwrap();
        connection
    }

    /// Terminates the handler's connections, as a restart of the database does.
    pub(crate) async fn end_connections(&self) {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'lastlight' AND datname = current_database()",
        )
        .execute(&mut self.connection().await)
        .await
        .unwrap();
    }

    /// Checks that counters equal a recount, that every task has exactly one outcome, and that
    /// stages ran one after the other.
    pub(crate) async fn assert_consistent(&self, job_id: &str) {
        let mut connection = self.connection().await;
        let drifted: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM stages s
             CROSS JOIN LATERAL (
                 SELECT count(*) AS total, count(*) FILTER (WHERE status = 'completed') AS completed,
                        count(*) FILTER (WHERE status = 'failed') AS failed,
                        count(*) FILTER (WHERE status = 'skipped') AS skipped
                 FROM tasks t WHERE t.parent_job_id = s.job_id AND t.stage = s.stage) recount
             WHERE s.job_id = $1 AND (s.total, s.completed, s.failed, s.skipped)
                   IS DISTINCT FROM (recount.total, recount.completed, recount.failed, recount.skipped)",
        )
        .bind(job_id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(drifted, 0, "counters that differ from a recount");
        let early: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM tasks later JOIN tasks earlier
               ON earlier.parent_job_id = later.parent_job_id AND earlier.stage = later.stage - 1
             WHERE later.parent_job_id = $1 AND later.started_at < earlier.finished_at",
        )
        .bind(job_id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(early, 0, "tasks that began before the stage before had ended");
    }
}
