//! Faults of messages: they are duplicated (3), come late, early and out of order (4), are refused,
//! are accepted without an answer, and are lost (8).

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{coarse, path, work};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::model::messages::message_time;
use lastlight_local::broker::{FaultPlan, LostAnswer, service_bus::NewMessage};
use lastlight_testing::work::{CHAOS, StageWork};

const LONG: Duration = Duration::from_secs(120);

/// 3: each message is delivered two to five times.
pub(super) async fn duplicates(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    world.set_faults(FaultPlan {
        doubled: 1.0,
        copies: 5,
        late: 0.3,
        late_by: Duration::from_millis(500),
        ..FaultPlan::default()
    });
    let tasks = world.sized(120, 5_000);
    let mut jobs = Vec::new();
    for use_service_bus in [true, false] {
        for tasks_per_message in [1, 10] {
            let tag = format!("double-{}-{tasks_per_message}", path(use_service_bus));
            // The last stage has one task, so its duplicates are duplicates of the last task of a
            // stage.
            let stages =
                [StageWork::of(tasks, 5), StageWork::of(tasks / 4, 5), StageWork::of(1, 5)];
            let job = coarse(work(tag.clone(), use_service_bus, stages), tasks_per_message);
            jobs.push((tag, world.submit(job, LONG).await?));
        }
    }
    world.until_finished(LONG).await?;
    for (tag, job_id) in jobs {
        // The audit also counts late copies that are still on their way.
        let facts = world.facts(&job_id).await?;
        let duplicates: i64 = facts.stages.values().map(|stage| stage.ignored[0]).sum();
        world.check(duplicates > 0, || format!("the audit of {tag} counts no duplicates"));
    }
    world.finish().await
}

/// 4: half of all messages are late by up to two seconds, and some messages come too early or after
/// the end of the job.
pub(super) async fn reorder(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup { handlers: 2, ..Setup::default() }).await?;
    world.set_faults(FaultPlan {
        doubled: 0.2,
        copies: 3,
        late: 0.5,
        late_by: Duration::from_secs(2),
        ..FaultPlan::default()
    });
    let tasks = world.sized(80, 3_000);
    let mut jobs = Vec::new();
    for use_service_bus in [true, false] {
        let stages = [StageWork::of(tasks, 10), StageWork::of(tasks, 10), StageWork::of(3, 10)];
        let job = work(format!("reorder-{}", path(use_service_bus)), use_service_bus, stages);
        let job_id = world.submit(job, LONG).await?;
        // Messages of stages that have not begun, as if they overtook the commit of their stage.
        for stage in [2, 3] {
            send(&world, use_service_bus, Queue::Jobs, &job_message(&job_id, stage))?;
        }
        let unplanned = task_message(&job_id, 2, 0);
        send(&world, use_service_bus, Queue::Tasks, &unplanned)?;
        jobs.push((use_service_bus, job_id));
    }
    world.until_finished(LONG).await?;
    world.set_faults(FaultPlan::default());
    for (use_service_bus, job_id) in &jobs {
        let before = world.facts(job_id).await?;
        // Messages of every stage of a finished job.
        for stage in [1, 2, 3] {
            send(&world, *use_service_bus, Queue::Jobs, &job_message(job_id, stage))?;
            send(&world, *use_service_bus, Queue::Tasks, &task_message(job_id, stage, 0))?;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let after = world.facts(job_id).await?;
        world.check(before.tasks == after.tasks && before.job_writes == after.job_writes, || {
            format!("an old message changed the finished job {job_id}")
        });
    }
    world.finish().await
}

/// 8: a third of the answers is lost, sends are throttled and refused, credits run out, and every
/// queue is purged repeatedly.
pub(super) async fn broker(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    let tasks = world.sized(150, 5_000);
    let mut done = 0;
    for lost_answer in [LostAnswer::ServerError, LostAnswer::ClosedConnection] {
        world.set_faults(FaultPlan {
            throttled: 0.1,
            unavailable: 0.1,
            lost_answers: 0.3,
            lost_answer,
            credits_per_second: Some(2_000),
            ..FaultPlan::default()
        });
        let mut all = 0;
        for use_service_bus in [true, false] {
            let tag = format!("broker-{}-{lost_answer:?}", path(use_service_bus)).to_lowercase();
            let job = work(
                tag,
                use_service_bus,
                [StageWork::of(tasks, 10), StageWork::of(tasks / 3, 10)],
            );
            all += job.tasks();
            world.submit(job, LONG * 10).await?;
        }
        // Drawn before the first wait, so that a job that finishes early changes no other number.
        let purges = [1, 2, 3].map(|part| done + all * part / 4 + world.random.u64(0..all / 8));
        for after in purges {
            if !world.until_done(after, LONG).await? {
                break;
            }
            world.say(&format!("every queue is purged after {after} tasks"));
            world.purge();
        }
        world.until_finished(LONG).await?;
        done = world.progress().await?.done;
    }
    world.finish().await
}

/// One of a path's queues.
#[derive(Debug, Clone, Copy)]
pub(super) enum Queue {
    Jobs,
    Tasks,
}

/// Puts a text into a queue, as the app sends it.
pub(super) fn send(
    world: &World,
    use_service_bus: bool,
    queue: Queue,
    text: &str,
) -> Result<(), ChaosError> {
    let (bus, storage) = match queue {
        Queue::Jobs => ("sb-jobs", "geospatial-jobs"),
        Queue::Tasks => ("sb-tasks", "geospatial-tasks"),
    };
    let sent = if use_service_bus {
        world.cloud.service_bus.send(bus, vec![NewMessage::new(text)])
    } else {
        let encoded = BASE64_STANDARD.encode(text);
        world.cloud.storage.put(storage, encoded, Duration::ZERO, None).map(drop)
    };
    sent.map_err(|error| ChaosError::Broken(error.to_string()))
}

/// A job message, as the app writes it.
pub(super) fn job_message(job_id: &str, stage: u8) -> String {
    json!({
        "job_id": job_id, "job_type": CHAOS, "stage": stage, "parameters": {}, "stage_results": {}, "retry_count": 0,
        "timestamp": message_time(),
    })
    .to_string()
}

/// A task message, as the app writes it.
pub(super) fn task_message(job_id: &str, stage: u8, number: u64) -> String {
    let prefix = job_id.get(..8).unwrap_or_default();
    let parameters: Value = json!({});
    json!({
        "task_id": format!("{prefix}-s{stage}-t-{number}"), "parent_job_id": job_id, "job_type": CHAOS,
        "task_type": "chaos_task", "stage": stage, "task_index": format!("t-{number}"), "parameters": parameters,
        "retry_count": 0, "timestamp": message_time(),
    })
    .to_string()
}
