//! Graphs after crashes and losses: whatever moment a process dies at, the sweep finds what is left
//! to do in PostgreSQL, and no node runs twice.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{
    model::ProcessingPath,
    transport::sender::{OutgoingMessage, QueueRole},
};
use lastlight_testing::graph_work::{Answers, Choice, GRAPH, GraphWork, Node};
use serde_json::{Value, json};

use super::graphs::{assert_as_expected, outcomes, submitted};
use crate::harness::{GraphJob, OfThisApp, TestApp, catalog, quick, until, until_idle};

/// Longer than every lease, grace period and pause.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// Every kind of node, with skips, so that the end of one node ends several others.
fn of_every_kind() -> GraphWork {
    GraphWork::new(
        "t",
        [
            Node::tasks("a", 2),
            Node::tasks("b", 1).fails([0]).best_effort(),
            Node::decision("choose", Choice::these(["small"])).needs(["a"]).follows(["b"]),
            Node::tasks("small", 2).needs(["choose"]).reads("a").stumbles([0]),
            Node::tasks("large", 2).needs(["choose"]),
            Node::tasks("larger", 2).needs(["large"]),
            Node::decision("again", Choice::ByInput).follows(["large"]).needs(["small"]),
            Node::tasks("x", 1).needs(["again"]),
            Node::tasks("y", 1).needs(["again"]),
            Node::tasks("end", 3).follows(["x", "y", "larger"]).reads("small"),
        ],
    )
}

#[tokio::test]
async fn a_decision_that_a_dead_process_left_is_taken() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 1),
        Node::decision("choose", Choice::these(["b"])).needs(["a"]).holding(),
        Node::tasks("b", 1).needs(["choose"]),
        Node::tasks("c", 1).needs(["choose"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let task = app.planned().await.remove(0);
    // Dropped after the end of `a` was stored and while the decision is taken, as by a kill.
    tokio::select! {
        answer = app.deliver("process_queue_task", &task.body) => panic!("it is decided: {answer:?}"),
        () = until("it decides", async || job.runs().contains_key("choose/decision").then_some(())) => {}
    }
    assert_eq!(outcomes(&app.status(&job_id).await)["choose"], Value::Null);
    job.release();
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.stages_advanced, 1, "{report:?}");
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
}

#[tokio::test]
async fn a_node_that_a_dead_process_left_is_ended() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [Node::tasks("a", 1), Node::tasks("b", 1).needs(["a"])];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let task = app.planned().await.remove(0);
    let mut connection = app.connection().await;
    // As if the process had died after recording the last outcome and before ending the node.
    let value = work.expected(&Answers::new())[0].sum();
    sqlx::query("UPDATE tasks SET status = 'completed', finished_at = now(), started_at = now(), result_data = $1::json")
        .bind(json!({ "node": "a", "number": 0, "value": value }).to_string())
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("UPDATE stages SET completed = 1 WHERE stage = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    // Either its message is redelivered, …
    app.deliver("process_queue_task", &task.body).await;
    assert_eq!(app.queue.count(QueueRole::Jobs), 1);
    // … or the sweep finds it, which then has nothing to do.
    assert_eq!(app.controller.reconcile().await.unwrap().stages_advanced, 0);
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert_eq!(job.runs().get("a/0"), None);
}

#[tokio::test]
async fn job_messages_that_were_not_sent_are_sent_later() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 1),
        Node::tasks("b", 1).needs(["a"]),
        Node::tasks("c", 1).needs(["a"]),
        Node::tasks("d", 1).needs(["b", "c"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let task = app.planned().await.remove(0);
    app.queue.set_down(true);
    app.deliver("process_queue_task", &task.body).await;
    app.queue.set_down(false);
    assert_eq!(app.queue.count(QueueRole::Jobs), 0);
    app.time_passes(quick().send_grace).await;
    assert_eq!(app.controller.reconcile().await.unwrap().job_messages_sent, 2);
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert!(job.runs().values().all(|runs| *runs == 1));
}

#[tokio::test]
async fn emptied_queues_only_delay_a_graph() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let work = of_every_kind();
    let job_id = submitted(&app, &work).await;
    for round in 0.. {
        // Every other message is lost.
        for (role, function) in
            [(QueueRole::Jobs, "process_queue_job"), (QueueRole::Tasks, "process_queue_task")]
        {
            for (number, message) in app.queue.take(role).into_iter().enumerate() {
                if (number + round) % 2 == 0 {
                    app.deliver(function, &message.body).await;
                }
            }
        }
        let status = app.status(&job_id).await;
        if status["status"] == "completed" {
            break;
        }
        assert!(round < 60, "the job is stuck: {status:#}");
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
    }
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert_eq!(job.runs()["a/0"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_any_moment_of_a_graph() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let mut watcher = app.connection().await;
    for seed in 0..5 {
        let mut random = fastrand::Rng::with_seed(seed);
        let use_service_bus = random.bool();
        let work = GraphWork { tag: format!("seed-{seed}"), use_service_bus, ..of_every_kind() };
        let job_id = submitted(&app, &work).await;
        let mut rounds = 0;
        while !["completed", "failed"]
            .contains(&app.status(&job_id).await["status"].as_str().unwrap())
        {
            rounds += 1;
            assert!(rounds < 200, "seed {seed}: the job is stuck: {:#}", app.status(&job_id).await);
            // Later processes live longer, so that every machine is fast enough in the end.
            let mut moment =
                |longest: u64| Duration::from_micros(random.u64(300..longest * (1 + rounds / 10)));
            for (function, message) in taken(&app) {
                let delivery = app.deliver(function, &message.body);
                if tokio::time::timeout(moment(9_000), delivery).await.is_err() {
                    until_idle(&mut watcher).await;
                }
            }
            app.time_passes(AN_HOUR).await;
            if tokio::time::timeout(moment(60_000), app.controller.reconcile()).await.is_err() {
                until_idle(&mut watcher).await;
            }
        }
        let status = app.status(&job_id).await;
        // A task whose process dies too often fails, and the job with it.
        if status["status"] == "completed" {
            assert_eq!(
                work.differences(&Answers::new(), &status),
                Vec::<String>::new(),
                "seed {seed}"
            );
        }
        app.assert_consistent(&job_id).await;
    }
}

/// All visible messages, with the function that takes each.
fn taken(app: &TestApp) -> Vec<(&'static str, OutgoingMessage)> {
    let mailboxes = [
        (&app.queue, QueueRole::Jobs, "process_queue_job"),
        (&app.queue, QueueRole::Tasks, "process_queue_task"),
        (&app.bus, QueueRole::Jobs, "process_sb_job"),
        (&app.bus, QueueRole::Tasks, "process_sb_task"),
    ];
    mailboxes
        .into_iter()
        .flat_map(|(mailbox, role, function)| {
            mailbox.take(role).into_iter().map(move |message| (function, message))
        })
        .collect()
}

#[tokio::test]
async fn a_decision_at_a_gate_survives_the_death_of_its_process() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::gate("ask"),
        Node::decision("choose", Choice::All).needs(["ask"]).holding(),
        Node::tasks("b", 1).needs(["choose"]),
    ];
    let job_id = submitted(&app, &GraphWork::new("t", nodes)).await;
    let approve = json!({ "decision": "approve" });
    // Dropped after the decision was stored.
    tokio::select! {
        answer = app.decide(&job_id, "ask", approve.clone()) => panic!("it is answered: {answer:?}"),
        () = until("it decides", async || job.runs().contains_key("choose/decision").then_some(())) => {}
    }
    job.release();
    // The client repeats its request.
    let answer = app.decide(&job_id, "ask", approve).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let status = app.sweep_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_gate_that_was_decided_and_not_ended_is_ended_by_the_sweep() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [Node::gate("ask"), Node::tasks("b", 1).needs(["ask"])];
    let job_id = submitted(&app, &GraphWork::new("t", nodes)).await;
    // As if the process had died after storing the decision and before ending the gate.
    sqlx::query(
        "UPDATE stages SET planned_at = now(), decision = 'approve', output = '{\"success\": true, \"result\": null}'
         WHERE stage = 1",
    )
    .execute(&mut app.connection().await)
    .await
    .unwrap();
    assert_eq!(app.controller.reconcile().await.unwrap().stages_advanced, 1);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_retry_that_dies_half_way_can_be_repeated() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let mut watcher = app.connection().await;
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes = [
            Node::tasks("a", 120),
            Node::tasks("b", 120),
            Node::tasks("c", 2).needs(["a", "b"]),
            Node::tasks("d", 2).follows(["a"]),
        ];
        let work = GraphWork::new(&format!("seed-{seed}"), nodes);
        let job_id = submitted(&app, &work).await;
        let tasks = app.planned().await;
        app.deliver_each("process_queue_task", &tasks[..30]).await;
        app.control("cancel", &job_id).await;
        let moment = Duration::from_micros(random.u64(500..25_000));
        if tokio::time::timeout(moment, app.control("retry", &job_id)).await.is_err() {
            until_idle(&mut watcher).await;
        }
        app.time_passes(AN_HOUR).await;
        app.controller.reconcile().await.unwrap();
        if app.status(&job_id).await["status"] == "cancelled" {
            let again = app.control("retry", &job_id).await;
            assert_eq!(again.status, StatusCode::OK, "seed {seed}: {}", again.body);
        }
        app.sweep_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    }
}

#[tokio::test]
async fn job_messages_of_nodes_that_are_not_ready_change_nothing() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes =
        [Node::tasks("a", 1), Node::gate("ask").needs(["a"]), Node::tasks("b", 1).needs(["ask"])];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let of_stage = |stage: u64| {
        let body = json!({ "job_id": job_id, "job_type": GRAPH, "stage": stage, "parameters": {},
                           "timestamp": "2026-11-25T10:00:00.000000+00:00" });
        body.to_string()
    };
    for function in ["process_queue_job", "process_sb_job"] {
        for stage in [2, 3] {
            let answer = app.deliver(function, &of_stage(stage)).await;
            assert_eq!(answer.status, StatusCode::OK, "{stage}: {}", answer.body);
        }
        // Redelivered until it is dead-lettered.
        let answer = app.deliver(function, &of_stage(4)).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    }
    assert_eq!(job.runs().len(), 0);
    app.run_dry().await;
    // The first node has ended, and the gate waits.
    for stage in [1, 2, 3] {
        let answer = app.deliver("process_queue_job", &of_stage(stage)).await;
        assert_eq!(answer.status, StatusCode::OK, "{stage}: {}", answer.body);
    }
    assert_eq!(job.runs().len(), 1);
    assert_eq!(app.queue.count(QueueRole::Tasks), 0);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_dead_lettered_job_message_fails_a_node_that_is_ready_only() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [Node::tasks("a", 1), Node::tasks("b", 1), Node::tasks("c", 1).needs(["a", "b"])];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let mut messages = app.queue.take(QueueRole::Jobs);
    messages.sort_by_key(|message| message.body.contains("\"stage\":2"));
    let early = messages[0].body.replace("\"stage\":1", "\"stage\":3");
    assert_ne!(early, messages[0].body);
    let second = messages.pop().unwrap();
    app.deliver("process_queue_job", &second.body).await;
    // The new messages in place of one that was delivered too often are delivered too often as well.
    let mut of_first = messages;
    while let Some(message) = of_first.pop() {
        app.deliver("process_queue_job_poison", &early).await;
        assert_eq!(app.status(&job_id).await["status"], "processing");
        app.deliver("process_queue_job_poison", &message.body).await;
        let of_third = |message: &OutgoingMessage| message.body.contains("\"stage\":3");
        of_first = app.queue.take(QueueRole::Jobs);
        of_first.retain(|message| !of_third(message));
    }
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "failed", "{status}");
    app.controller.reconcile().await.unwrap();
    app.assert_consistent(&job_id).await;
    assert_eq!(app.audit(&job_id).await["consistent"], true);
    app.control("retry", &job_id).await;
    app.sweep_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
}

#[tokio::test]
async fn handlers_of_both_kinds_of_queues_share_a_graph() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let other = TestApp::on(&app.url, job.clone().add_to(catalog()), quick()).await;
    let mut jobs = Vec::new();
    for (number, path) in ProcessingPath::ALL.into_iter().cycle().take(6).enumerate() {
        let work = GraphWork {
            tag: format!("job-{number}"),
            use_service_bus: path == ProcessingPath::ServiceBus,
            ..of_every_kind()
        };
        jobs.push((submitted(&app, &work).await, work));
    }
    for (job_id, work) in &jobs {
        until("it is finished", async || {
            tokio::join!(app.run_dry(), other.run_dry());
            (app.status(job_id).await["status"] == "completed").then_some(())
        })
        .await;
        assert_as_expected(&app, job_id, work, &Answers::new()).await;
    }
}
