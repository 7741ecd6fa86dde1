//! What is told of nodes.

use lastlight_api::JobStatus;
use serde_json::{Value, json};

use super::*;

fn stage(number: u8, name: &str, kind: &str, more: &Value, node: &Value) -> Value {
    let mut stage = json!({
        "stage": number, "taskType": "t", "planned": false, "total": 0, "pendingQueue": 0, "queued": null, "running": null,
        "open": 0, "completed": 0, "failed": 0, "skipped": 0, "ratePerSecond": null, "etaSeconds": null,
        "startedAt": null, "finishedAt": null,
        "node": { "name": name, "kind": kind, "needs": [], "follows": [], "waitsFor": 0, "outcome": null,
                  "bestEffort": false, "waitsForDecision": false, "decideUntil": null, "output": null,
                  "childJobId": null },
    });
    for (into, fields) in [(None, more), (Some("node"), node)] {
        let target = match into {
            Some(name) => &mut stage[name],
            None => &mut stage,
        };
        for (name, value) in fields.as_object().unwrap() {
            target[name] = value.clone();
        }
    }
    stage
}

fn job(status: &str, stages: Vec<Value>) -> JobStatusAnswer {
    let time = "2026-11-30T20:00:00.000000+00:00";
    serde_json::from_value(json!({
        "jobId": "a".repeat(64), "jobType": "t", "status": status, "stage": 1, "totalStages": stages.len(),
        "processingPath": "queue_storage", "parameters": {}, "stageResults": {}, "progress": stages, "createdAt": time,
        "updatedAt": time,
    }))
    .unwrap()
}

fn ended(outcome: &str) -> Value {
    json!({ "outcome": outcome })
}

fn ran(seconds: u8) -> Value {
    json!({ "planned": true, "total": 4, "completed": 4, "startedAt": "2026-11-30T20:00:00.000000+00:00",
            "finishedAt": format!("2026-11-30T20:00:{seconds:02}.000000+00:00") })
}

#[test]
fn states_are_told_in_words() {
    let none = json!({});
    let until =
        json!({ "waitsForDecision": true, "decideUntil": "2026-12-01T08:30:59.000000+00:00" });
    let child = json!({ "childJobId": "b".repeat(64) });
    let stages = vec![
        stage(1, "a", "tasks", &ran(10), &ended("completed")),
        stage(2, "b", "tasks", &none, &json!({ "waitsFor": 2 })),
        stage(3, "c", "tasks", &none, &json!({ "waitsFor": 1 })),
        stage(4, "d", "tasks", &none, &none),
        stage(5, "e", "tasks", &json!({ "total": 3 }), &none),
        stage(6, "f", "gate", &none, &json!({ "waitsForDecision": true })),
        stage(7, "g", "gate", &none, &until),
        stage(8, "h", "gate", &none, &ended("rejected")),
        stage(9, "i", "decision", &none, &ended("skipped")),
        stage(10, "j", "job", &none, &child),
    ];
    let words = |status: &JobStatusAnswer| -> Vec<String> {
        let states = status
            .progress
            .iter()
            .map(|stage| State::of(stage.node.as_ref().unwrap(), stage, status).words());
        states.collect()
    };
    let mut status = job("processing", stages);
    assert_eq!(
        words(&status),
        [
            "completed",
            "waits for 2 nodes",
            "waits for 1 node",
            "ready",
            "running",
            "waits for a decision",
            "waits for a decision until 2026-12-01 08:30 UTC",
            "rejected",
            "skipped",
            "waits for job bbbbbbbbbbbb",
        ]
    );
    status.paused_at = Some(status.created_at);
    assert_eq!(words(&status)[3], "paused");
    status.status = JobStatus::Cancelled;
    assert_eq!(words(&status)[1], "did not end");
}

#[test]
fn the_time_left_is_that_of_the_longest_way() {
    let none = json!({});
    let needs = |stages: &[u8]| json!({ "needs": stages, "waitsFor": stages.len() });
    let running = json!({ "planned": true, "total": 4, "completed": 1, "etaSeconds": 30.0 });
    let stages = vec![
        stage(1, "a", "tasks", &ran(10), &ended("completed")),
        stage(2, "b", "tasks", &ran(20), &ended("failed")),
        stage(3, "c", "tasks", &running, &none),
        stage(4, "d", "gate", &none, &needs(&[3])),
        stage(5, "e", "tasks", &none, &needs(&[4])),
        stage(6, "f", "tasks", &json!({ "planned": true, "total": 2, "etaSeconds": 40.0 }), &none),
        stage(7, "g", "tasks", &none, &ended("skipped")),
        stage(8, "h", "tasks", &none, &json!({ "follows": [5, 7], "waitsFor": 1 })),
    ];
    let overview = Overview::of(&job("processing", stages));
    // c, then e and h, which take as long as a and b on average.
    assert_eq!(overview.seconds_left, Some(30.0 + 15.0 + 15.0));
    assert_eq!((overview.ended, overview.nodes), (3, 8));
    assert_eq!(
        overview.words(),
        "3 of 8 nodes ended, 40 %, about 1 min 0 s left without the time of decisions"
    );
    let new =
        vec![stage(1, "a", "tasks", &none, &none), stage(2, "b", "tasks", &none, &needs(&[1]))];
    assert_eq!(Overview::of(&job("queued", new)).words(), "0 of 2 nodes ended, 0 %");
}

#[test]
fn a_waiting_gate_comes_with_its_command() {
    let waits = json!({ "waitsForDecision": true });
    let none = json!({});
    let stages = vec![
        stage(1, "ask", "gate", &none, &waits),
        stage(2, "it's fine?", "gate", &none, &waits),
        stage(3, "later", "gate", &none, &json!({ "waitsFor": 1 })),
    ];
    let status = job("processing", stages);
    assert_eq!(
        decisions(&status),
        [
            "lastlight gate aaaaaaaaaaaa ask approve|reject decides at the gate.",
            r"lastlight gate aaaaaaaaaaaa 'it'\''s fine?' approve|reject decides at the gate.",
        ]
    );
    assert_eq!(line(&status.progress[0], &status).unwrap(), "node ask: waits for a decision");
    assert_eq!(line(&status.progress[2], &status), None);
}
