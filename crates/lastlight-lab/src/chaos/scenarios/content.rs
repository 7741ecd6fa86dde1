//! Faults in messages and tasks: poison (10), and payloads at their limits (11).

use std::{ffi::OsString, time::Duration};

use serde_json::json;

use super::{
    coarse,
    messages::{Queue, job_message, send},
    path, work,
};
use crate::chaos::{
    ChaosError, Findings, Run,
    world::{Setup, World},
};
use lastlight_engine::functions::LARGEST_SUBMISSION;
use lastlight_local::host::HandlerCommand;
use lastlight_testing::work::{Act, CHAOS, LARGEST_RESULT, Rule, StageWork, Work};

const LONG: Duration = Duration::from_secs(120);

/// Attempts of a task in scenario 10: the first and the retries.
const ATTEMPTS: u32 = 1 + 3;

/// The address space of a handler that must run out of memory, KiB: three times what a handler
/// usually reserves.
const ADDRESS_SPACE: u64 = 6 * 1024 * 1024;

/// 10: one task of a stage panics, aborts its process or exhausts the memory in every attempt; its
/// siblings must finish. Messages that cannot be processed must neither block others nor vanish.
pub(super) async fn poison(run: &Run) -> Result<Findings, ChaosError> {
    let setup = Setup {
        settings: vec![("MAX_RETRY_ATTEMPTS", (ATTEMPTS - 1).to_string())],
        handler: Some(with_little_memory(&run.shared.handler)),
        has_poison: true,
        ..Setup::default()
    };
    let mut world = World::start(run, setup).await?;
    let early = work("submitted-later", true, [StageWork::of(2, 1)]);
    let bad = bad_messages(&world, &early)?;
    for (name, act) in [("panic", Act::Panic), ("abort", Act::Abort), ("memory", Act::Devour)] {
        for use_service_bus in [true, false] {
            let tag = format!("{name}-{}", path(use_service_bus));
            let tasks = world.sized(10, 200);
            let number = world.random.u64(0..tasks);
            world.say(&tag);
            let stage = StageWork::of(tasks, 5).with(Rule::only(number, act)).tolerating(1);
            let job = work(tag.clone(), use_service_bus, [stage, StageWork::of(2, 1)]);
            let job_id = world.submit(job, LONG).await?;
            // One after the other: a task that kills its process must not use up the attempts of
            // other jobs.
            world.until_finished(LONG).await?;
            let facts = world.facts(&job_id).await?;
            let attempts = facts.tasks.get(&(1, number)).map_or(0, |task| task.attempt);
            world.check((ATTEMPTS..=ATTEMPTS + 1).contains(&attempts), || {
                format!("{tag}: the bad task was tried {attempts} times, not {ATTEMPTS}")
            });
        }
    }
    isolated(&mut world, bad).await?;
    redriven(&mut world, &early).await?;
    world.finish().await
}

/// The handler with a limit on its address space, so that only the handler runs out of memory.
fn with_little_memory(handler: &HandlerCommand) -> HandlerCommand {
    match handler {
        HandlerCommand::Program { program, arguments } => {
            let script = format!("ulimit -v {ADDRESS_SPACE}; exec \"$0\" \"$@\"");
            let mut all: Vec<OsString> = vec!["-c".into(), script.into(), program.into()];
            all.extend(arguments.iter().cloned());
            HandlerCommand::Program { program: "/bin/sh".into(), arguments: all }
        }
        other => other.clone(),
    }
}

/// Puts messages that cannot be processed into every queue, and returns how many into each.
fn bad_messages(world: &World, early: &Work) -> Result<usize, ChaosError> {
    let nobody = "0".repeat(64);
    let texts = [
        job_message(&early.job_id()?, 1),
        "this is not JSON".to_owned(),
        "[]".to_owned(),
        json!({ "job_id": nobody, "job_type": "no_such_type", "stage": 1, "parameters": {} })
            .to_string(),
        job_message(&nobody, 1),
        super::messages::task_message(&nobody, 1, 0),
    ];
    for use_service_bus in [true, false] {
        for queue in [Queue::Jobs, Queue::Tasks] {
            for text in &texts {
                send(world, use_service_bus, queue, text)?;
            }
        }
    }
    Ok(texts.len())
}

/// Waits until the bad messages are dead-lettered, and checks that the monitor lists each of them.
async fn isolated(world: &mut World, each: usize) -> Result<(), ChaosError> {
    let (bus, storage) = (world.cloud.service_bus.clone(), world.cloud.storage.clone());
    let waiting = || {
        let of_bus =
            |queue: &str| bus.counts(queue).map_or(0, |counts| counts.active + counts.dead_letter);
        let of_storage = |queue: &str| storage.counts(queue).unwrap_or_default();
        let storage = [
            "geospatial-jobs",
            "geospatial-tasks",
            "geospatial-jobs-poison",
            "geospatial-tasks-poison",
        ];
        of_bus("sb-jobs") + of_bus("sb-tasks") + storage.map(of_storage).iter().sum::<usize>()
    };
    world
        .until("bad messages are dead-lettered", Duration::from_secs(60), async || waiting() == 0)
        .await?;
    let found = review(world).await?.len();
    world.note(format!("{found} of {} bad messages are dead-lettered", 4 * each));
    world.check(found == 4 * each, || {
        format!("{} bad messages, {found} are dead-lettered", 4 * each)
    });
    Ok(())
}

/// The dead-lettered messages that the monitor shows: their queue, id and text.
async fn review(world: &World) -> Result<Vec<[String; 3]>, ChaosError> {
    let (status, answer) =
        world.get("/api/monitor/poison?peek=32").await.map_err(ChaosError::Broken)?;
    if status != 200 {
        return Err(ChaosError::Broken(format!("monitor/poison answered {status}: {answer}")));
    }
    let queues = answer["queue_details"].as_object().cloned().unwrap_or_default();
    let shown = queues.iter().flat_map(|(queue, details)| {
        let messages = details["messages"].as_array().cloned().unwrap_or_default();
        messages.into_iter().map(|message| {
            let said = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            [queue.clone(), said("message_id"), said("message")]
        })
    });
    Ok(shown.collect())
}

/// A message that arrived before its job is dead-lettered by now, and does its work after a
/// redrive.
async fn redriven(world: &mut World, early: &Work) -> Result<(), ChaosError> {
    let before = review(world).await?;
    let job_id = world.submit(early.clone(), LONG).await?;
    world.until_finished(LONG).await?;
    let waits = before.iter().find(|[_, _, text]| text.contains(&job_id));
    let Some([queue, message_id, _]) = waits else {
        world.check(false, || {
            format!("the message that arrived before its job is not among {before:?}")
        });
        return Ok(());
    };
    let order =
        json!({ "action": "redrive", "queue": queue, "message_id": message_id }).to_string();
    let answer = world.request(reqwest::Method::POST, "/api/monitor/poison", order).await;
    world.check(matches!(answer, Ok((200, _))), || format!("redrive answered {answer:?}"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = review(world).await?;
    world.check(after.len() + 1 == before.len(), || {
        format!(
            "{} messages were dead-lettered before the redrive, {} after it",
            before.len(),
            after.len()
        )
    });
    Ok(())
}

/// 11: oversized data is refused at submit or kept in the database, and never blocks a stage.
pub(super) async fn payload(run: &Run) -> Result<Findings, ChaosError> {
    let mut world = World::start(run, Setup::default()).await?;
    submissions(&mut world).await?;
    for use_service_bus in [true, false] {
        // Sizes around the limit up to which a message carries the parameters, above the size of a
        // Storage Queue message, and far above it.
        for padding in [7 * 1024, 8 * 1024, 9 * 1024, 48 * 1024, 65 * 1024, 300 * 1024] {
            let stage = StageWork { padding, ..StageWork::of(3, 1) };
            let job = work(
                format!("padding-{padding}-{}", path(use_service_bus)),
                use_service_bus,
                [stage],
            );
            world.submit(job, LONG).await?;
        }
        let huge = |number, bytes| Rule::only(number, Act::Result { bytes });
        let stage = StageWork::of(6, 1)
            .with(huge(0, LARGEST_RESULT))
            .with(huge(1, LARGEST_RESULT + 1))
            .with(huge(2, 10 * LARGEST_RESULT))
            .with(huge(3, LARGEST_RESULT / 2))
            .tolerating(2);
        let job = work(
            format!("results-{}", path(use_service_bus)),
            use_service_bus,
            [stage, StageWork::of(6, 1)],
        );
        world.submit(coarse(job, 3), LONG).await?;
    }
    world.until_finished(LONG).await?;
    world.finish().await
}

/// Submissions of about the largest size, and some that are not valid text.
async fn submissions(world: &mut World) -> Result<(), ChaosError> {
    let of = |bytes: usize| -> Result<(Work, String), ChaosError> {
        let mut job = work(format!("body-{bytes}"), true, [StageWork::of(1, 1)]);
        let mut body = serde_json::to_value(&job)?;
        body["filling"] = "".into();
        let bare = body.to_string().len();
        body["filling"] = "x".repeat(bytes - bare).into();
        job.tag = format!("body-{bytes}");
        Ok((job, body.to_string()))
    };
    let path = format!("/api/jobs/submit/{CHAOS}");
    // The database stores a body with blanks between its parts, so a body of the largest size may
    // be a few bytes too large.
    for (bytes, allowed) in [
        (LARGEST_SUBMISSION - 1024, vec![200]),
        (LARGEST_SUBMISSION, vec![200, 400]),
        (LARGEST_SUBMISSION + 1, vec![413]),
        (10 * 1024 * 1024, vec![413]),
    ] {
        let (job, body) = of(bytes)?;
        let answer = world.request(reqwest::Method::POST, &path, body).await;
        let status = answer.as_ref().map_or(0, |(status, _)| *status);
        world.check(allowed.contains(&status), || {
            format!("the answer to a body of {bytes} bytes was {status}")
        });
        if let Ok((200, submission)) = answer {
            let job_id = submission["job_id"].as_str().unwrap_or_default().to_owned();
            world.expect(lastlight_testing::oracle::Expected::new(job_id, job, LONG));
        }
    }
    let url = format!("{}{path}", world.base_url(0));
    for (what, body) in [
        ("bytes that are not UTF-8", vec![b'{', b'"', 0xff, 0xfe, b'"', b'}']),
        ("nothing", Vec::new()),
        ("half a document", b"{\"tag\": \"x".to_vec()),
        ("a list", b"[1, 2]".to_vec()),
    ] {
        let answer = world.client().post(&url).body(body).send().await;
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        world.check(status == 400, || format!("the answer to {what} was {status}"));
    }
    Ok(())
}
