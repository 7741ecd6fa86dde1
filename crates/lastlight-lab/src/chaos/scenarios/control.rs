//! Changes of running jobs (15): cancel, retry, pause and resume race with completions and with
//! each other.

use std::time::Duration;

use futures_util::future::join_all;

use super::{coarse, path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_testing::{
    oracle::Expected,
    work::{Act, Rule, StageWork},
};

const LONG: Duration = Duration::from_secs(120);

/// 15: rounds of requests, two at once for the same job, at moments that the seed chooses.
/// Whichever wins, only legal changes happen, and each answer is success or a reason for the
/// refusal.
pub(super) async fn races(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    let (count, rounds) = world.sized((8, 100), (40, 2_000));
    let mut jobs = Vec::new();
    for number in 0..count {
        let use_service_bus = number % 2 == 0;
        let failing =
            StageWork::of(20, 150).with(Rule::only(7, Act::Fail).first(1)).tolerating(number % 3);
        let stages = [StageWork::of(20, 150), failing, StageWork::of(10, 150)];
        let job =
            work(format!("control-{number}-{}", path(use_service_bus)), use_service_bus, stages);
        let job = coarse(job, if number % 4 < 2 { 1 } else { 5 });
        jobs.push((world.submit_unexpecting(&job).await?, job));
    }
    let mut answers = [0_u32; 3];
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(world.random.u64(0..60))).await;
        let (job_id, _) = &jobs[world.random.usize(0..jobs.len())];
        // A job that is cancelled only waits to be retried, so retry is more frequent than cancel.
        let verbs = ["cancel", "retry", "retry", "retry", "pause", "resume", "resume"];
        let pair = [0, 1].map(|handler| {
            let verb = verbs[world.random.usize(0..verbs.len())];
            (verb, format!("{}/api/jobs/{verb}/{job_id}", world.base_url(handler)))
        });
        let requests = pair.map(|(verb, url)| {
            let request = world.client().post(url);
            async move {
                let answer = request.send().await;
                (verb, answer.map_or(0, |answer| answer.status().as_u16()))
            }
        });
        for (verb, status) in join_all(requests).await {
            match status {
                200 => answers[0] += 1,
                409 => answers[1] += 1,
                _ => answers[2] += 1,
            }
            world.check(matches!(status, 200 | 409), || format!("{verb} answered {status}"));
        }
    }
    world.note(format!("{} requests succeeded, {} were refused", answers[0], answers[1]));
    // No job is left paused.
    for (job_id, job) in jobs {
        settle(&world, &job_id).await?;
        let mut expected = Expected::new(job_id, job, LONG * 10).ending(None);
        expected.may_be_reopened = true;
        world.expect(expected);
    }
    world.until_finished(LONG).await?;
    world.finish().await
}

/// Resumes a job until it is no longer paused.
pub(super) async fn settle(world: &World, job_id: &str) -> Result<(), ChaosError> {
    let (status, resume) =
        (format!("/api/jobs/status/{job_id}"), format!("/api/jobs/resume/{job_id}"));
    world
        .until("the job is no longer paused", LONG, async || {
            let _ = world.post(&resume).await;
            let Ok((200, job)) = world.get(&status).await else {
                return false;
            };
            let is_finished = ["completed", "failed", "cancelled"]
                .contains(&job["status"].as_str().unwrap_or_default());
            // By now a requested pause is withdrawn, and a paused job is resumed.
            is_finished || (job["pausedAt"].is_null() && job["pauseRequested"] != true)
        })
        .await
}
