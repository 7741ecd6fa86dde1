//! A handler in this process, with a database of its own and mailboxes as its queues.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use lastlight_engine::{
    archive::ArchiveStorage,
    config::Timing,
    functions::{AppState, router},
    job::{Backoff, erased::Catalog},
    model::ProcessingPath,
    queries::Queries,
    store::Database,
    transport::{
        sender::{OutgoingMessage, QueueRole},
        webhooks::Webhooks,
    },
    workflow::{Controller, Senders},
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tower::ServiceExt;

use crate::{
    database::{connection, database_settings, new_database_url},
    described,
    mailbox::Mailbox,
    waiting::until,
};

/// A handler in this process.
pub struct TestApp {
    pub router: Router,
    pub controller: Controller,
    pub queue: Arc<Mailbox>,
    pub bus: Arc<Mailbox>,
    pub url: String,
}

/// What contradicts the rules of a graph in the rows of a job's stages; nothing for a line.
const GRAPH_FAULTS: &str = "
    WITH graph AS MATERIALIZED (SELECT * FROM stages WHERE job_id = $1 AND kind IS NOT NULL),
    edges AS MATERIALIZED (
        SELECT g.stage AS source, e.target, e.is_needed, g.outcome, e.target = ANY (g.not_chosen) IS TRUE AS is_left
        FROM graph g
        CROSS JOIN LATERAL (
            SELECT target, true AS is_needed FROM UNNEST(g.needed_by) AS target
            UNION ALL SELECT target, false FROM UNNEST(g.followed_by) AS target) e
    )
    SELECT g.name || ' waits for ' || g.waits_for || ' stages, and not for those that are open'
    FROM graph g
    WHERE g.waits_for > 0
      AND g.waits_for <> (SELECT count(*) FROM edges e WHERE e.target = g.stage AND e.outcome IS NULL)
    UNION ALL
    SELECT g.name || ' ran, although ' || e.source || ' did not complete or did not choose it'
    FROM graph g
    JOIN edges e ON e.target = g.stage
    WHERE g.outcome IN ('completed', 'failed', 'rejected')
      AND (e.is_left OR e.is_needed AND e.outcome IS DISTINCT FROM 'completed')
    UNION ALL
    SELECT g.name || ' was skipped for no reason'
    FROM graph g
    WHERE g.outcome = 'skipped' AND g.unmet IS TRUE
      AND NOT EXISTS (SELECT FROM edges e WHERE e.target = g.stage AND (e.is_left OR e.is_needed AND e.outcome <> 'completed'))
    UNION ALL
    SELECT g.name || ' was skipped and has tasks'
    FROM graph g
    WHERE g.outcome = 'skipped' AND g.total > 0
    UNION ALL
    SELECT 'the job has ' || j.open_stages || ' open stages, and not as many as its rows'
    FROM jobs j
    WHERE j.job_id = $1 AND (j.ends_as IS NULL OR j.finished_at IS NULL)
      AND j.open_stages <> (SELECT count(*) FROM graph g
                            WHERE CASE WHEN j.ends_as IS NULL THEN g.outcome IS NULL ELSE g.advanced_at IS NULL END)";

/// An answer with its parsed body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

/// Retry pauses that are short enough to wait for. Leases and grace periods are long, so that no
/// slow machine loses a lease; [`TestApp::time_passes`] lets them expire.
pub fn quick() -> Timing {
    Timing {
        backoff: Backoff { first: Duration::from_millis(100), largest: Duration::from_millis(200) },
        ..Timing::default()
    }
}

/// Everything that the handler answers, as it serves it.
pub fn router_of(controller: &Controller, allows_schema_admin: bool) -> Router {
    router(AppState {
        queries: Queries::of(controller),
        controller: controller.clone(),
        environment: "test".into(),
        allows_schema_admin,
        prices: Arc::default(),
    })
}

impl TestApp {
    pub async fn with(catalog: Catalog, timing: Timing) -> Self {
        Self::on(&new_database_url().await, catalog, timing).await
    }

    /// A handler on an existing database, with mailboxes of its own.
    pub async fn on(url: &str, catalog: Catalog, timing: Timing) -> Self {
        Self::notifying(url, catalog, timing, Webhooks::default()).await
    }

    /// The same, which notifies other programs.
    pub async fn notifying(
        url: &str,
        catalog: Catalog,
        timing: Timing,
        webhooks: Webhooks,
    ) -> Self {
        Self::built(url, catalog, timing, webhooks, None).await
    }

    /// A handler on an existing database that archives jobs before it deletes them.
    pub async fn archiving(
        url: &str,
        catalog: Catalog,
        timing: Timing,
        archive: ArchiveStorage,
    ) -> Self {
        Self::built(url, catalog, timing, Webhooks::default(), Some(archive)).await
    }

    async fn built(
        url: &str,
        catalog: Catalog,
        timing: Timing,
        webhooks: Webhooks,
        archive: Option<ArchiveStorage>,
    ) -> Self {
        let database = Database::new(&database_settings(url));
        database.migrate().await.expect("the migrations run");
        let (queue, bus) =
            (Mailbox::new(ProcessingPath::QueueStorage), Mailbox::new(ProcessingPath::ServiceBus));
        let senders = Senders::new(queue.clone(), Some(bus.clone()));
        let controller =
            Controller::archiving(catalog, database, senders, timing, webhooks, archive);
        let router = router_of(&controller, false);
        Self { router, controller, queue, bus, url: url.to_owned() }
    }

    /// Sends a request. An answer must be as the OpenAPI document describes it.
    pub async fn request(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => {
                let differences = described::differences(method, path, status.as_u16(), &body);
                assert!(differences.is_empty(), "{method} {path}: {differences:?} in {body}");
                body
            }
            Err(_) => Value::Null,
        };
        Answer { status, body }
    }

    pub async fn submit(&self, job_type: &str, parameters: Value) -> Answer {
        self.request("POST", &format!("/api/jobs/submit/{job_type}"), parameters.to_string()).await
    }

    /// Submits a job that must be accepted and returns its id.
    pub async fn submitted(&self, job_type: &str, parameters: Value) -> String {
        let answer = self.submit(job_type, parameters).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body["job_id"].as_str().unwrap().to_owned()
    }

    pub async fn status(&self, job_id: &str) -> Value {
        let answer =
            self.request("GET", &format!("/api/jobs/status/{job_id}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Posts one message to a function, encoded as by the host.
    pub async fn deliver(&self, function: &str, text: &str) -> Answer {
        // The string in Data is the JSON text of the message's text.
        let body = json!({ "Data": { "msg": json!(text).to_string() }, "Metadata": {} });
        self.request("POST", &format!("/{function}"), body.to_string()).await
    }

    /// Posts messages to a function, each in an invocation of its own, all at once. Each must
    /// succeed.
    pub async fn deliver_each(&self, function: &str, messages: &[OutgoingMessage]) {
        let deliveries = messages.iter().map(|message| self.deliver(function, &message.body));
        for answer in futures_util::future::join_all(deliveries).await {
            assert_eq!(answer.status, StatusCode::OK, "{function}: {}", answer.body);
        }
    }

    /// Posts several messages in one invocation (cardinality `many`).
    pub async fn deliver_many(&self, function: &str, texts: &[&str]) -> Answer {
        let body = json!({ "Data": { "msg": json!(texts).to_string() }, "Metadata": {} });
        self.request("POST", &format!("/{function}"), body.to_string()).await
    }

    /// Delivers all messages in the mailboxes until no more come.
    pub async fn run_dry(&self) {
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
    pub async fn run_until_finished(&self, job_id: &str) -> Value {
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
    pub async fn run_dry_and_status(&self, job_id: &str) -> String {
        self.run_dry().await;
        self.status(job_id).await["status"].as_str().unwrap().to_owned()
    }

    /// Requests a change of a job: cancel, retry, pause or resume.
    pub async fn control(&self, verb: &str, job_id: &str) -> Answer {
        self.request("POST", &format!("/api/jobs/{verb}/{job_id}"), Body::empty()).await
    }

    /// The audit of a job.
    pub async fn audit(&self, job_id: &str) -> Value {
        let answer = self.request("GET", &format!("/api/jobs/audit/{job_id}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// Runs the planner of the job's current stage and returns the messages of its tasks.
    pub async fn planned(&self) -> Vec<OutgoingMessage> {
        for message in self.queue.take(QueueRole::Jobs) {
            let answer = self.deliver("process_queue_job", &message.body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        self.queue.take(QueueRole::Tasks)
    }

    /// The same over Service Bus.
    pub async fn planned_over_bus(&self) -> Vec<OutgoingMessage> {
        for message in self.bus.take(QueueRole::Jobs) {
            let answer = self.deliver("process_sb_job", &message.body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        self.bus.take(QueueRole::Tasks)
    }

    /// A connection for the test, with the app's schema.
    pub async fn connection(&self) -> PgConnection {
        connection(&self.url).await
    }

    /// Terminates the handler's connections, as a restart of the database does.
    pub async fn end_connections(&self) {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'lastlight' AND datname = current_database()",
        )
        .execute(&mut self.connection().await)
        .await
        .unwrap();
    }

    /// Checks that counters equal a recount, that every task has exactly one outcome, and that
    /// stages ran in their order, or as their graph says.
    pub async fn assert_consistent(&self, job_id: &str) {
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
        // A stage that another one only follows may run again after a retry; one that is needed has
        // completed, and stays so.
        let early: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM tasks later
             JOIN stages s ON s.job_id = later.parent_job_id
                          AND CASE WHEN s.kind IS NULL THEN s.stage = later.stage - 1 ELSE later.stage = ANY (s.needed_by) END
             JOIN tasks earlier ON earlier.parent_job_id = s.job_id AND earlier.stage = s.stage
             WHERE later.parent_job_id = $1 AND later.started_at < earlier.finished_at",
        )
        .bind(job_id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(early, 0, "tasks that began before the stage before had ended");
        let wrong: Vec<String> =
            sqlx::query_scalar(GRAPH_FAULTS).bind(job_id).fetch_all(&mut connection).await.unwrap();
        assert_eq!(wrong, Vec::<String>::new(), "stages of a graph");
    }

    /// Decides at a gate.
    pub async fn decide(&self, job_id: &str, node: &str, request: Value) -> Answer {
        let path = format!("/api/jobs/gate/{job_id}/{node}");
        self.request("POST", &path, request.to_string()).await
    }
}
