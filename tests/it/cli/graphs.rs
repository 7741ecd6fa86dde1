//! The command line with a job whose stages form a graph: its nodes in words, and decisions at gates.

use lastlight_engine::model::GateDecision;
use lastlight_testing::graph_work::{Choice, GRAPH, GraphWork, Node};
use serde_json::{Value, json};

use crate::{
    cli::harness::{App, redacted},
    harness::until,
};

/// A job that asks before it publishes, and may fail to notify.
fn asking() -> GraphWork {
    GraphWork::new(
        "g",
        [
            Node::tasks("tiles", 3),
            Node::decision("size", Choice::these(["small"])).needs(["tiles"]),
            Node::tasks("small", 2).needs(["size"]),
            Node::tasks("large", 2).needs(["size"]),
            Node::gate("ask first").needs(["small"]),
            Node::gate("legal").needs(["tiles"]).timeout(86_400, GateDecision::Reject),
            Node::tasks("notify", 1).follows(["ask first"]).fails([0]).best_effort(),
            Node::tasks("publish", 1).needs(["ask first", "legal"]),
        ],
    )
}

/// Waits until both gates of the job wait for a decision.
async fn until_it_asks(app: &App, job_id: &str) {
    until("the gates wait", async || {
        let status = app.run(&["status", job_id, "--json"]).await.json();
        let waits = |place: usize| status["progress"][place]["node"]["waitsForDecision"] == true;
        (waits(4) && waits(5)).then_some(())
    })
    .await;
}

/// The text without times of the day.
fn without_times(text: &str) -> String {
    let lines = redacted(text);
    let lines = lines.lines().map(|line| match line.find(" until 20") {
        None => line.to_owned(),
        Some(at) => format!("{} until <time>{}", &line[..at], &line[at + 27..]),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_graph_is_shown_and_its_gates_are_decided() {
    let app = App::start().await;
    let parameters = Value::Object(asking().parameters().unwrap());
    let job_id = app.submitted(GRAPH, &parameters).await;
    until_it_asks(&app, &job_id).await;
    insta::assert_snapshot!(without_times(&app.run(&["status", &job_id]).await.whole()));

    let approve = app
        .run(&[
            "gate",
            &job_id,
            "ask first",
            "approve",
            "--by",
            "ada",
            "--comment",
            "looks right",
            "--data",
            "7",
        ])
        .await;
    insta::assert_snapshot!(approve.whole());
    let reject = app.run(&["gate", &job_id[..8], "legal", "reject", "--json"]).await;
    assert_eq!(reject.code, 0, "{}", reject.err);
    assert_eq!(reject.json()["output"]["decision"], "reject");
    let watched = app.run(&["watch", &job_id]).await;
    assert_eq!(watched.code, 0, "{}{}", watched.out, watched.err);
    let mut lines: Vec<String> = without_times(&watched.out).lines().map(str::to_owned).collect();
    // Nodes that run at the same time end in any order, and are told in the order of their stages.
    lines.retain(|line| !line.contains(": running"));
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
    insta::assert_snapshot!(app.run(&["status", &job_id]).await.whole());
    insta::assert_snapshot!(app.run(&["tasks", &job_id, "--stage", "3"]).await.whole());
    app.stop().await;
}

#[tokio::test]
async fn a_gate_that_cannot_be_decided_is_explained() {
    let app = App::start().await;
    let parameters = Value::Object(asking().parameters().unwrap());
    let job_id = app.submitted(GRAPH, &parameters).await;
    until_it_asks(&app, &job_id).await;
    assert_eq!(app.run(&["gate", &job_id, "legal", "approve", "--by", "eve"]).await.code, 0);
    for (arguments, code, words) in [
        (&["nothing", "approve"][..], 1, "its gates are ask first, legal"),
        (&["legal", "reject"], 1, "gate \"legal\" was decided before: approve by eve at "),
        (&["legal", "maybe"], 2, "[possible values: approve, reject]"),
        (
            &["legal", "approve", "--data", "{n: 1}"],
            2,
            "--data: it is not JSON: key must be a string",
        ),
    ] {
        let said = app.run(&[&["gate", &job_id], arguments].concat()).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    let refused = app.run(&["gate", &job_id, "legal", "reject", "--json"]).await;
    assert_eq!((refused.code, &refused.json()["error"]), (1, &json!("decided before")));
    app.stop().await;
}
