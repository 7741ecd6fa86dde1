//! Schedules while handlers are killed (23): a fault at each step of a due time's decision, and two handlers that see the
//! same due time. Each due time has exactly one job, which runs as any other.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::work;
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::failpoint::{FAILPOINT_SETTING, HITS_SETTING, SCHEDULE_PLACES};
use lastlight_testing::{
    oracle::Expected,
    work::{CHAOS, StageWork, Work},
};

const LONG: Duration = Duration::from_secs(90);

/// Makes a schedule due, as if the time of its next due time had come.
const DUE: &str = "UPDATE app.schedules SET next_due_at = date_trunc('minute', now()), next_fire_at = now() WHERE name = $1";

/// 23.
pub(super) async fn schedules(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let mut database = PgConnection::connect(&world.url).await?;
    let tasks = world.sized(20, 500);
    for (place, fails) in SCHEDULE_PLACES {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let name = format!("{place}-{action}");
            make(&world, &name, tasks).await?;
            let hits = world.folder.join(format!("hit-{name}"));
            let armed = BTreeMap::from([
                (FAILPOINT_SETTING.to_owned(), format!("{place}:1:{action}")),
                (HITS_SETTING.to_owned(), hits.display().to_string()),
            ]);
            world.replace_handler(armed).await?;
            fires_once(&mut world, &mut database, &name, tasks).await?;
            world.check(hits.exists(), || format!("no run reaches {name}"));
            if hits.exists() && action == "kill" {
                world.count_kill();
            }
        }
    }
    world.replace_handler(BTreeMap::new()).await?;
    world.add_handler(BTreeMap::new()).await?;
    world.add_handler(BTreeMap::new()).await?;
    for round in 0..world.sized(5, 40) {
        let name = format!("shared-{round}");
        make(&world, &name, tasks).await?;
        fires_once(&mut world, &mut database, &name, tasks).await?;
    }
    world.until_finished(LONG * 4).await?;
    world.finish().await
}

/// Makes a schedule that is due on leap days only. Its job's tag has at most 50 characters and no blanks.
async fn make(world: &World, name: &str, tasks: u64) -> Result<(), ChaosError> {
    let job = job("{{ schedule }}_{{ due_hour }}{{ due_minute }}", tasks);
    let body = json!({
        "name": name, "job_type": CHAOS, "cron": "0 0 29 2 *", "parameters": serde_json::to_value(&job)?,
    });
    let began = std::time::Instant::now();
    loop {
        let answer = world.request(reqwest::Method::POST, "/api/schedules", body.to_string()).await;
        match answer {
            Ok((200, _)) => return Ok(()),
            // The handler is being replaced.
            Ok((500.., _)) | Err(_) if began.elapsed() < LONG => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => {
                return Err(ChaosError::Broken(format!("schedule {name} is refused: {answer:?}")));
            }
        }
    }
}

fn job(tag: &str, tasks: u64) -> Work {
    work(tag, false, [StageWork::of(tasks, 2), StageWork::of(3, 1)])
}

/// Lets a schedule become due, and waits until its job is submitted: once, whatever happens.
async fn fires_once(
    world: &mut World,
    database: &mut PgConnection,
    name: &str,
    tasks: u64,
) -> Result<(), ChaosError> {
    sqlx::query(DUE).bind(name).execute(&mut *database).await?;
    let path = format!("/api/schedules/{name}");
    let timer = format!("{}/admin/functions/fire_schedules", world.cloud.base_url());
    world
        .until("the schedule fires", LONG, async || {
            // As the host's timer does each minute.
            let _ = world.client().post(&timer).send().await;
            let answer = world.get(&path).await;
            let submitted =
                |body: &Value| body.pointer("/runs/0/job_id").is_some_and(Value::is_string);
            answer.is_ok_and(|(status, body)| status == 200 && submitted(&body))
        })
        .await?;
    let of_schedule = "SELECT job_id, parameters ->> 'tag' FROM app.jobs WHERE starts_with(parameters ->> 'tag', $1)";
    let jobs: Vec<(String, String)> =
        sqlx::query_as(of_schedule).bind(format!("{name}_")).fetch_all(&mut *database).await?;
    let runs: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT decision, job_id FROM app.schedule_runs WHERE name = $1")
            .bind(name)
            .fetch_all(&mut *database)
            .await?;
    world.check(jobs.len() == 1, || format!("{name}: {} jobs of one due time", jobs.len()));
    let is_recorded = matches!(runs.as_slice(), [(decision, Some(job))] if decision == "submitted" && jobs.iter().any(|(id, _)| id == job));
    world.check(is_recorded, || format!("{name}: the runs are {runs:?}"));
    for (job_id, tag) in jobs {
        world.expect(Expected::new(job_id, job(&tag, tasks), LONG));
    }
    Ok(())
}
