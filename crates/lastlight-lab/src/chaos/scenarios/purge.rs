//! Jobs that are archived, and deleted or run again, while everything else fails (22): a fault at each step of the archive, of
//! the deletion and at the beginning of a run, requests to the blob service that fail at times, a user who deletes and submits the
//! same work again, and jobs beside them that nothing may touch. What is gone must be in the archive, complete.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::work;
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::failpoint::{
    ARCHIVE_PLACES, FAILPOINT_SETTING, HITS_SETTING, NEXT_RUN_PLACES, PURGE_PLACES,
};
use lastlight_testing::{
    archive::{BlobProxy, BlobRequest, Fate},
    blobs::NewContainer,
    work::{Act, Rule, StageWork},
};

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

/// The log of what was archived, and of what was deleted or began again, in the order in which it happened.
const LOG: &str = "
    CREATE TABLE archive_log (
        place bigint GENERATED ALWAYS AS IDENTITY, what text, job_id text, run integer, detail json);
    CREATE FUNCTION note_archived_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    BEGIN
        INSERT INTO archive_log (what, job_id, run, detail) VALUES ('archived', NEW.job_id, NEW.run, NEW.detail);
        RETURN NULL;
    END $$;
    CREATE FUNCTION note_run_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    BEGIN
        INSERT INTO archive_log (what, job_id, run) VALUES ('gone', OLD.job_id, OLD.run);
        RETURN NULL;
    END $$;
    CREATE FUNCTION note_tasks_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    BEGIN
        INSERT INTO archive_log (what, job_id, run)
        SELECT 'tasks gone', j.job_id, j.run
        FROM app.jobs j
        WHERE j.job_id IN (SELECT parent_job_id FROM deleted);
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_archived_run AFTER INSERT ON app.job_events FOR EACH ROW WHEN (NEW.kind = 'job_archived')
        EXECUTE FUNCTION note_archived_run();
    CREATE TRIGGER note_job_gone AFTER DELETE ON app.jobs FOR EACH ROW EXECUTE FUNCTION note_run_gone();
    CREATE TRIGGER note_run_gone AFTER UPDATE ON app.jobs FOR EACH ROW WHEN (OLD.run < NEW.run)
        EXECUTE FUNCTION note_run_gone();
    CREATE TRIGGER note_tasks_gone AFTER DELETE ON app.tasks REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT
        EXECUTE FUNCTION note_tasks_gone()";

/// What became of each run, by the log: whether it was archived when its first row was deleted.
const LOGGED: &str = "
    SELECT g.job_id, g.run, g.what,
           (SELECT a.detail::text FROM archive_log a
            WHERE a.what = 'archived' AND a.job_id = g.job_id AND a.run = g.run AND a.place < g.place
            ORDER BY a.place DESC LIMIT 1)
    FROM archive_log g
    WHERE g.what <> 'archived'
    ORDER BY g.place";

/// The archive of the world: a container in Azurite, behind a proxy.
struct Archive {
    container: NewContainer,
    proxy: BlobProxy,
}

impl Archive {
    async fn start() -> Result<Self, ChaosError> {
        if std::env::var_os("AZURITE_BLOB_ENDPOINT").is_none() {
            return Err(ChaosError::Broken(
                "AZURITE_BLOB_ENDPOINT is not set: run scripts/chaos, which starts the blob service of Azurite"
                    .to_owned(),
            ));
        }
        Ok(Self { container: NewContainer::create().await, proxy: BlobProxy::start().await })
    }

    /// From now on some requests fail for a moment, some are carried out without an answer, and now and then the account
    /// refuses to be written, as if it were full or read-only.
    fn fail_at_times(&self, seed: u64) {
        let random = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
        self.proxy.rule(move |wanted, _| {
            let mut random = random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let writes = matches!(wanted, BlobRequest::Stage | BlobRequest::Commit);
            match random.u8(0..100) {
                0..6 => Fate::Answer(503, "ServerBusy"),
                6..12 => Fate::Answer(500, "InternalError"),
                12..20 => Fate::Lose,
                20..22 if writes => Fate::Answer(403, "AuthorizationPermissionMismatch"),
                22..24 if writes => Fate::Answer(507, "InsufficientStorage"),
                24..25 => Fate::Answer(404, "ContainerNotFound"),
                _ => Fate::Pass,
            }
        });
    }

    /// Compares the log with the blobs: whatever is gone is in the archive since before, and nothing else is.
    async fn judge(
        &self,
        world: &mut World,
        database: &mut PgConnection,
    ) -> Result<(), ChaosError> {
        let blobs = self.container.blobs("").await;
        let mut problems = Vec::new();
        let mut contents = BTreeMap::new();
        for blob in &blobs {
            match blob.read() {
                Ok(lines) => {
                    contents.insert(blob.name.clone(), (blob, lines));
                }
                Err(problem) => problems.push(format!("{}: {problem}", blob.name)),
            }
        }
        let logged: Vec<(String, i32, String, Option<String>)> =
            sqlx::query_as(LOGGED).fetch_all(&mut *database).await?;
        let mut runs = std::collections::BTreeSet::new();
        let mut tasks = 0;
        for (job_id, run, what, detail) in logged {
            let place = format!("run {run} of {job_id}: {what}");
            let Some(detail) = detail else {
                problems.push(format!("{place}, and not in the archive"));
                continue;
            };
            let detail: Value = serde_json::from_str(&detail)?;
            let name = detail["blob"].as_str().unwrap_or_default().to_owned();
            let Some((blob, lines)) = contents.get(&name) else {
                problems.push(format!("{place}, and there is no complete blob {name}"));
                continue;
            };
            let end = lines.last().cloned().unwrap_or_default();
            let is_same = blob.metadata.get("sha256").map(String::as_str)
                == detail["sha256"].as_str()
                && end["tasks"] == detail["tasks"]
                && end["tasks"] == end["tasks_planned"]
                && lines[0]["job_id"] == job_id.as_str()
                && lines[0]["run"] == run;
            if !is_same {
                problems.push(format!("{place}, and {name} is another one: {detail}, {end}"));
            }
            if runs.insert(name) {
                tasks += end["tasks"].as_u64().unwrap_or_default();
            }
        }
        for name in contents.keys().filter(|name| !runs.contains(*name)) {
            problems.push(format!("{name} belongs to no run that is gone"));
        }
        for problem in problems {
            world.check(false, || problem);
        }
        world.check(runs.len() > 20, || format!("only {} runs were archived", runs.len()));
        let asked = [BlobRequest::Stage, BlobRequest::Commit, BlobRequest::Find];
        let asked = asked.map(|kind| self.proxy.seen(kind).len());
        world.note(format!(
            "{} runs with {tasks} tasks are in the archive; blocks, commits and looks at a blob: {asked:?}",
            runs.len()
        ));
        Ok(())
    }
}

/// 22.
pub(super) async fn purge(run: &Run) -> Result<Findings, ChaosError> {
    let archive = Archive::start().await?;
    let settings = vec![
        ("ARCHIVE_CONTAINER", archive.container.name.clone()),
        ("LASTLIGHT_LOCAL_BLOB_ENDPOINT", archive.proxy.endpoint()),
    ];
    let mut world = World::start(run, Setup { handlers: 2, settings, ..Setup::default() }).await?;
    let mut database = PgConnection::connect(&world.url).await?;
    sqlx::raw_sql(LOG).execute(&mut database).await?;
    archive.fail_at_times(world.random.u64(..));
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
    let places = PURGE_PLACES.iter().chain(ARCHIVE_PLACES);
    for (number, (place, fails)) in places.enumerate() {
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
    archive.judge(&mut world, &mut database).await?;
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
