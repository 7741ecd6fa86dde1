//! Faults of the database: it restarts and crashes (6), loses its connections or has none left (7),
//! and cannot vacuum (16).

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, Postgres, pool::PoolConnection, postgres::PgConnectOptions};

use super::{path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    postgres::{CONNECTIONS, Restart},
    world::{Setup, World},
};
use lastlight_testing::work::StageWork;

const LONG: Duration = Duration::from_secs(120);

/// 6: under load, and during sweeps that have something to do.
pub(super) async fn restarts(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let handler = world.handler_pid(0);
    let (tasks, times) = world.sized((600, 4), (5_000, 20));
    let mut all = 0;
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(tasks, 50), StageWork::of(tasks / 2, 10), StageWork::of(2, 10)];
        let job = work(format!("database-{}", path(use_service_bus)), use_service_bus, stages);
        all += job.tasks();
        world.submit(job, LONG * 10).await?;
    }
    for number in 0..times {
        let after = all * number / times + world.random.u64(1..=all / times / 2);
        if !world.until_done(after, LONG).await? {
            break;
        }
        let how = if world.random.bool() { Restart::Fast } else { Restart::Immediate };
        // Every second time the queues are purged first, so that the interrupted sweep has
        // everything to send again.
        let in_sweep = number % 2 == 1;
        world.say(&format!(
            "{how:?} after {after} tasks{}",
            if in_sweep { ", in the sweep" } else { "" }
        ));
        if in_sweep {
            world.purge();
            tokio::time::sleep(crate::chaos::world::LOST_AFTER).await;
            let _ = world.post("/admin/functions/reconcile").await;
        }
        world.restart_database(how).await?;
    }
    world.until_finished(LONG * 10).await?;
    let now = world.handler_pid(0);
    world.check(handler == now, || {
        format!("the handler did not survive the restart of the database: process {handler:?} is {now:?} now")
    });
    world.finish().await
}

/// 7: every connection is terminated, several times; then other clients take every connection of
/// the server.
pub(super) async fn connections(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let (tasks, times) = world.sized((200, 5), (5_000, 50));
    let mut all = 0;
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(tasks, 15), StageWork::of(tasks / 2, 15)];
        let job = work(format!("connections-{}", path(use_service_bus)), use_service_bus, stages);
        all += job.tasks();
        world.submit(job, LONG * 10).await?;
    }
    for number in 0..times {
        let after = all * number / (times + 2) + world.random.u64(1..=all / times / 2);
        if !world.until_done(after, LONG).await? {
            break;
        }
        let ended = world.terminate_connections().await?;
        world.say(&format!("{ended} connections terminated after {after} tasks"));
    }
    exhaust(&mut world).await?;
    world.until_finished(LONG * 10).await?;
    world.finish().await
}

/// Takes every session of the server away from the handlers, waits for their 503, releases all
/// sessions and waits for their 200. Jobs run meanwhile.
async fn exhaust(world: &mut World) -> Result<(), ChaosError> {
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(20, 3_000), StageWork::of(20, 5)];
        world
            .submit(
                work(format!("starved-{}", path(use_service_bus)), use_service_bus, stages),
                LONG,
            )
            .await?;
    }
    // The recorder keeps one session, to terminate others.
    let mut hoarder = Hoarder {
        own: world.recorder.pool().acquire().await?,
        options: PgConnectOptions::from_str(&world.url)?.application_name("hoarder"),
        hoard: Vec::new(),
    };
    world
        .until("503 without a free connection", Duration::from_secs(60), async || {
            hoarder.take_all().await && matches!(world.get("/api/health").await, Ok((503, _)))
        })
        .await?;
    world.fault();
    world.say(&format!(
        "{} of {CONNECTIONS} connections are taken by other clients",
        hoarder.hoard.len()
    ));
    let unknown = format!("/api/jobs/status/{}", "0".repeat(64));
    let mut refused = 0;
    for _ in 0..3 {
        world
            .until("no connection for the handlers", Duration::from_secs(60), async || {
                hoarder.take_all().await
            })
            .await?;
        // 503 is the only valid answer to a request that cannot be served now.
        let asked = world.get(&unknown).await;
        refused += u32::from(matches!(asked, Ok((503, _))));
        world.check(matches!(asked, Ok((503, _))), || {
            format!("without a connection the status request answered {asked:?}")
        });
    }
    drop(hoarder);
    let began = Instant::now();
    world
        .until("200 with free connections", Duration::from_secs(60), async || {
            matches!(world.get("/api/health").await, Ok((200, _)))
        })
        .await?;
    world.note(format!(
        "{refused} requests answered 503 without a connection; 200 came {:.1} s after connections were free again",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// A client that takes every session of a server.
struct Hoarder {
    own: PoolConnection<Postgres>,
    options: PgConnectOptions,
    hoard: Vec<PgConnection>,
}

impl Hoarder {
    /// Takes the sessions that the handlers hold and all free ones; returns whether it has all of
    /// them now. A session that was terminated frees its slot only a moment after it has left
    /// `pg_stat_activity`, and the next client to connect gets it. So this is repeated until, twice
    /// in a row, no handler has a session and none is free.
    async fn take_all(&mut self) -> bool {
        for _ in 0..2 {
            let handlers: Result<i64, _> = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lastlight'",
            )
            .fetch_one(&mut *self.own)
            .await;
            let held = self.hoard.len();
            while let Ok(connection) = PgConnection::connect_with(&self.options).await {
                self.hoard.push(connection);
            }
            if !matches!(handlers, Ok(0)) || self.hoard.len() > held {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }
}

/// 16: a transaction is left open, so that no dead row can be removed, and analysts scan the
/// tables.
pub(super) async fn vacuum(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let tasks = world.sized(1_000, 50_000);
    let alone = timed(&mut world, "alone", tasks).await?;
    let options = PgConnectOptions::from_str(&world.url)?;
    let mut idle = PgConnection::connect_with(&options).await?;
    for statement in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM app.tasks"] {
        sqlx::query(statement).execute(&mut idle).await?;
    }
    let analysts = (0..2).map(|_| {
        let options = options.clone();
        tokio::spawn(async move {
            let mut connection = PgConnection::connect_with(&options).await?;
            loop {
                sqlx::query(
                    "SELECT stage, status, count(*), avg(EXTRACT(EPOCH FROM finished_at - created_at)), sum(length(parameters::text))
                     FROM app.tasks GROUP BY stage, status",
                )
                .fetch_all(&mut connection)
                .await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            #[expect(unreachable_code, reason = "the type of the result")]
            Ok::<(), sqlx::Error>(())
        })
    });
    let analysts: Vec<_> = analysts.collect();
    let meanwhile = timed(&mut world, "meanwhile", tasks).await?;
    for analyst in &analysts {
        analyst.abort();
    }
    let (dead, live): (i64, i64) = dead_and_live(&world).await?;
    world.note(format!(
        "{alone:.0} tasks/s alone, {meanwhile:.0} tasks/s with an idle transaction and two analysts ({:.0}%)",
        100.0 * meanwhile / alone
    ));
    world.check_timed(meanwhile >= 0.7 * alone, || {
        format!("throughput fell to {:.0}%", 100.0 * meanwhile / alone)
    });
    // A task is claimed and completed: two dead versions of its row while no vacuum can remove
    // them.
    world.note(format!("{dead} dead rows and {live} live rows while no vacuum can remove any"));
    let meanwhile_tasks = tasks.cast_signed() * 2;
    world.check(dead <= meanwhile_tasks * 5 / 2 + 2_000, || {
        format!("{dead} dead rows for {meanwhile_tasks} tasks: more than 2.5 per task")
    });
    idle.close().await?;
    // Now the dead rows can be removed. A session that was aborted during a query holds them a
    // moment longer, until its server process notices.
    let began = Instant::now();
    let dead = loop {
        sqlx::query("VACUUM app.tasks, app.stages, app.jobs, app.task_batches")
            .execute(world.recorder.pool())
            .await?;
        let (dead, _) = dead_and_live(&world).await?;
        if dead <= 500 || began.elapsed() > Duration::from_secs(30) {
            break dead;
        }
    };
    world.check(dead <= 500, || format!("{dead} dead rows remain after the transaction ended"));
    world.finish().await
}

/// Tasks per second of a job of two stages over both paths.
async fn timed(world: &mut World, name: &str, tasks: u64) -> Result<f64, ChaosError> {
    let began = Instant::now();
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(tasks / 2, 0), StageWork::of(tasks / 2, 0)];
        world
            .submit(
                work(format!("{name}-{}", path(use_service_bus)), use_service_bus, stages),
                LONG * 10,
            )
            .await?;
    }
    world.until_finished(LONG * 10).await?;
    Ok(2.0 * tasks as f64 / began.elapsed().as_secs_f64())
}

async fn dead_and_live(world: &World) -> Result<(i64, i64), ChaosError> {
    // Sessions report their statistics with a delay of a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let metrics = sqlx::query_as(
        "SELECT COALESCE(sum(n_dead_tup), 0)::bigint, COALESCE(sum(n_live_tup), 0)::bigint
         FROM pg_stat_user_tables WHERE schemaname = 'app'",
    )
    .fetch_one(world.recorder.pool())
    .await?;
    Ok(metrics)
}
