//! What only a local cloud shows: notes and checkpoints in the database, and tasks that wait for a
//! context.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use lastlight::{
    prelude::*,
    testing::{self, Cluster},
};
use lastlight_app::jobs::HelloWorld;
use reqwest::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::examples::{checkpoints::WaterLevel, graph::Terrain, progress::Hillshade};

/// The time after which a condition counts as never met.
const LIMIT: Duration = Duration::from_secs(120);

/// Polls until there is a result.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "within {LIMIT:?} never: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn cluster(app: App) -> (Cluster, PgConnection) {
    let cluster = testing::cluster(app).await.unwrap();
    let database = PgConnection::connect(cluster.database_url()).await.unwrap();
    (cluster, database)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn post(cluster: &Cluster, path: &str) {
    let response = client().post(format!("{}{path}", cluster.url())).send().await;
    response.unwrap().error_for_status().unwrap();
}

pub(crate) async fn health(cluster: &Cluster) -> (StatusCode, Value) {
    let answer = client().get(format!("{}/api/health", cluster.url())).send().await.unwrap();
    (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn hello_world_greets_and_replies_on_a_cluster() {
    let cluster = testing::cluster(lastlight_app::app()).await.unwrap();
    let job: HelloWorld = serde_json::from_value(json!({ "n": 20 })).unwrap();
    let job = cluster.run(&job).await.unwrap();
    assert_eq!(serde_json::to_value(&job.summary).unwrap(), json!({ "replies": 20 }));
    assert_eq!(job.status["stageResults"]["1"]["summary"], json!({ "greetings": 20 }));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn stages_of_a_graph_run_on_a_cluster() {
    let cluster = testing::cluster(App::new().job::<Terrain>()).await.unwrap();
    let job = cluster.run(&Terrain { tiles: 3 }).await.unwrap();
    let in_memory = testing::run(Terrain { tiles: 3 }).await.unwrap();
    assert_eq!(&job.summary, in_memory.summary(), "{}", job.status);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn progress_is_stored_while_a_task_runs_on_a_cluster() {
    let (cluster, mut database) = cluster(App::new().job::<Hillshade>()).await;
    // It would take minutes.
    let job_id = cluster.submit(&Hillshade { strips: 1, rows: 1_000_000 }).await.unwrap();
    let mut note = async |above: f32| {
        until("the progress grows", async || {
            sqlx::query_as::<_, (f32, String, String)>(
                "SELECT progress, message, log_tail FROM app.task_notes
                 WHERE job_id = $1 AND progress > $2 AND log_tail IS NOT NULL",
            )
            .bind(&job_id)
            .bind(above)
            .fetch_optional(&mut database)
            .await
            .unwrap()
        })
        .await
    };
    let (progress, message, log) = note(0.0).await;
    let row = progress * 1e6;
    assert_eq!(message, format!("row {row:.0} of 1000000"));
    assert!(log.ends_with(" has no light\n"), "{log}");
    let (later, ..) = note(progress).await;
    assert!(later < 1.0, "{later}");
    post(&cluster, &format!("/api/jobs/cancel/{job_id}")).await;
    assert_eq!(cluster.status(&job_id).await.unwrap()["status"], "cancelled");
    // The test ends only when the thread has noticed this.
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_attempt_finds_the_checkpoint_of_the_one_before_on_a_cluster() {
    let (cluster, mut database) = cluster(App::new().job::<WaterLevel>()).await;
    let job_id = cluster.submit(&WaterLevel { days: 25 }).await.unwrap();
    let status = until("the job is finished", async || {
        let status = cluster.status(&job_id).await.unwrap();
        (status["status"] == "completed" || status["status"] == "failed").then_some(status)
    })
    .await;
    let level = status["stageResults"]["1"]["summary"].as_f64().unwrap_or_default();
    assert!((level - 2.0).abs() < 1e-6, "{status}");
    let (attempts, checkpoint): (i16, Value) = sqlx::query_as(
        "SELECT t.attempt, n.checkpoint
         FROM app.tasks t JOIN app.task_notes n ON n.job_id = t.parent_job_id AND n.task_id = t.task_id
         WHERE t.parent_job_id = $1",
    )
    .bind(&job_id)
    .fetch_one(&mut database)
    .await
    .unwrap();
    // An attempt is too short for 25 days, so a later one continued.
    assert!(attempts > 1);
    assert_eq!(checkpoint["days"], 25);
    cluster.stop().await.unwrap();
}

/// A context that cannot be made at first.
struct Elevations;

static ANSWERS: AtomicBool = AtomicBool::new(false);

impl Context for Elevations {
    const NAME: &'static str = "elevations";

    async fn start() -> Result<Self, ContextError> {
        if ANSWERS.load(Ordering::SeqCst) { Ok(Self) } else { Err("no route to host".into()) }
    }
}

/// A job whose task may be tried once only.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Profile {}

impl Job for Profile {
    const NAME: &'static str = "profile";
    type Last = Self;
}

impl Stage for Profile {
    type Job = Self;
    type Previous = Start;
    type Task = ();
    type Output = u32;
    type Summary = u32;

    fn plan(_: PlanContext<Self>) -> Plan<()> {
        Plan::one("profile", ())
    }

    async fn run(context: TaskContext<Self>, (): ()) -> Result<u32, TaskError> {
        context.get::<Elevations>().await?;
        Ok(context.attempt())
    }

    fn fold(attempt: &mut u32, output: u32) {
        *attempt = output;
    }

    fn policy() -> TaskPolicy {
        TaskPolicy { max_attempts: Some(1), ..TaskPolicy::default() }
    }
}

/// An hour passes for the rows of tasks, and the sweep sends what is overdue.
async fn an_hour_passes(cluster: &Cluster, database: &mut PgConnection) {
    sqlx::query(
        "UPDATE app.tasks
         SET due_at = due_at - interval '1 hour', lease_until = lease_until - interval '1 hour'",
    )
    .execute(database)
    .await
    .unwrap();
    post(cluster, "/admin/functions/reconcile").await;
}

#[tokio::test]
async fn a_task_waits_for_its_context_on_a_cluster() {
    let (cluster, mut database) = cluster(App::new().job::<Profile>()).await;
    let job_id = cluster.submit(&Profile {}).await.unwrap();
    let waiting = async |database: &mut PgConnection| {
        until("the task waits", async || {
            sqlx::query_as::<_, (String, i16)>(
                "SELECT error_details, attempt FROM app.tasks
                 WHERE parent_job_id = $1 AND status::text = 'retrying' AND attempts_forgiven = attempt",
            )
            .bind(&job_id)
            .fetch_optional(&mut *database)
            .await
            .unwrap()
        })
        .await
    };
    let (reason, attempt) = waiting(&mut database).await;
    assert_eq!(reason, "elevations is not available: no route to host");
    let (answer, health) = health(&cluster).await;
    assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health["errors"], json!(["context:elevations: no route to host"]), "{health}");
    assert_eq!(cluster.status(&job_id).await.unwrap()["status"], "processing");
    an_hour_passes(&cluster, &mut database).await;
    until("the task was tried again", async || {
        (waiting(&mut database).await.1 > attempt).then_some(())
    })
    .await;
    ANSWERS.store(true, Ordering::SeqCst);
    let status = until("the job is finished", async || {
        an_hour_passes(&cluster, &mut database).await;
        let status = cluster.status(&job_id).await.unwrap();
        (status["status"] == "completed" || status["status"] == "failed").then_some(status)
    })
    .await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["stageResults"]["1"]["summary"], 1, "the number of the attempt: {status}");
    cluster.stop().await.unwrap();
}
