//! Changes of a job whose stages form a graph: an operator can pause, cancel and retry it, also while
//! several nodes are open.

use axum::http::StatusCode;
use lastlight_engine::transport::sender::QueueRole;
use lastlight_testing::graph_work::{Answers, Choice, GraphWork, Node};
use serde_json::json;

use super::graphs::{assert_as_expected, submitted};
use crate::harness::{GraphJob, OfThisApp, TestApp, quick};

#[tokio::test]
async fn a_retry_takes_a_failed_decision_again() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 1),
        Node::decision("choose", Choice::All).needs(["a"]).fails([0]),
        Node::tasks("b", 1).needs(["choose"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let status = app.run_until_finished(&job_id).await;
    let reason = "choose: a decision that fails by request of the job";
    assert_eq!(status["errorDetails"], reason);
    job.repair();
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work.without_failures(), &Answers::new()).await;
    assert_eq!(job.runs()["a/0"], 1);
}

#[tokio::test]
async fn a_plan_that_fails_fails_its_node_and_a_retry_makes_it_again() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 2),
        Node::tasks("b", 2).needs(["a"]).plan_fails(),
        Node::tasks("c", 1).needs(["b"]),
        Node::tasks("beside", 2).needs(["a"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["errorDetails"], "b: a plan that fails by request of the job");
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    job.repair();
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work.without_failures(), &Answers::new()).await;
    assert!(job.runs().values().all(|runs| *runs == 1), "{:?}", job.runs());
}

#[tokio::test]
async fn a_retry_runs_what_failed_and_what_waited_for_it() {
    for use_service_bus in [false, true] {
        let job = GraphJob::default();
        let app = TestApp::with_graphs(job.clone(), quick()).await;
        let nodes = [
            Node::tasks("a", 3).fails([1]),
            Node::tasks("b", 2).needs(["a"]),
            Node::tasks("beside", 2),
            Node::tasks("after", 1).follows(["a"]),
            Node::tasks("not-chosen", 1).needs(["choose"]),
            Node::tasks("end", 1).needs(["b", "beside"]),
        ];
        let mut nodes = nodes.to_vec();
        nodes.insert(4, Node::decision("choose", Choice::these([])).needs(["beside"]));
        let work = GraphWork { use_service_bus, ..GraphWork::new("t", nodes) };
        let job_id = submitted(&app, &work).await;
        app.run_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
        let failed_runs = job.runs();
        job.repair();
        let answer = app.control("retry", &job_id).await;
        assert_eq!(answer.body["tasks_reset"], 1, "{}", answer.body);
        assert_eq!(
            answer.body["message"],
            "The job continues with a; 1 tasks run again, completed tasks keep their results."
        );
        app.run_until_finished(&job_id).await;
        let repaired = work.without_failures();
        // What only followed the failure has completed with what there was then.
        let status = app.status(&job_id).await;
        let differences: Vec<String> = repaired
            .differences(&Answers::new(), &status)
            .into_iter()
            .filter(|difference| {
                difference
                    != &format!(
                        "the sum of after is {}, not {}",
                        work.expected(&Answers::new())[3].sum(),
                        repaired.expected(&Answers::new())[3].sum()
                    )
            })
            .collect();
        assert_eq!(differences, Vec::<String>::new(), "{status:#}");
        app.assert_consistent(&job_id).await;
        for (task, runs) in job.runs() {
            let expected = if task == "a/1" { 2 } else { 1 };
            assert_eq!(runs, expected, "{task}; at first {failed_runs:?}");
        }
    }
}

#[tokio::test]
async fn a_pause_holds_every_node_that_becomes_ready() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 1),
        Node::tasks("b", 1),
        Node::tasks("after-a", 2).needs(["a"]),
        Node::tasks("after-b", 2).needs(["b"]),
        Node::tasks("end", 1).needs(["after-a", "after-b"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let tasks = app.planned().await;
    let answer = app.control("pause", &job_id).await;
    assert_eq!(
        (&answer.body["paused"], &answer.body["pause_requested"]),
        (&json!(false), &json!(true))
    );
    app.deliver_each("process_queue_task", &tasks).await;
    // Long after the time after which a job message is presumed lost.
    for _ in 0..4 {
        app.time_passes(std::time::Duration::from_secs(3600)).await;
        app.controller.reconcile().await.unwrap();
        app.run_dry().await;
    }
    let status = app.status(&job_id).await;
    assert!(status["pausedAt"].is_string(), "{status}");
    assert_eq!(job.runs().len(), 2, "{:?}", job.runs());
    let answer = app.control("resume", &job_id).await;
    assert_eq!(answer.body["paused"], false, "{}", answer.body);
    assert_eq!(app.queue.count(QueueRole::Jobs), 2, "both start again");
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert!(job.runs().values().all(|runs| *runs == 1));
}

#[tokio::test]
async fn a_graph_is_paused_before_it_begins() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let work = GraphWork::new(
        "t",
        [Node::tasks("a", 1), Node::tasks("b", 1), Node::tasks("c", 1).needs(["a", "b"])],
    );
    let job_id = submitted(&app, &work).await;
    assert_eq!(app.control("pause", &job_id).await.body["paused"], true);
    app.run_dry().await;
    assert!(job.runs().is_empty(), "{:?}", job.runs());
    app.control("resume", &job_id).await;
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
}

#[tokio::test]
async fn cancelling_closes_every_open_node() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::tasks("a", 5),
        Node::tasks("b", 150),
        Node::gate("ask"),
        Node::tasks("c", 1).needs(["a", "b", "ask"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let tasks = app.planned().await;
    app.deliver_each("process_queue_task", &tasks[..7]).await;
    let done = job.runs().len() as u64;
    let answer = app.control("cancel", &job_id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["tasks_skipped"], 155 - done, "{}", answer.body);
    app.deliver_each("process_queue_task", &tasks).await;
    assert_eq!(job.runs().len() as u64, done);
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "cancelled");
    app.assert_consistent(&job_id).await;
    assert_eq!(app.audit(&job_id).await["consistent"], true);
    assert_eq!(
        app.controller.reconcile().await.unwrap(),
        lastlight_engine::workflow::ReconcileReport::default(),
        "there is nothing left to do"
    );

    // And all of it continues after a retry.
    app.control("retry", &job_id).await;
    app.run_dry().await;
    let approve = json!({ "decision": "approve" });
    assert_eq!(app.decide(&job_id, "ask", approve).await.status, StatusCode::OK);
    assert_eq!(app.run_until_finished(&job_id).await["status"], "completed");
    app.assert_consistent(&job_id).await;
    assert!(job.runs().values().all(|runs| *runs == 1));
}
