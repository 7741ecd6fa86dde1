//! Versions of the schema under traffic (17). There is no older release whose binary could be run,
//! so its schema stands for the older version: a job that was stored under the first migration must
//! run to its end under the last. A migration stands for a newer version: one that adds a column,
//! applied while handlers run, must not disturb them, and a handler that starts on the new schema
//! works. Once the schema demands a newer handler, a handler that starts must refuse to work.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use super::{path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_testing::{oracle::Expected, work::StageWork};

const LONG: Duration = Duration::from_secs(120);

pub(super) async fn migration(run: &Run) -> Result<Findings, ChaosError> {
    // The handler that migrates the schema finds a job that an older version stored.
    let stored =
        work("stored-by-an-older-version", true, [StageWork::of(20, 1), StageWork::of(3, 1)]);
    let old = Setup { stored_before: Some(stored.clone()), ..Setup::default() };
    let mut world = World::start(run, old).await?;
    let tasks = world.sized(200, 5_000);
    let job_id = stored.job_id()?;
    world.expect(Expected::new(job_id, stored, LONG));
    sqlx::query("UPDATE app.outbox SET next_send_at = now()")
        .execute(world.recorder.pool())
        .await?;

    let mut all = 0;
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(tasks, 10), StageWork::of(tasks, 10)];
        let job = work(format!("under-way-{}", path(use_service_bus)), use_service_bus, stages);
        all += job.tasks();
        world.submit(job, LONG * 10).await?;
    }
    let after = all / 4 + world.random.u64(0..all / 4);
    world.until_done(after, LONG).await?;
    world.say("a newer version's migration is applied");
    let mut connection = PgConnection::connect(&world.url).await?;
    let began = Instant::now();
    for statement in [
        "SET lock_timeout = '10s'",
        "ALTER TABLE app.tasks ADD COLUMN of_the_future text",
        "ALTER TABLE app.jobs ADD COLUMN of_the_future integer NOT NULL DEFAULT 0",
        "INSERT INTO app._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', true, '\\x00', 0)",
    ] {
        connection.execute(statement).await?;
    }
    world.note(format!(
        "the newer migration took {:.2} s under traffic",
        began.elapsed().as_secs_f64()
    ));
    // The schema says that handlers of this version may use it: start one, as after a restart.
    let restarted = world.add_handler(Default::default()).await?;
    let url = format!("{}/api/health", world.base_url(restarted));
    let status = match world.client().get(url).send().await {
        Ok(answer) => answer.status().as_u16(),
        Err(_) => 0,
    };
    world.check(status == 200, || {
        format!("a handler that starts on a compatible newer schema answers {status}")
    });
    world.remove_handler().await;
    // Now the schema says that they may not: a handler that starts must refuse and change nothing.
    connection
        .execute(
            "CREATE OR REPLACE FUNCTION app.works_from() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 9999::bigint'",
        )
        .await?;
    let late = world.add_handler(Default::default()).await?;
    let url = format!("{}/api/health", world.base_url(late));
    let answer = match world.client().get(url).send().await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
        Err(error) => (0, error.to_string()),
    };
    world.check(answer.0 == 503 && answer.1.contains("another version"), || {
        format!("a handler that starts on an incompatible newer schema answers {answer:?}")
    });
    world.remove_handler().await;
    // The running handler continues.
    world.until_finished(LONG * 10).await?;
    let (status, health) = world.get("/api/health").await.map_err(ChaosError::Broken)?;
    world.check(status == 200, || {
        format!("the running handler is not healthy after the newer migration: {health}")
    });
    connection.close().await?;
    world.finish().await
}
