//! Amounts: stages of any size (12), the same job submitted a hundred times at once (13), and last
//! tasks that end together (14).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};

use super::{coarse, path, work};
use crate::{
    bench::peak_memory_mib,
    chaos::{
        ChaosError, Findings, Run,
        world::{Setup, World},
    },
};
use lastlight_testing::{
    oracle::Expected,
    work::{Act, CHAOS, Rule, StageWork},
};

const LONG: Duration = Duration::from_secs(1800);

/// 12: from zero to a hundred thousand tasks, and one large stage in which some tasks fail and some
/// are slow.
pub(super) async fn sizes(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let sizes: &[u64] = world.sized(&[0, 1, 200, 1_000], &[0, 1, 1_000, 10_000, 100_000]);
    let mut seconds = Vec::new();
    for tasks in sizes {
        let began = Instant::now();
        for use_service_bus in [true, false] {
            let stages = [StageWork::of(*tasks, 0), StageWork::of((*tasks).min(10), 0)];
            let job = work(format!("n{tasks}-{}", path(use_service_bus)), use_service_bus, stages);
            world.submit(job, LONG).await?;
            world.until_finished(LONG).await?;
        }
        world.say(&format!("{tasks} tasks over each path: {:.1} s", began.elapsed().as_secs_f64()));
        seconds.push((*tasks, began.elapsed().as_secs_f64()));
    }
    let memory_before = world.handler_pid(0).and_then(peak_memory_mib).unwrap_or_default();
    // The time per task at one size, compared with that at a tenth of this size: a ratio of 1 is
    // linear.
    if let [.., (few, short), (many, long)] = seconds[..] {
        let ratio = (long / many as f64) / (short / few as f64);
        world.note(format!("with {many} tasks each takes {ratio:.2} times as long as with {few}"));
        world
            .check_timed(ratio <= 1.1, || format!("not linear: {ratio:.2} times as long per task"));
    }
    let tasks = world.sized(2_000, 100_000);
    let stage = StageWork::of(tasks, 0)
        .with(Rule::every(100, 7, Act::Fail))
        .with(Rule::every(20, 3, Act::Sleep { ms: 100 }))
        .tolerating(tasks / 100 + 1);
    let job = coarse(work("mixed", true, [stage, StageWork::of(10, 0)]), 100);
    let job_id = world.submit(job, LONG).await?;
    let mut latencies = status_while_it_runs(&world, &job_id).await?;
    let memory = world.handler_pid(0).and_then(peak_memory_mib).unwrap_or_default();
    world.note(format!(
        "peak memory of the handler: {memory:.0} MiB (before the largest job: {memory_before:.0} MiB)"
    ));
    // The memory for planning and running does not grow with the stage.
    world.check(memory < 400.0, || format!("the handler used {memory:.0} MiB"));
    latencies.sort_unstable();
    if let Some(p99) = latencies.get(latencies.len() * 99 / 100) {
        let p99 = p99.as_secs_f64() * 1000.0;
        world.note(format!("status p99 {p99:.1} ms over {} requests meanwhile", latencies.len()));
        world.check_timed(p99 < 50.0, || format!("status p99 was {p99:.1} ms"));
    }
    world.finish().await
}

async fn status_while_it_runs(world: &World, job_id: &str) -> Result<Vec<Duration>, ChaosError> {
    let mut latencies = Vec::new();
    let path = format!("/api/jobs/status/{job_id}");
    let watching = async {
        loop {
            let began = Instant::now();
            if let Ok((200, _)) = world.get(&path).await {
                latencies.push(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        over = world.until_finished(LONG) => over?,
        () = watching => {}
    }
    Ok(latencies)
}

/// 13: a hundred clients submit the same job to two handlers; several times.
pub(super) async fn same(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let times = world.sized(4, 50);
    for number in 0..times {
        let use_service_bus = number % 2 == 0;
        let job = work(
            format!("same-{number}"),
            use_service_bus,
            [StageWork::of(10, 1), StageWork::of(2, 1)],
        );
        let body = serde_json::to_string(&job)?;
        let submissions = (0..100).map(|client| {
            let url = format!("{}/api/jobs/submit/{CHAOS}", world.base_url(client % 2));
            let request = world.client().post(url).body(body.clone());
            async move {
                let answer = request.send().await.map_err(|error| error.to_string())?;
                let status = answer.status().as_u16();
                let text = answer.text().await.map_err(|error| error.to_string())?;
                let answer: serde_json::Value =
                    serde_json::from_str(&text).map_err(|error| error.to_string())?;
                let said = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
                Ok::<_, String>((status, said("job_id"), said("status")))
            }
        });
        let answers = join_all(submissions).await;
        let accepted: Vec<_> =
            answers.iter().flatten().filter(|(status, ..)| *status == 200).collect();
        let ids: BTreeSet<&str> = accepted.iter().map(|(_, id, _)| id.as_str()).collect();
        let created = accepted.iter().filter(|(.., status)| status == "created").count();
        let refused: Vec<_> =
            answers.iter().filter(|answer| !matches!(answer, Ok((200, ..)))).collect();
        world.check(refused.is_empty(), || format!("submissions were refused: {refused:?}"));
        world.check(ids.len() == 1, || format!("identical submissions created the jobs {ids:?}"));
        world.check(created == 1, || {
            format!("{created} of 100 clients got the answer that they created the job")
        });
        let job_id = ids.first().copied().unwrap_or_default().to_owned();
        world.expect(Expected::new(job_id, job, Duration::from_secs(60)));
    }
    world.until_finished(Duration::from_secs(60)).await?;
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM app.jobs")
        .fetch_one(world.recorder.pool())
        .await?;
    world.check(jobs == times, || format!("{times} different submissions created {jobs} jobs"));
    world.finish().await
}

/// 14: stages of two tasks, as many per job as allowed, on two handlers, so that the last outcomes
/// meet in one group of completions and in two.
pub(super) async fn last_two(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let jobs = world.sized(6, 100);
    let stages = world.sized(50_usize, 100);
    let submissions: Vec<_> = (0..jobs)
        .map(|number| {
            let use_service_bus = number % 3 != 2;
            work(format!("pair-{number}"), use_service_bus, vec![StageWork::of(2, 0); stages])
        })
        .collect();
    let submitted: Vec<_> = stream::iter(&submissions)
        .map(|job| world.submit_unexpecting(job))
        .buffered(8)
        .collect()
        .await;
    for (job, job_id) in submissions.into_iter().zip(submitted) {
        world.expect(Expected::new(job_id?, job, LONG));
    }
    world.until_finished(LONG).await?;
    let advances: i64 = sqlx::query_scalar("SELECT count(*) FROM chaos.advances")
        .fetch_one(world.recorder.pool())
        .await?;
    let expected = jobs * stages as i64;
    world.note(format!("{advances} advances of {expected} stages"));
    world.check(advances == expected, || format!("{advances} advances of {expected} stages"));
    world.finish().await
}
