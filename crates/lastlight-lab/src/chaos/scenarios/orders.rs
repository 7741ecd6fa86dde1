//! What users order of many jobs and of single tasks, and what other programs are told, while handlers are killed (24): a
//! fault at each step of a bulk operation, of a retry and a skip of tasks, and of a notification. Each order is carried out
//! once, whoever ends it; each end of a job is told, always with the same id.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::work;
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::failpoint::{
    BULK_PLACES, FAILPOINT_SETTING, HITS_SETTING, NOTIFY_PLACES, SINGLE_TASK_PLACES,
};
use lastlight_testing::work::{Act, Rule, StageWork, Work};

const LONG: Duration = Duration::from_secs(120);

/// 24.
pub(super) async fn orders(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let receiver = Receiver::start().await?;
    for (place, fails) in BULK_PLACES {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let case = Case::arm(&mut world, &receiver, place, action).await?;
            many_jobs(&mut world, &case).await?;
            case.ended(&mut world);
        }
    }
    for (place, fails) in SINGLE_TASK_PLACES {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let case = Case::arm(&mut world, &receiver, place, action).await?;
            single_tasks(&mut world, &case).await?;
            case.ended(&mut world);
        }
    }
    for (place, fails) in NOTIFY_PLACES {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let case = Case::arm(&mut world, &receiver, place, action).await?;
            let ends = work(case.tag.clone(), false, [StageWork::of(3, 1)]);
            let job_id = world.submit(ends, LONG).await?;
            let told = format!("the end of a job is told, through {}", case.tag);
            world.until(&told, LONG, async || !receiver.ids(&job_id).is_empty()).await?;
            case.ended(&mut world);
        }
    }
    world.until_finished(LONG * 4).await?;
    for (job_id, ids) in receiver.all() {
        world.check(ids.len() == 1, || format!("the end of job {job_id} has the ids {ids:?}"));
    }
    world.finish().await
}

/// A fault at one place.
struct Case {
    tag: String,
    action: &'static str,
    hits: std::path::PathBuf,
}

impl Case {
    async fn arm(
        world: &mut World,
        receiver: &Receiver,
        place: &str,
        action: &'static str,
    ) -> Result<Self, ChaosError> {
        let tag = format!("{place}-{action}");
        let hits = world.folder.join(format!("hit-{tag}"));
        let armed = BTreeMap::from([
            (FAILPOINT_SETTING.to_owned(), format!("{place}:1:{action}")),
            (HITS_SETTING.to_owned(), hits.display().to_string()),
            ("NOTIFY_URLS".to_owned(), format!("http://{}/", receiver.address)),
            ("NOTIFY_ALLOWED_HOSTS".to_owned(), receiver.address.clone()),
        ]);
        world.replace_handler(armed).await?;
        Ok(Self { tag, action, hits })
    }

    fn ended(&self, world: &mut World) {
        let is_hit = self.hits.exists();
        world.check(is_hit, || format!("no run reaches {}", self.tag));
        if is_hit && self.action == "kill" {
            world.count_kill();
        }
    }
}

/// Several jobs are cancelled by one order while they run, and retried by another one.
async fn many_jobs(world: &mut World, case: &Case) -> Result<(), ChaosError> {
    let (mut jobs, mut tags) = (Vec::new(), Vec::new());
    for part in 0..3 {
        let tag = format!("{}-{part}", case.tag);
        let tasks = world.sized(20, 500);
        // One task waits, so that the job runs until the order to cancel it has been carried out.
        let first = StageWork::of(tasks, 1).with(Rule::only(0, Act::Wait));
        let runs = work(tag, part == 1, [first, StageWork::of(3, 1)]);
        jobs.push(world.submit_unexpecting(&runs).await?);
        // The oracle counts runs, and attempts of a cancelled job run once more.
        world.deleted.insert(runs.tag.clone());
        tags.push(runs.tag);
    }
    // All of them are of this type, and others are over by now.
    let filter = json!({ "job_type": lastlight_testing::work::CHAOS });
    for (action, status) in [("cancel", "cancelled"), ("retry", "completed")] {
        let body = json!({ "action": action, "filter": filter, "confirm": true });
        order(world, "/api/jobs/bulk", &body).await?;
        if action == "retry" {
            tags.iter().try_for_each(|tag| world.open_gate(tag))?;
        }
        for job_id in &jobs {
            let path = format!("/api/jobs/status/{job_id}");
            let what = format!("the jobs of {} are {status}", case.tag);
            world
                .until(&what, LONG, async || {
                    world.get(&path).await.is_ok_and(|(_, body)| body["status"] == status)
                })
                .await?;
        }
    }
    let is_running = |one: &Value| one["state"] == "running";
    world
        .until("all orders are carried out", LONG, async || {
            world.get("/api/jobs/bulk").await.is_ok_and(|(status, body)| {
                let listed = body["operations"].as_array();
                status == 200 && listed.is_some_and(|all| !all.iter().any(is_running))
            })
        })
        .await?;
    for job_id in &jobs {
        consistent(world, job_id).await;
    }
    Ok(())
}

/// Tasks of a job that runs are retried, and skipped then: it completes without them.
async fn single_tasks(world: &mut World, case: &Case) -> Result<(), ChaosError> {
    let first =
        StageWork::of(20, 1).with(Rule::every(5, 1, Act::Fail)).with(Rule::only(0, Act::Wait));
    let job: Work = work(case.tag.clone(), false, [first, StageWork::of(3, 1)]);
    let job_id = world.submit_unexpecting(&job).await?;
    world.deleted.insert(job.tag.clone());
    let failed = |body: &Value| body.pointer("/progress/0/failed").and_then(Value::as_u64);
    let path = format!("/api/jobs/status/{job_id}");
    let four_failed = async |world: &World| {
        world
            .until("four tasks have failed", LONG, async || {
                world.get(&path).await.is_ok_and(|(_, body)| failed(&body) == Some(4))
            })
            .await
    };
    four_failed(world).await?;
    order(world, "/api/tasks/retry", &json!({ "job_id": job_id })).await?;
    // They run and fail again. An order whose answer was lost may have made them run twice.
    tokio::time::sleep(Duration::from_millis(200)).await;
    four_failed(world).await?;
    world
        .until("the tasks are skipped", LONG, async || {
            let skip = json!({ "job_id": job_id });
            let _ = world.request(reqwest::Method::POST, "/api/tasks/skip", skip.to_string()).await;
            world
                .get(&path)
                .await
                .is_ok_and(|(_, body)| body.pointer("/progress/0/skipped") == Some(&json!(4)))
        })
        .await?;
    world.open_gate(&job.tag)?;
    world
        .until("the job completes without them", LONG, async || {
            world.get(&path).await.is_ok_and(|(_, body)| body["status"] == "completed")
        })
        .await?;
    consistent(world, &job_id).await;
    Ok(())
}

/// Orders something until it is accepted. An order whose answer was lost is given once more.
async fn order(world: &World, path: &str, body: &Value) -> Result<(), ChaosError> {
    let began = std::time::Instant::now();
    loop {
        match world.request(reqwest::Method::POST, path, body.to_string()).await {
            Ok((200, _)) => return Ok(()),
            Ok((500.., _)) | Err(_) if began.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return Err(ChaosError::Broken(format!("{path} is refused: {answer:?}"))),
        }
    }
}

async fn consistent(world: &mut World, job_id: &str) {
    let audit = world.get(&format!("/api/jobs/audit/{job_id}")).await;
    let is_consistent = audit.as_ref().is_ok_and(|(_, body)| body["consistent"] == true);
    world.check(is_consistent, || format!("job {job_id}: {audit:?}"));
}

/// The ids of the notifications of each job that completed.
type Told = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// A web server that is notified.
struct Receiver {
    address: String,
    told: Told,
    _server: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start() -> Result<Self, ChaosError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let told = Told::default();
        let router = Router::new().route("/", post(receive)).with_state(Arc::clone(&told));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, told, _server: AbortOnDropHandle::new(server) })
    }

    fn ids(&self, job_id: &str) -> BTreeSet<String> {
        self.all().remove(job_id).unwrap_or_default()
    }

    fn all(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(told): State<Told>, Json(event): Json<Value>) -> StatusCode {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    if text("type") == "org.lastlight.job.completed" {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(text("subject")).or_default().insert(text("id"));
    }
    StatusCode::NO_CONTENT
}
