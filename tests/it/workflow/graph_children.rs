//! Nodes that wait for jobs of their own: such a job is submitted once, and the node ends with it.

use axum::http::StatusCode;
use lastlight_testing::graph_work::{Answers, GraphWork, Node};

use super::graphs::{assert_as_expected, outcomes, submitted};
use crate::harness::{GraphJob, OfThisApp, TestApp, quick};

/// A job that waits for another between two nodes.
fn waiting_for(child: GraphWork) -> GraphWork {
    let nodes = [
        Node::tasks("first", 2),
        Node::job("wait", child).needs(["first"]),
        Node::tasks("then", 2).needs(["wait"]),
    ];
    GraphWork::new("parent", nodes)
}

fn child() -> GraphWork {
    GraphWork::new("child", [Node::tasks("in-child", 2)])
}

fn failing_child() -> GraphWork {
    GraphWork::new("child", [Node::tasks("in-child", 2).fails([1])])
}

#[tokio::test]
async fn a_node_ends_with_the_job_that_it_submits_and_gives_on_its_result() {
    for (use_service_bus, child_on_service_bus) in [(false, true), (true, false)] {
        let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
        let child = GraphWork { use_service_bus: child_on_service_bus, ..child() };
        let work = GraphWork { use_service_bus, ..waiting_for(child.clone()) };
        let job_id = submitted(&app, &work).await;
        app.run_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
        assert_as_expected(&app, &child.job_id().unwrap(), &child, &Answers::new()).await;
    }
}

#[tokio::test]
async fn two_nodes_that_submit_the_same_job_wait_for_one() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let nodes = [
        Node::job("one", child()),
        Node::job("two", child()),
        Node::tasks("end", 1).needs(["one", "two"]),
    ];
    let work = GraphWork::new("parent", nodes);
    let job_id = submitted(&app, &work).await;
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert_eq!(job.runs()["in-child/0"], 1);
}

#[tokio::test]
async fn a_retry_retries_the_job_that_failed_the_node() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let work = waiting_for(failing_child());
    let job_id = submitted(&app, &work).await;
    let status = app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    let reason = status["errorDetails"].as_str().unwrap();
    assert!(reason.contains("wait") && reason.contains("is failed"), "{reason}");
    job.repair();
    assert_eq!(app.control("retry", &job_id).await.status, StatusCode::OK);
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work.without_failures(), &Answers::new()).await;
    let runs = job.runs();
    assert_eq!((runs["first/0"], runs["in-child/0"], runs["in-child/1"]), (1, 1, 2));
}

#[tokio::test]
async fn a_job_that_failed_after_its_submitter_died_is_not_run_again() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let work = GraphWork::new("parent", [Node::job("wait", failing_child())]);
    let job_id = submitted(&app, &work).await;
    let mut connection = app.connection().await;
    // As if the process had died after it submitted the job and before it noted that.
    for statement in [
        "UPDATE stages SET child_job_id = NULL WHERE name = 'wait'",
        "UPDATE jobs SET is_child = NULL WHERE is_child",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    app.run_dry().await;
    assert_eq!(app.status(&failing_child().job_id().unwrap()).await["status"], "failed");
    assert_eq!(outcomes(&app.status(&job_id).await)["wait"], serde_json::Value::Null);
    let report = app.controller.reconcile().await.unwrap();
    assert_eq!(report.jobs_awaited, 1, "{report:?}");
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
    assert_eq!(job.runs()["in-child/1"], 1);
}

#[tokio::test]
async fn a_job_that_failed_before_a_node_was_ready_to_wait_for_it_is_retried() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let failed = submitted(&app, &failing_child()).await;
    app.run_until_finished(&failed).await;
    job.repair();
    let work = waiting_for(failing_child());
    let job_id = submitted(&app, &work).await;
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work.without_failures(), &Answers::new()).await;
    assert_eq!(job.runs()["in-child/1"], 2);
}

#[tokio::test]
async fn cancelling_a_job_cancels_the_job_that_it_waits_for() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let work = GraphWork::new("parent", [Node::job("wait", child())]);
    let job_id = submitted(&app, &work).await;
    assert_eq!(app.control("cancel", &job_id).await.status, StatusCode::OK);
    assert_eq!(app.status(&child().job_id().unwrap()).await["status"], "cancelled");
    app.run_dry().await;
    assert!(job.runs().is_empty(), "{:?}", job.runs());
}
