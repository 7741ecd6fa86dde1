//! A workflow of each kind of node, over both paths, also when messages are delivered twice or lost.

use std::time::Duration;

use lastlight_engine::{model::ProcessingPath, transport::sender::QueueRole};
use serde_json::{Value, json};

use super::{app_with, completed, decide, ran, results, until_gate};
use crate::harness::TestApp;

/// A task, a conditional, a fan-out, a fan-in, a gate, and finalize.
const FIVE_NODES: &str = r#"
workflow: five
version: 2
parameters:
  count: {type: int, required: true}
  label: {type: str, default: tile}
nodes:
  list:
    type: task
    handler: numbers
    params: [count]
  size:
    type: conditional
    depends_on: [list]
    condition: params.count
    branches:
      - {name: many, condition: "gt 2", next: [tiles]}
      - {name: few, default: true, next: [alone]}
  tiles:
    type: fan_out
    source: list.result.items
    task:
      handler: echo
      params: {number: "{{ item }}", place: "{{ index }}", label: "{{ inputs.label }}"}
  alone:
    type: task
    handler: echo
    constants: {alone: true}
  all:
    type: fan_in
    depends_on: [tiles]
  approve:
    type: gate
    depends_on: ["all?", "alone?"]
  publish:
    type: task
    handler: echo
    depends_on: [approve]
    receives: {note: approve.result.note, by: approve.by, first: all.items.0.result.label}
finalize:
  handler: show
"#;

const PATHS: [(bool, ProcessingPath); 2] =
    [(false, ProcessingPath::QueueStorage), (true, ProcessingPath::ServiceBus)];

fn tile(number: u64) -> Value {
    json!({ "success": true, "result": { "number": number, "place": number, "label": "tile" } })
}

/// What every run of [`FIVE_NODES`] with this parameter results in.
async fn assert_five(app: &TestApp, job_id: &str, status: &Value, count: u64) {
    assert_eq!(status["status"], "completed", "{status}");
    let tiles: Vec<Value> = (0..count).map(tile).collect();
    assert_eq!(results(app, job_id, "tiles").await, tiles);
    let published = json!({ "note": "fine", "by": "ann", "first": "tile" });
    let wanted = [json!({ "success": true, "result": published })];
    assert_eq!(results(app, job_id, "publish").await, wanted);
    let outcomes = &status["resultData"]["outcomes"];
    assert_eq!(
        outcomes,
        &json!({
            "list": "completed", "size": "completed", "tiles": "completed", "alone": "skipped",
            "all": "completed", "approve": "completed", "publish": "completed", "finalize": "completed",
        })
    );
    app.assert_consistent(job_id).await;
}

#[tokio::test]
async fn a_workflow_of_all_kinds_of_nodes_completes_over_both_paths() {
    let app = app_with(FIVE_NODES).await;
    for (use_service_bus, path) in PATHS {
        let parameters = json!({ "count": 3, "use_service_bus": use_service_bus });
        let job_id = app.submitted("five", parameters).await;
        until_gate(&app, &job_id, "approve").await;
        decide(&app, &job_id, "approve", "approve").await;
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["processingPath"], path.to_string());
        assert_five(&app, &job_id, &status, 3).await;
        let finalize = results(&app, &job_id, "finalize").await.remove(0);
        assert_eq!(
            finalize["result"],
            json!({
                "count": 3, "label": "tile", "use_service_bus": use_service_bus,
                "_run_id": job_id, "_task_name": "finalize", "_workflow": "five",
            })
        );
    }
}

#[tokio::test]
async fn the_default_branch_runs_and_what_depends_on_the_others_is_skipped() {
    let text = FIVE_NODES.replace(", first: all.items.0.result.label", "");
    let app = app_with(&text).await;
    let job_id = app.submitted("five", json!({ "count": 2 })).await;
    until_gate(&app, &job_id, "approve").await;
    decide(&app, &job_id, "approve", "approve").await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(
        status["resultData"]["outcomes"],
        json!({
            "list": "completed", "size": "completed", "tiles": "skipped", "alone": "completed",
            "all": "skipped", "approve": "completed", "publish": "completed", "finalize": "completed",
        })
    );
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_rejected_gate_skips_what_depends_on_it_and_the_job_completes() {
    let app = app_with(FIVE_NODES).await;
    let job_id = app.submitted("five", json!({ "count": 3 })).await;
    until_gate(&app, &job_id, "approve").await;
    decide(&app, &job_id, "approve", "reject").await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    let outcomes = &status["resultData"]["outcomes"];
    assert_eq!(outcomes["approve"], "rejected");
    assert_eq!(outcomes["publish"], "skipped");
    assert_eq!(outcomes["finalize"], "completed");
}

#[tokio::test]
async fn messages_that_come_twice_change_nothing() {
    let app = app_with(FIVE_NODES).await;
    for (use_service_bus, _) in PATHS {
        let parameters = json!({ "count": 5, "use_service_bus": use_service_bus });
        let job_id = app.submitted("five", parameters).await;
        let (mailbox, job, task) = match use_service_bus {
            false => (&app.queue, "process_queue_job", "process_queue_task"),
            true => (&app.bus, "process_sb_job", "process_sb_task"),
        };
        let mut seen = Vec::new();
        let mut is_decided = false;
        loop {
            let status = app.status(&job_id).await;
            if status["status"] == "completed" {
                break;
            }
            let mut delivered = 0;
            for (role, function) in [(QueueRole::Jobs, job), (QueueRole::Tasks, task)] {
                let messages = mailbox.take(role);
                delivered += messages.len();
                app.deliver_each(function, &messages).await;
                app.deliver_each(function, &messages).await;
                seen.extend(messages.into_iter().map(|message| (function, message)));
            }
            if delivered == 0 && !is_decided {
                decide(&app, &job_id, "approve", "approve").await;
                decide(&app, &job_id, "approve", "approve").await;
                is_decided = true;
            }
        }
        // And all of them once more, after the end.
        for (function, message) in &seen {
            app.deliver_each(function, std::slice::from_ref(message)).await;
        }
        assert_five(&app, &job_id, &app.status(&job_id).await, 5).await;
    }
}

#[tokio::test]
async fn messages_that_are_lost_are_sent_again() {
    let app = app_with(FIVE_NODES).await;
    for (use_service_bus, _) in PATHS {
        let parameters = json!({ "count": 4, "use_service_bus": use_service_bus });
        let job_id = app.submitted("five", parameters).await;
        let mailbox = if use_service_bus { &app.bus } else { &app.queue };
        // The first messages of every kind of node are lost.
        for round in 0..6 {
            mailbox.take(QueueRole::Jobs);
            mailbox.take(QueueRole::Tasks);
            app.time_passes(Duration::from_secs(7200)).await;
            app.controller.reconcile().await.unwrap();
            if round % 2 == 1 {
                app.run_dry().await;
            }
        }
        until_gate(&app, &job_id, "approve").await;
        decide(&app, &job_id, "approve", "approve").await;
        mailbox.take(QueueRole::Jobs);
        let status = app.sweep_until_finished(&job_id).await;
        assert_five(&app, &job_id, &status, 4).await;
    }
}

#[tokio::test]
async fn a_process_that_dies_while_a_node_runs_changes_nothing() {
    let app = app_with(FIVE_NODES).await;
    let job_id = app.submitted("five", json!({ "count": 4 })).await;
    let mut is_decided = false;
    for _ in 0..200 {
        let status = app.status(&job_id).await;
        if status["status"] == "completed" {
            break;
        }
        let mut delivered = 0;
        for (role, function) in
            [(QueueRole::Jobs, "process_queue_job"), (QueueRole::Tasks, "process_queue_task")]
        {
            for message in app.queue.take(role) {
                delivered += 1;
                // The connections end in the middle of the work, as with a killed process.
                let (_, ()) = tokio::join!(app.deliver(function, &message.body), async {
                    tokio::task::yield_now().await;
                    app.end_connections().await;
                });
            }
        }
        if delivered == 0 {
            app.time_passes(Duration::from_secs(7200)).await;
            let _ = app.controller.reconcile().await;
            let waits = app.status(&job_id).await["progress"]
                .as_array()
                .unwrap()
                .iter()
                .any(|progress| progress["node"]["waitsForDecision"] == true);
            if waits && !is_decided {
                decide(&app, &job_id, "approve", "approve").await;
                is_decided = true;
            }
        }
    }
    let status = app.sweep_until_finished(&job_id).await;
    assert_five(&app, &job_id, &status, 4).await;
}

#[tokio::test]
async fn a_wrong_node_fails_the_job_with_its_name() {
    let app = app_with(
        "
workflow: wrong
nodes:
  broken: {type: task, handler: fail, constants: {message: no such raster}}
  after: {type: task, handler: echo, depends_on: [broken]}
  aside: {type: task, handler: echo}
finalize: {handler: echo}
",
    )
    .await;
    let ran = ran(&app, "wrong", json!({})).await;
    assert_eq!(ran.status["status"], "failed");
    assert_eq!(
        ran.status["errorDetails"],
        "broken: 1 of 1 tasks failed; first: broken no such raster"
    );
    assert_eq!(ran.outcomes(), "broken failed, after skipped, aside completed, finalize completed");
}

#[tokio::test]
async fn every_task_knows_its_run_its_node_and_its_workflow() {
    let app = app_with(
        "
workflow: known
nodes:
  one: {type: task, handler: show}
  many:
    type: fan_out
    source: one.result._list
    task: {handler: show, params: {}}
    depends_on: [one]
"
        .replace("handler: show}", "handler: show, constants: {_list: [7, 8]}}")
        .as_str(),
    )
    .await;
    let ran = completed(&app, "known", json!({})).await;
    let wanted =
        |node: &str| json!({ "_run_id": ran.job_id, "_task_name": node, "_workflow": "known" });
    let mut one = ran.result(&app, "one").await["result"].clone();
    assert_eq!(one.as_object_mut().unwrap().remove("_list"), Some(json!([7, 8])));
    assert_eq!(one, wanted("one"));
    let many: Vec<Value> =
        ran.results(&app, "many").await.iter().map(|result| result["result"].clone()).collect();
    assert_eq!(many, [wanted("many"), wanted("many")]);
}
