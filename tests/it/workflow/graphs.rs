//! Jobs whose stages form a graph: a stage starts exactly once, after every stage it depends on has
//! ended; what cannot run is skipped; the job ends with the last of them.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use lastlight_engine::{config::Timing, transport::sender::QueueRole};
use lastlight_testing::graph_work::{Answers, Choice, GRAPH, GraphWork, Node};
use serde_json::{Value, json};

use crate::harness::{GraphJob, OfThisApp, TestApp, catalog, quick, until};

/// Submits the job of this work.
pub(super) async fn submitted(app: &TestApp, work: &GraphWork) -> String {
    app.submitted(GRAPH, Value::Object(work.parameters().unwrap())).await
}

/// Checks that a finished job came to what its parameters say.
pub(super) async fn assert_as_expected(
    app: &TestApp,
    job_id: &str,
    work: &GraphWork,
    answers: &Answers,
) {
    let status = app.status(job_id).await;
    let differences = work.differences(answers, &status);
    assert!(differences.is_empty(), "{differences:#?}\n{status:#}");
    app.assert_consistent(job_id).await;
    assert_eq!(app.audit(job_id).await["consistent"], true);
}

/// The outcome of each node, by name.
pub(super) fn outcomes(status: &Value) -> BTreeMap<String, Value> {
    let nodes = status["progress"].as_array().unwrap().iter().map(|stage| &stage["node"]);
    nodes.map(|node| (node["name"].as_str().unwrap().to_owned(), node["outcome"].clone())).collect()
}

/// Runs this work on both paths and checks what it comes to.
async fn comes_to_what_it_says(nodes: impl Into<Vec<Node>>) -> BTreeMap<String, Value> {
    let nodes = nodes.into();
    let mut ends = Vec::new();
    for use_service_bus in [false, true] {
        let job = GraphJob::default();
        let app = TestApp::with_graphs(job.clone(), quick()).await;
        let work = GraphWork { use_service_bus, ..GraphWork::new("t", nodes.clone()) };
        let job_id = submitted(&app, &work).await;
        let status = app.run_until_finished(&job_id).await;
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
        ends.push(outcomes(&status));
    }
    assert_eq!(ends[0], ends[1]);
    ends.remove(0)
}

fn diamond() -> [Node; 4] {
    [
        Node::tasks("left-and-right", 3),
        Node::tasks("left", 2).needs(["left-and-right"]).reads("left-and-right"),
        Node::tasks("right", 2).needs(["left-and-right"]),
        Node::tasks("both", 4).needs(["left", "right"]).reads("left-and-right"),
    ]
}

#[tokio::test]
async fn a_diamond_runs_its_middle_side_by_side() {
    for use_service_bus in [false, true] {
        let job = GraphJob::default();
        let app = TestApp::with_graphs(job.clone(), quick()).await;
        let [first, left, right, last] = diamond();
        let nodes = [first, left.holding(), right.holding(), last];
        let work = GraphWork { use_service_bus, ..GraphWork::new("t", nodes) };
        let job_id = submitted(&app, &work).await;
        let meddle = async {
            until("tasks of both run", async || {
                let runs = job.runs();
                let middle = ["left/0", "left/1", "right/0", "right/1"];
                middle.iter().all(|task| runs.contains_key(*task)).then_some(())
            })
            .await;
            assert!(!job.runs().contains_key("both/0"));
            job.release();
        };
        tokio::join!(app.run_until_finished(&job_id), meddle);
        assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
        assert!(job.runs().values().all(|runs| *runs == 1), "{:?}", job.runs());
    }
}

#[tokio::test]
async fn all_nodes_that_depend_on_nothing_start_at_once() {
    let app = TestApp::with_graphs(GraphJob::default(), Timing::default()).await;
    let work = GraphWork::new(
        "t",
        [
            Node::gate("ask"),
            Node::tasks("a", 1),
            Node::decision("choose", Choice::All),
            Node::tasks("b", 1),
            Node::tasks("c", 1).needs(["choose"]),
        ],
    );
    let answer = app.submit(GRAPH, Value::Object(work.parameters().unwrap())).await;
    assert_eq!(answer.body["queue_info"]["queued"], true, "{}", answer.body);
    assert_eq!(answer.body["queue_info"]["stage"], 2);
    // Without a sweep: a, b, and c, which the decision lets run.
    assert_eq!(app.queue.count(QueueRole::Jobs), 3);
    app.run_dry().await;
    let status = app.status(answer.body["job_id"].as_str().unwrap()).await;
    let ended = outcomes(&status);
    assert_eq!(
        (&ended["a"], &ended["b"], &ended["c"]),
        (&json!("completed"), &json!("completed"), &json!("completed"))
    );
    assert_eq!(ended["ask"], Value::Null);
}

#[tokio::test]
async fn a_failure_skips_everything_that_needs_it() {
    let ended = comes_to_what_it_says([
        Node::tasks("a", 3).fails([1]),
        Node::tasks("b", 2).needs(["a"]),
        Node::decision("c", Choice::All).needs(["b"]),
        Node::gate("d").needs(["c"]),
        Node::tasks("e", 2).needs(["d"]),
        Node::tasks("beside", 2),
    ])
    .await;
    for skipped in ["b", "c", "d", "e"] {
        assert_eq!(ended[skipped], "skipped", "{skipped}");
    }
    assert_eq!(ended["beside"], "completed");
}

#[tokio::test]
async fn the_error_of_a_failed_job_names_every_failed_node() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [
        Node::tasks("roof", 3).fails([1]),
        Node::tasks("wall", 1).fails([0]),
        Node::tasks("paint", 1).fails([0]).best_effort(),
    ];
    let job_id = submitted(&app, &GraphWork::new("t", nodes)).await;
    let status = app.run_until_finished(&job_id).await;
    let reason = "a permanent failure by request of the job";
    assert_eq!(
        status["errorDetails"],
        format!(
            "roof: 1 of 3 tasks failed; first: t-1 {reason}; wall: 1 of 1 tasks failed; first: t-0 {reason}"
        )
    );
}

#[tokio::test]
async fn what_follows_a_failure_runs_after_it() {
    let ended = comes_to_what_it_says([
        Node::tasks("a", 2).fails([0]),
        Node::tasks("skipped", 1).needs(["a"]),
        Node::tasks("cleanup", 2).follows(["a", "skipped"]).reads("a"),
    ])
    .await;
    assert_eq!((&ended["skipped"], &ended["cleanup"]), (&json!("skipped"), &json!("completed")));
}

#[tokio::test]
async fn a_failure_by_best_effort_does_not_fail_the_job() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [
        Node::tasks("notify", 1).fails([0]).best_effort(),
        Node::tasks("next", 1).follows(["notify"]),
        Node::tasks("needs-it", 1).needs(["notify"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed");
    assert_eq!(status["resultData"]["outcomes"]["notify"], "failed");
    assert_eq!(status["resultData"]["outcomes"]["needs-it"], "skipped");
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
}

#[tokio::test]
async fn failures_that_a_node_tolerates_do_not_skip_others() {
    let tolerant = Node { tolerates: 2, ..Node::tasks("a", 10).fails([3, 4]) };
    let ended =
        comes_to_what_it_says([tolerant, Node::tasks("b", 10).needs(["a"]).reads("a")]).await;
    assert_eq!((&ended["a"], &ended["b"]), (&json!("completed"), &json!("completed")));
}

#[tokio::test]
async fn what_a_decision_does_not_choose_is_skipped() {
    let ended = comes_to_what_it_says([
        Node::tasks("a", 2),
        Node::decision("size", Choice::these(["small"])).needs(["a"]),
        Node::tasks("small", 1).needs(["size"]),
        Node::tasks("large", 1).needs(["size"]),
        Node::tasks("larger", 1).needs(["large"]),
        Node::tasks("end", 1).follows(["small", "larger"]).reads("small"),
    ])
    .await;
    assert_eq!(
        (&ended["small"], &ended["large"], &ended["larger"]),
        (&json!("completed"), &json!("skipped"), &json!("skipped"))
    );
    assert_eq!(ended["end"], "completed");
}

#[tokio::test]
async fn a_decision_depends_on_the_results_before_it() {
    let chosen = async |tasks: u64| {
        let ended = comes_to_what_it_says([
            Node::tasks("a", tasks),
            Node::decision("choose", Choice::ByInput).needs(["a"]),
            Node::tasks("0", 1).needs(["choose"]),
            Node::tasks("1", 1).needs(["choose"]),
            Node::tasks("2", 1).needs(["choose"]),
        ])
        .await;
        ended
            .into_iter()
            .find(|(name, end)| name.len() == 1 && name != "a" && end == "completed")
            .unwrap()
            .0
    };
    let mut all = Vec::new();
    for tasks in 1..=4 {
        all.push(chosen(tasks).await);
    }
    all.dedup();
    assert!(all.len() > 1, "always {all:?}");
}

#[tokio::test]
async fn a_job_of_decisions_alone_completes_at_once() {
    let app = TestApp::with_graphs(GraphJob::default(), Timing::default()).await;
    let nodes = [
        Node::decision("a", Choice::All),
        Node::decision("b", Choice::All).needs(["a"]),
        Node::decision("c", Choice::these([])).needs(["b"]),
        Node::gate("d").needs(["c"]),
    ];
    let work = GraphWork::new("t", nodes);
    let job_id = submitted(&app, &work).await;
    assert_eq!(app.status(&job_id).await["status"], "completed");
    assert_as_expected(&app, &job_id, &work, &Answers::new()).await;
}

#[tokio::test]
async fn answers_show_the_place_of_each_node() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [
        Node::tasks("a", 2),
        Node::gate("ask")
            .follows(["a"])
            .timeout(3600, lastlight_engine::model::GateDecision::Reject),
        Node::tasks("b", 1).needs(["a", "ask"]).best_effort(),
    ];
    let job_id = submitted(&app, &GraphWork::new("t", nodes)).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    let record = app.request("GET", &format!("/api/db/jobs/{job_id}"), "").await.body;
    for stages in [&status["progress"], &record["stages"]] {
        assert_eq!(stages.as_array().unwrap().len(), 3, "{stages}");
        let [a, ask, b] = [0, 1, 2].map(|place| &stages[place]["node"]);
        assert_eq!(
            (&a["kind"], &a["outcome"], &a["needs"]),
            (&json!("tasks"), &json!("completed"), &json!([]))
        );
        assert_eq!(
            (&ask["kind"], &ask["follows"], &ask["waitsForDecision"]),
            (&json!("gate"), &json!([1]), &json!(true))
        );
        assert!(ask["decideUntil"].is_string(), "{ask}");
        assert_eq!(
            (&b["name"], &b["needs"], &b["waitsFor"]),
            (&json!("b"), &json!([1, 2]), &json!(1))
        );
        assert_eq!(b["bestEffort"], true);
    }
    assert_eq!(status["stageResults"]["1"]["name"], "a");
    assert_eq!(status["stageResults"]["1"]["summary"]["count"], 2);
}

#[tokio::test]
async fn the_rollups_contain_every_node() {
    let app = TestApp::with_graphs(GraphJob::default(), quick()).await;
    let nodes = [
        Node::tasks("a", 3).fails([0]),
        Node::tasks("b", 2).needs(["a"]),
        Node::tasks("c", 2).stumbles([1]),
        Node::decision("d", Choice::All).follows(["a"]),
    ];
    let job_id = submitted(&app, &GraphWork::new("t", nodes)).await;
    app.run_until_finished(&job_id).await;
    app.controller.reconcile().await.unwrap();
    let sums: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT sum(completed)::bigint, sum(failed)::bigint, sum(attempts)::bigint, sum(retries)::bigint,
                sum(messages)::bigint
         FROM task_rollups WHERE job_type = 'graph' AND hour > '-infinity'",
    )
    .fetch_one(&mut app.connection().await)
    .await
    .unwrap();
    // One message per attempt, and the job messages of the two nodes that ran.
    assert_eq!(sums, (4, 1, 6, 1, 8));
    let audit = app.audit(&job_id).await;
    let messages: u64 = audit["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["messagesSent"].as_u64().unwrap())
        .sum();
    assert_eq!(messages, 6, "one per attempt: {audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_ends_at_the_same_moment_start_what_needs_both_once() {
    let job = GraphJob::default();
    let app = TestApp::with_graphs(job.clone(), quick()).await;
    let other = TestApp::on(&app.url, job.clone().add_to(catalog()), quick()).await;
    for round in 0..100 {
        let nodes = [
            Node::tasks("a", 1),
            Node::tasks("b", 1),
            Node::tasks(&format!("both-{round}"), 1).needs(["a", "b"]),
            Node::decision("choose", Choice::All).needs(["a", "b"]),
            Node::tasks(&format!("chosen-{round}"), 1).needs(["choose"]).follows(["a"]),
        ];
        let work = GraphWork::new(&format!("round-{round}"), nodes);
        let job_id = submitted(&app, &work).await;
        let tasks = app.planned().await;
        assert_eq!(tasks.len(), 2);
        let (one, two) = tokio::join!(
            app.deliver("process_queue_task", &tasks[0].body),
            other.deliver("process_queue_task", &tasks[1].body),
        );
        assert_eq!((one.status, two.status), (StatusCode::OK, StatusCode::OK));
        let started = app.queue.count(QueueRole::Jobs) + other.queue.count(QueueRole::Jobs);
        assert_eq!(started, 2, "round {round}");
        other.run_dry().await;
        app.run_until_finished(&job_id).await;
        let status = app.status(&job_id).await;
        assert_eq!(work.differences(&Answers::new(), &status), Vec::<String>::new());
        app.assert_consistent(&job_id).await;
        let runs = job.runs();
        for name in ["both", "chosen"] {
            assert_eq!(runs[&format!("{name}-{round}/0")], 1, "round {round}");
        }
    }
}
