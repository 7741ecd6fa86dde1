//! Jobs that are deleted or run again while everything else fails (22): a fault at each step of the deletion and at the
//! beginning of a run, a user who deletes and submits the same work again, and jobs beside them that nothing may touch.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::work;
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::failpoint::{FAILPOINT_SETTING, HITS_SETTING, NEXT_RUN_PLACES, PURGE_PLACES};
use lastlight_testing::work::{Act, Rule, StageWork};

const LONG: Duration = Duration::from_secs(120);

/// Everything that a job leaves, by its id.
const LEFT: &str = "SELECT (SELECT count(*) FROM app.jobs WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.stages WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.tasks WHERE parent_job_id = ANY ($1))
    + (SELECT count(*) FROM app.task_batches WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.task_notes WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.outbox WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.worker_claims WHERE job_id = ANY ($1))
    + (SELECT count(*) FROM app.job_events WHERE job_id = ANY ($1))";

/// Makes jobs old enough to be deleted, once they are over.
const AGE: &str =
    "UPDATE app.jobs SET finished_at = finished_at - interval '100 days' WHERE job_id = ANY ($1)";

/// 22.
pub(super) async fn purge(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let mut database = PgConnection::connect(&world.url).await?;
    let tasks = world.sized(30, 2_000);
    // Jobs that are to stay, beside everything that follows.
    for use_service_bus in [false, true] {
        let stays = work(
            format!("stays-{use_service_bus}"),
            use_service_bus,
            [
                StageWork::of(4 * tasks, 60).with(Rule::every(7, 1, Act::Stumble).first(1)),
                StageWork::of(tasks, 20),
            ],
        );
        world.submit(stays, LONG * 4).await?;
    }
    for (number, (place, fails)) in PURGE_PLACES.iter().enumerate() {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let tag = format!("{place}-{action}");
            let mut gone = Vec::new();
            for part in 0..3 {
                let goes = work(
                    format!("{tag}-{part}"),
                    number % 2 == 0,
                    [StageWork::of(tasks, 1), StageWork::of(3, 1)],
                );
                gone.push(world.submit_unexpecting(&goes).await?);
                world.deleted.insert(goes.tag);
            }
            over(&world, &gone).await?;
            let hits = world.folder.join(format!("hit-{tag}"));
            let armed = BTreeMap::from([
                (FAILPOINT_SETTING.to_owned(), format!("{place}:1:{action}")),
                (HITS_SETTING.to_owned(), hits.display().to_string()),
            ]);
            world.replace_handler(armed).await?;
            age(&world, &mut database, &gone).await?;
            world.check(hits.exists(), || format!("no run reaches {tag}"));
            if hits.exists() && action == "kill" {
                world.count_kill();
            }
        }
    }
    again(&mut world, &mut database).await?;
    runs_again(&mut world).await?;
    world.until_finished(LONG * 4).await?;
    world.finish().await
}

/// A user deletes a job that runs, and submits the same work again, until it may end.
async fn again(world: &mut World, database: &mut PgConnection) -> Result<(), ChaosError> {
    let tasks = world.sized(30, 500);
    let job = work("again", false, [StageWork::of(tasks, 30), StageWork::of(5, 1)]);
    for round in 0..5 {
        let job_id = world.submit_unexpecting(&job).await?;
        tokio::time::sleep(Duration::from_millis(world.random.u64(0..400))).await;
        if round % 2 == 0 {
            world.kill(0).await?;
        }
        let path = format!("/api/jobs/{job_id}?cancel=true");
        world
            .until("the job is deleted", LONG, async || {
                let answer = world.request(reqwest::Method::DELETE, &path, String::new()).await;
                let gone = |(status, body): &(u16, Value)| {
                    *status == 404 || *status == 200 && body["is_deleted"] == true
                };
                answer.as_ref().is_ok_and(gone)
            })
            .await?;
        let left = left(database, std::slice::from_ref(&job_id)).await?;
        world.check(left == 0, || format!("{left} rows of a deleted job stayed"));
    }
    // The oracle knows a job by its tag, and this one had other lives.
    world.deleted.insert(job.tag.clone());
    let job_id = world.submit_unexpecting(&job).await?;
    over(world, std::slice::from_ref(&job_id)).await?;
    let audit = world.get(&format!("/api/jobs/audit/{job_id}")).await;
    let is_consistent = audit.as_ref().is_ok_and(|(_, body)| body["consistent"] == true);
    world.check(is_consistent, || format!("the job that was submitted again: {audit:?}"));
    Ok(())
}

/// A job runs again and again, with a fault at each step of the beginning of a run; once it is cancelled while it
/// runs, so that attempts of that run meet the next one.
async fn runs_again(world: &mut World) -> Result<(), ChaosError> {
    let tasks = world.sized(30, 500);
    let job = work("runs-again", true, [StageWork::of(tasks, 30), StageWork::of(5, 1)]);
    let job_id = world.submit_unexpecting(&job).await?;
    // The oracle knows a job by its tag, and this one has several runs.
    world.deleted.insert(job.tag.clone());
    over(world, std::slice::from_ref(&job_id)).await?;
    let places =
        PURGE_PLACES.iter().filter(|(place, _)| ["purge.tasks", "purge.batches"].contains(place));
    let mut run = 1;
    for (place, fails) in places.chain(NEXT_RUN_PLACES) {
        for action in ["kill", "error"].into_iter().take(1 + usize::from(*fails)) {
            let hits = world.folder.join(format!("hit-again-{place}-{action}"));
            let armed = BTreeMap::from([
                (FAILPOINT_SETTING.to_owned(), format!("{place}:1:{action}")),
                (HITS_SETTING.to_owned(), hits.display().to_string()),
            ]);
            world.replace_handler(armed).await?;
            // The request, or the sweep that continues it, may meet another handler than the armed one.
            for _ in 0..20 {
                run += 1;
                begin(world, &job_id, run).await?;
                if run % 3 == 0 {
                    tokio::time::sleep(Duration::from_millis(world.random.u64(0..200))).await;
                    // Too late for a run that is over by now.
                    let path = format!("/api/jobs/cancel/{job_id}");
                    let _ = world.request(reqwest::Method::POST, &path, String::new()).await;
                    run += 1;
                    begin(world, &job_id, run).await?;
                }
                over(world, std::slice::from_ref(&job_id)).await?;
                if hits.exists() {
                    break;
                }
            }
            world.check(hits.exists(), || format!("no run reaches {place} with {action}"));
            if hits.exists() && action == "kill" {
                world.count_kill();
            }
        }
    }
    let audit = world.get(&format!("/api/jobs/audit/{job_id}")).await;
    let is_consistent = audit.as_ref().is_ok_and(|(_, body)| body["consistent"] == true);
    world.check(is_consistent, || format!("the job that ran {run} times: {audit:?}"));
    Ok(())
}

/// Asks for the next run of a job that is over, or soon will be, until it has begun.
async fn begin(world: &World, job_id: &str, run: i32) -> Result<(), ChaosError> {
    let resubmit = format!("/api/jobs/resubmit/{job_id}");
    let events = format!("/api/jobs/events/{job_id}?limit=1000");
    world
        .until("the next run begins", LONG, async || {
            let told = world.get(&events).await;
            let is_begun =
                |event: &Value| event["kind"] == "job_resubmitted" && event["run"] == run;
            let has_begun = |(_, body): &(u16, Value)| {
                body["events"].as_array().is_some_and(|events| events.iter().any(is_begun))
            };
            if told.as_ref().is_ok_and(has_begun) {
                return true;
            }
            // A request for a run that is over already would begin another one.
            if told.is_ok() {
                let _ = world.request(reqwest::Method::POST, &resubmit, String::new()).await;
            }
            false
        })
        .await
}

/// Waits until jobs are over.
async fn over(world: &World, jobs: &[String]) -> Result<(), ChaosError> {
    for job_id in jobs {
        let path = format!("/api/jobs/status/{job_id}");
        world
            .until("a job that is to be deleted is over", LONG, async || {
                let answer = world.get(&path).await;
                answer.is_ok_and(|(status, body)| status == 200 && body["status"] == "completed")
            })
            .await?;
    }
    Ok(())
}

/// Makes jobs old, and waits until nothing is left of them. The metrics must have counted them before.
async fn age(
    world: &World,
    database: &mut PgConnection,
    jobs: &[String],
) -> Result<(), ChaosError> {
    sqlx::query(AGE).bind(jobs).execute(&mut *database).await?;
    let began = std::time::Instant::now();
    while left(database, jobs).await? > 0 {
        if began.elapsed() > LONG {
            return Err(ChaosError::Broken(format!("jobs are not deleted within {LONG:?}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.say("three jobs are gone");
    Ok(())
}

async fn left(database: &mut PgConnection, jobs: &[String]) -> Result<i64, ChaosError> {
    Ok(sqlx::query_scalar(LEFT).bind(jobs).fetch_one(database).await?)
}
