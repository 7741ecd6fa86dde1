//! Gates: a node that waits, at no cost, for what a user decides: for days, through restarts. The
//! first decision counts.

use std::time::Duration;

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, model::GateDecision};
use lastlight_testing::graph_work::{Answers, Choice, GateAnswer, GraphWork, Node};
use serde_json::{Value, json};

use super::graphs::{assert_as_expected, outcomes, submitted};
use crate::harness::{GraphJob, OfThisApp, TestApp, catalog, quick};

/// A job that asks before it publishes.
fn asking() -> GraphWork {
    GraphWork::new(
        "t",
        [
            Node::tasks("build", 2),
            Node::gate("ask").needs(["build"]),
            Node::tasks("publish", 1).needs(["ask"]),
            Node::tasks("tidy", 1).follows(["ask"]),
        ],
    )
}

fn answers(decision: GateDecision, value: u64) -> Answers {
    Answers::from([("ask".to_owned(), GateAnswer { decision, value })])
}

/// A job whose gate waits for a decision.
async fn waiting(work: &GraphWork) -> (TestApp, String) {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let job_id = submitted(&app, work).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["progress"][1]["node"]["waitsForDecision"], true, "{status}");
    (app, job_id)
}

#[tokio::test]
async fn an_approved_gate_passes_its_data_on() {
    for use_service_bus in [false, true] {
        let work = GraphWork { use_service_bus, ..asking() };
        let (app, job_id) = waiting(&work).await;
        let request =
            json!({ "decision": "approve", "by": "ada", "comment": "looks right", "data": 4711 });
        let answer = app.decide(&job_id, "ask", request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.body["message"], "The job continues after the gate.");
        let output = &answer.body["output"];
        assert_eq!(
            (&output["by"], &output["comment"], &output["result"], &output["success"]),
            (&json!("ada"), &json!("looks right"), &json!(4711), &json!(true))
        );
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(&status["progress"][1]["node"]["output"], output);
        assert_as_expected(&app, &job_id, &work, &answers(GateDecision::Approve, 4711)).await;
    }
}

#[tokio::test]
async fn a_rejected_gate_skips_what_needs_it() {
    let work = asking();
    let (app, job_id) = waiting(&work).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "reject", "data": 5 })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let status = app.run_until_finished(&job_id).await;
    // To reject is no failure.
    assert_eq!(status["status"], "completed");
    let ended = outcomes(&status);
    assert_eq!(
        (&ended["ask"], &ended["publish"], &ended["tidy"]),
        (&json!("rejected"), &json!("skipped"), &json!("completed"))
    );
    assert_as_expected(&app, &job_id, &work, &answers(GateDecision::Reject, 5)).await;
}

#[tokio::test]
async fn a_gate_waits_through_restarts_and_costs_nothing() {
    let work = asking();
    let (app, job_id) = waiting(&work).await;
    let other = TestApp::on(&app.url, GraphJob::default().add_to(catalog()), quick()).await;
    for _ in 0..3 {
        app.time_passes(Duration::from_secs(24 * 3600)).await;
        assert_eq!(
            other.controller.reconcile().await.unwrap(),
            lastlight_engine::workflow::ReconcileReport::default()
        );
    }
    let answer = other.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    other.run_until_finished(&job_id).await;
    assert_as_expected(&other, &job_id, &work, &answers(GateDecision::Approve, 0)).await;
}

#[tokio::test]
async fn a_gate_whose_time_has_passed_is_decided() {
    for decision in [GateDecision::Approve, GateDecision::Reject, GateDecision::Fail] {
        let mut work = asking();
        work.nodes[1] = work.nodes[1].clone().timeout(3600, decision);
        let (app, job_id) = waiting(&work).await;
        app.controller.reconcile().await.unwrap();
        assert_eq!(app.status(&job_id).await["status"], "processing");
        sqlx::query("UPDATE stages SET created_at = created_at - interval '59 minutes'")
            .execute(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(app.controller.reconcile().await.unwrap().gates_timed_out, 0);
        sqlx::query("UPDATE stages SET created_at = created_at - interval '2 minutes'")
            .execute(&mut app.connection().await)
            .await
            .unwrap();
        assert_eq!(app.controller.reconcile().await.unwrap().gates_timed_out, 1);
        let status = app.run_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
        let output = &status["progress"][1]["node"]["output"];
        assert_eq!(output["comment"], "nobody decided within 3600 s", "{status}");
        if decision == GateDecision::Fail {
            assert_eq!(status["errorDetails"], "ask: nobody decided in time");
            // It waits again after a retry, with all of its time.
            app.control("retry", &job_id).await;
            assert_eq!(app.controller.reconcile().await.unwrap().gates_timed_out, 0);
            let approve = json!({ "decision": "approve" });
            assert_eq!(app.decide(&job_id, "ask", approve).await.status, StatusCode::OK);
            let ended = outcomes(&app.run_until_finished(&job_id).await);
            assert_eq!(
                (&ended["ask"], &ended["publish"]),
                (&json!("completed"), &json!("completed"))
            );
            app.assert_consistent(&job_id).await;
        }
    }
}

#[tokio::test]
async fn the_same_decision_may_be_repeated() {
    let work = asking();
    let (app, job_id) = waiting(&work).await;
    let first = app.decide(&job_id, "ask", json!({ "decision": "approve", "by": "ada" })).await;
    for moment in ["before the end", "after the end"] {
        let again = app.decide(&job_id, "ask", json!({ "decision": "approve", "by": "eve" })).await;
        assert_eq!(again.status, StatusCode::OK, "{moment}: {}", again.body);
        assert_eq!(again.body["output"], first.body["output"], "{moment}: the first one counts");
        let said = "The gate was decided like this before; nothing changed.";
        assert_eq!(again.body["message"], said, "{moment}");
        app.run_until_finished(&job_id).await;
    }
    assert_as_expected(&app, &job_id, &work, &answers(GateDecision::Approve, 0)).await;
}

#[tokio::test]
async fn another_decision_afterwards_answers_409() {
    let (app, job_id) = waiting(&asking()).await;
    app.decide(&job_id, "ask", json!({ "decision": "reject", "by": "ada" })).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.starts_with("gate \"ask\" was decided before: reject by ada at "), "{message}");
    app.run_until_finished(&job_id).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_decisions_at_once_one_counts() {
    for round in 0..10 {
        let work = GraphWork { tag: format!("round-{round}"), ..asking() };
        let (app, job_id) = waiting(&work).await;
        let (approve, reject) = tokio::join!(
            app.decide(&job_id, "ask", json!({ "decision": "approve" })),
            app.decide(&job_id, "ask", json!({ "decision": "reject" })),
        );
        let decision = match (approve.status, reject.status) {
            (StatusCode::OK, StatusCode::CONFLICT) => GateDecision::Approve,
            (StatusCode::CONFLICT, StatusCode::OK) => GateDecision::Reject,
            other => panic!("{other:?}: {} {}", approve.body, reject.body),
        };
        app.run_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &answers(decision, 0)).await;
    }
}

#[tokio::test]
async fn a_gate_that_does_not_wait_yet_answers_409() {
    let app = TestApp::with_graphs(GraphJob::default(), Timing::default()).await;
    let work = asking();
    let job_id = submitted(&app, &work).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    assert_eq!(
        answer.body["message"],
        "gate \"ask\" does not wait for a decision yet: 1 of the nodes that it depends on have not ended"
    );
    app.run_dry().await;
    assert_eq!(app.status(&job_id).await["status"], "processing", "it still waits");
}

#[tokio::test]
async fn a_gate_of_a_finished_job_answers_409() {
    let (app, job_id) = waiting(&asking()).await;
    app.control("cancel", &job_id).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    let said = "gate \"ask\" waits for no decision, since the job is cancelled";
    assert_eq!(answer.body["message"], said);

    // A gate that was skipped.
    let work = GraphWork::new(
        "skipped",
        [Node::decision("choose", Choice::these([])), Node::gate("ask").needs(["choose"])],
    );
    let job_id = submitted(&app, &work).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
}

#[tokio::test]
async fn a_paused_job_is_decided_and_continues_later() {
    let work = asking();
    let (app, job_id) = waiting(&work).await;
    app.control("pause", &job_id).await;
    let answer = app.decide(&job_id, "ask", json!({ "decision": "approve" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    app.run_dry().await;
    assert!(app.status(&job_id).await["pausedAt"].is_string());
    app.control("resume", &job_id).await;
    app.run_until_finished(&job_id).await;
    assert_as_expected(&app, &job_id, &work, &answers(GateDecision::Approve, 0)).await;
}

#[tokio::test]
async fn an_unknown_gate_answers_404_with_the_gates_there_are() {
    let (app, job_id) = waiting(&asking()).await;
    let approve = json!({ "decision": "approve" });
    for node in ["build", "nothing", "Ask"] {
        let answer = app.decide(&job_id, node, approve.clone()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{node}: {}", answer.body);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.ends_with("its gates are ask"), "{message}");
        assert_eq!(answer.body["gates"], json!(["ask"]));
    }
    let line = app.submitted("hello_world", json!({ "n": 1 })).await;
    let answer = app.decide(&line, "ask", approve.clone()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body["message"].as_str().unwrap().ends_with("it has none"), "{}", answer.body);
    let answer = app.decide(&"0".repeat(64), "ask", approve.clone()).await;
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (StatusCode::NOT_FOUND, &json!("unknown job"))
    );
    assert_eq!(app.decide("no-id", "ask", approve).await.status, StatusCode::BAD_REQUEST);
    let path = format!("/api/jobs/gate/{job_id}/ask");
    let answer = app.request("GET", &path, "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let path = format!("/api/jobs/gate/{job_id}");
    assert_eq!(app.request("POST", &path, "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_decision_that_is_not_valid_answers_400() {
    let (app, job_id) = waiting(&asking()).await;
    let long = "x".repeat(2001);
    let large = vec!["0123456789"; 6000];
    for (request, said) in [
        (
            json!([]),
            "the body is JSON but not an object; send a decision: {\"decision\": \"approve\"}",
        ),
        (json!({}), "decision is missing: \"approve\" or \"reject\""),
        (json!({ "decision": "fail" }), "decision must be \"approve\" or \"reject\", not \"fail\""),
        (json!({ "decision": null }), "decision must be \"approve\" or \"reject\", not null"),
        (
            json!({ "decision": "approve", "reason": "x" }),
            "unknown field \"reason\"; allowed are decision, by, comment, data",
        ),
        (json!({ "decision": "approve", "by": 7 }), "by must be text, not 7"),
        (
            json!({ "decision": "approve", "comment": long }),
            "comment has 2001 bytes; at most 2000 are allowed",
        ),
        (
            json!({ "decision": "approve", "data": large }),
            "data has 78001 bytes of JSON; at most 65536 are allowed: store large data elsewhere and send its address",
        ),
    ] {
        let answer = app.decide(&job_id, "ask", request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        assert_eq!(answer.body["message"], said);
    }
    let path = format!("/api/jobs/gate/{job_id}/ask");
    for body in
        ["", "approve", "{\"decision\": \"approve\", \"data\": 123456789012345678901234567890}"]
    {
        let answer = app.request("POST", &path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
    }
    let status = app.status(&job_id).await;
    assert_eq!(status["progress"][1]["node"]["output"], Value::Null, "nothing was decided");
}
