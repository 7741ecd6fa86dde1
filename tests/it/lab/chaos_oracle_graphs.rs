//! The oracle of `lastlight chaos` must find violations in graphs too: each test changes the rows, the log
//! or the ledger of a correct job in one way, and the oracle must report it.

use std::{path::PathBuf, time::Duration};

use axum::http::StatusCode;
use lastlight_engine::model::GateDecision;
use lastlight_testing::{
    graph_work::{Answers, Choice, GRAPH, GateAnswer, GraphWork, Node},
    ledger::{self, JobRuns, Ledger, Run},
    oracle::{ExpectedGraph, Promise, Violation, judge_graph},
    recorder::Recorder,
};
use serde_json::json;

use crate::harness::{GraphJob, OfThisApp, TestApp, quick, until};

/// A finished job, with everything that is known about it.
struct Done {
    app: TestApp,
    recorder: Recorder,
    expected: ExpectedGraph,
    runs: JobRuns,
    _folder: tempfile::TempDir,
}

/// Every kind of node, a skip, and a job that is waited for.
fn work() -> GraphWork {
    let child = GraphWork::new("child", [Node::tasks("in-child", 2)]);
    let nodes = [
        Node::tasks("first", 3).stumbles([1]),
        Node::decision("choose", Choice::these(["ask", "wait"])).needs(["first"]),
        Node::gate("ask").needs(["choose"]),
        Node::tasks("not-chosen", 2).needs(["choose"]),
        Node::job("wait", child).needs(["choose"]),
        Node::tasks("tried", 2).needs(["ask"]).fails([1]).best_effort(),
        Node::tasks("end", 2).needs(["wait"]).follows(["not-chosen", "tried"]).reads("first"),
    ];
    GraphWork::new("oracle", nodes)
}

impl Done {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        let app = TestApp::with_graphs(GraphJob::recording(ledger), quick()).await;
        let recorder = Recorder::new(&app.url).unwrap();
        recorder.install().await.unwrap();
        let work = work();
        let job_id = app.submitted(GRAPH, json!(work)).await;
        let answer = GateAnswer { decision: GateDecision::Approve, value: 5 };
        until("the gate is decided", async || {
            app.run_dry().await;
            let decision = json!({ "decision": "approve", "data": answer.value });
            (app.decide(&job_id, "ask", decision).await.status == StatusCode::OK).then_some(())
        })
        .await;
        app.run_until_finished(&job_id).await;
        let answers = Answers::from([("ask".to_owned(), answer)]);
        let runs = ledger::read(&path).unwrap().remove("oracle").unwrap();
        let expected = ExpectedGraph {
            job_id,
            nodes: work.expected(&answers),
            work,
            within: Duration::from_secs(60),
            may_be_reopened: false,
        };
        Self { app, recorder, expected, runs, _folder: folder }
    }

    async fn violations(&self) -> Vec<Violation> {
        let facts = self.recorder.graph(&self.expected.job_id).await.unwrap().unwrap();
        judge_graph(&self.expected, &facts, &self.runs).violations
    }

    /// What the oracle finds after this statement changed a correct job.
    async fn found_after(statement: &'static str) -> Vec<(Promise, String)> {
        let done = Self::new().await;
        assert_eq!(done.violations().await, []);
        let mut connection = done.app.connection().await;
        let changed = sqlx::query(statement).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement} met nothing");
        said(done.violations().await)
    }
}

fn said(violations: Vec<Violation>) -> Vec<(Promise, String)> {
    violations.into_iter().map(|violation| (violation.promise, violation.detail)).collect()
}

fn assert_found(found: &[(Promise, String)], promise: Promise, what: &str) {
    let is_it = |(broken, detail): &(Promise, String)| *broken == promise && detail.contains(what);
    assert!(found.iter().any(is_it), "no {what:?} in {found:?}");
}

#[tokio::test]
async fn a_correct_graph_and_its_child_have_no_violations() {
    let done = Done::new().await;
    assert_eq!(done.violations().await, []);
    let children = done.expected.children().unwrap();
    assert_eq!(children.len(), 1);
    let facts = done.recorder.graph(&children[0].job_id).await.unwrap().unwrap();
    let path = done._folder.path().join("ledger");
    let runs = ledger::read(&path).unwrap().remove("child").unwrap();
    let judgement = judge_graph(&children[0], &facts, &runs);
    assert_eq!((judgement.violations, judgement.outcomes, judgement.runs), (Vec::new(), 2, 2));
}

#[tokio::test]
async fn the_oracle_finds_a_node_with_another_outcome() {
    let found = Done::found_after("UPDATE stages SET outcome = 'completed' WHERE name = 'tried'");
    let found = found.await;
    assert_found(&found, Promise::NothingLost, "another outcome than expected");
    assert_found(&found, Promise::StagesInTurn, "did not begin and end once");
}

#[tokio::test]
async fn the_oracle_finds_a_node_that_ended_twice() {
    let found = Done::found_after("UPDATE stages SET outcome = outcome WHERE name = 'end'").await;
    assert_found(&found, Promise::StagesInTurn, r#"("end", "ended", 2, 0)"#);
}

#[tokio::test]
async fn the_oracle_finds_a_node_that_became_ready_twice() {
    let found = Done::found_after(
        "INSERT INTO chaos.node_changes (job_id, stage, what)
         SELECT job_id, stage, 'ready' FROM chaos.node_changes WHERE stage = 7 AND what = 'ready'",
    );
    assert_found(&found.await, Promise::StagesInTurn, r#"("end", "ready", 2, 0)"#);
}

#[tokio::test]
async fn the_oracle_finds_a_task_of_a_skipped_node() {
    let found = Done::found_after(
        "INSERT INTO tasks (parent_job_id, stage, task_id, ordinal, status, job_type, task_type, task_index, batch_id, parameters)
         SELECT parent_job_id, 4, task_id, ordinal, status, job_type, task_type, task_index, batch_id, parameters
         FROM tasks WHERE stage = 1 AND task_index = 't-0'",
    );
    let found = found.await;
    assert_found(&found, Promise::NothingTwice, "tasks that were not planned");
    assert_found(&found, Promise::CountersAgree, "differ from a recount");
}

#[tokio::test]
async fn the_oracle_finds_a_task_that_began_before_a_node_that_it_depends_on_ended() {
    // By the database: `tried`, which `end` only follows, ends after `end` has begun.
    let found = Done::found_after(
        "UPDATE chaos.node_changes SET at = now() + interval '1 hour' WHERE stage = 6 AND what = 'ended'",
    );
    assert_found(&found.await, Promise::StagesInTurn, "task 0 in the database");
    // By the ledger.
    let mut done = Done::new().await;
    let run: &mut Run = done.runs.get_mut(&(7, 1)).unwrap().first_mut().unwrap();
    run.began -= 3_600_000_000;
    let found = said(done.violations().await);
    assert_found(&found, Promise::StagesInTurn, "task 1 in the ledger");
}

#[tokio::test]
async fn the_oracle_finds_a_second_decision_and_one_that_came_too_early() {
    let found = Done::found_after("UPDATE stages SET decision = 'approve' WHERE name = 'ask'");
    assert_found(&found.await, Promise::NothingTwice, "gates without their one decision");
    let found = Done::found_after(
        "UPDATE chaos.node_changes SET at = now() - interval '1 hour' WHERE what = 'decided' AND stage = 3",
    );
    assert_found(&found.await, Promise::StagesInTurn, "Decided(Approve)");
}

#[tokio::test]
async fn the_oracle_finds_a_decision_with_another_result() {
    let found = Done::found_after(
        r#"UPDATE stages SET output = '{"decision": "approve", "result": 6}' WHERE name = 'ask'"#,
    );
    assert_found(&found.await, Promise::NothingTwice, "gates without their one decision");
}

#[tokio::test]
async fn the_oracle_finds_a_node_that_waited_for_another_job() {
    let found =
        Done::found_after("UPDATE stages SET child_job_id = job_id WHERE name = 'wait'").await;
    assert_found(&found, Promise::NothingTwice, "did not wait for their job");
}

#[tokio::test]
async fn the_oracle_finds_a_result_that_was_counted_twice() {
    let found = Done::found_after(
        r#"UPDATE stages SET result = '{"summary": {"count": 3, "sum": 1}}' WHERE name = 'first'"#,
    );
    assert_found(&found.await, Promise::CountersAgree, "results that differ");
}

#[tokio::test]
async fn the_oracle_finds_a_task_with_two_outcomes() {
    let found = Done::found_after(
        "UPDATE tasks SET status = 'completed' WHERE stage = 7 AND task_index = 't-0'",
    );
    assert_found(&found.await, Promise::NothingTwice, "several outcomes");
}

#[tokio::test]
async fn the_oracle_finds_a_graph_that_never_ended() {
    let found = Done::found_after(
        "UPDATE jobs SET status = 'processing', finished_at = NULL WHERE job_type = 'graph' AND is_child IS NULL",
    );
    assert_found(&found.await, Promise::NothingStuck, "the job is processing");
}
