//! A node that submits another job waits for it, and has its result or its failure.

use axum::http::StatusCode;
use lastlight_engine::job::{TaskContext, TaskError, erased::Catalog};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ran, app_of, completed, ran};
use crate::harness::{TestApp, Workflows, new_database_url, quick, until};

/// The parent has a label, so that several parents wait for one child.
const PARENT: &str = r#"
workflow: parent
parameters:
  count: {type: int, required: true}
  label: {type: str, default: a}
nodes:
  child: {type: job, job_type: child, parameters: {count: "{{ inputs.count }}"}}
  after:
    type: task
    handler: echo
    depends_on: [child]
    receives: {tasks: child.result.completed_tasks, ok: child.success}
  anyhow: {type: task, handler: echo, depends_on: ["child?"]}
"#;

const CHILD: &str = "
workflow: child
parameters: {count: {type: int, required: true}}
nodes:
  work:
    type: task
    handler: stumble
    constants: {times: 0}
    when: params.count
  list: {type: task, handler: numbers, params: [count]}
";

const FILES: [(&str, &str); 2] = [("parent.yaml", PARENT), ("child.yaml", CHILD)];

/// All jobs of a type, oldest first.
async fn jobs_of(app: &TestApp, job_type: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT job_id FROM jobs WHERE job_type = $1 ORDER BY created_at")
        .bind(job_type)
        .fetch_all(&mut app.connection().await)
        .await
        .unwrap()
}

fn child_of(ran: &Ran) -> String {
    ran.progress("child")["node"]["childJobId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_waits_for_its_child_and_has_its_result_over_both_paths() {
    let app = app_of(&Workflows::of(FILES)).await;
    for (use_service_bus, path) in [(false, "queue_storage"), (true, "service_bus")] {
        let parameters = json!({ "count": 3, "use_service_bus": use_service_bus });
        let ran = completed(&app, "parent", parameters).await;
        assert_eq!(ran.outcomes(), "child completed, after completed, anyhow completed");
        assert_eq!(ran.result(&app, "after").await["result"], json!({ "tasks": 2, "ok": true }));
        let child = app.status(&child_of(&ran)).await;
        assert_eq!(child["status"], "completed");
        assert_eq!(child["processingPath"], path, "a child takes the path of its parent");
        assert_eq!(ran.output("child")["result"], child["resultData"]);
    }
}

#[tokio::test]
async fn a_child_that_fails_fails_its_node_with_its_id_and_its_reason() {
    let broken = CHILD.replace("handler: numbers, params: [count]", "handler: fail");
    let app = app_of(&Workflows::of([FILES[0], ("child.yaml", broken.as_str())])).await;
    let ran = ran(&app, "parent", json!({ "count": 3 })).await;
    assert_eq!(ran.status["status"], "failed");
    let child = child_of(&ran);
    assert_eq!(
        ran.status["errorDetails"],
        format!(
            "child: job {child} is failed: list: 1 of 1 tasks failed; first: list the handler fail fails attempt 1, as \
             asked for"
        )
    );
    assert_eq!(ran.outcomes(), "child failed, after skipped, anyhow completed");
}

#[tokio::test]
async fn a_child_that_cannot_be_submitted_fails_its_node_with_the_reason() {
    let files = |child: &str| {
        let parent = PARENT.replace(
            "{type: job, job_type: child, parameters: {count: \"{{ inputs.count }}\"}}",
            child,
        );
        [("parent.yaml".to_owned(), parent), ("child.yaml".to_owned(), CHILD.to_owned())]
    };
    for (child, words) in [
        (
            "{type: job, job_type: child, parameters: {count: many}}",
            "child: count must be a whole number, not \"many\"",
        ),
        ("{type: job, job_type: child}", "child: count is missing: a whole number"),
        (
            "{type: job, job_type: chidl}",
            "child: there is no job type \"chidl\"; known job types: child, parent",
        ),
    ] {
        let files = files(child);
        let named = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let app = app_of(&Workflows::of(named)).await;
        let ran = ran(&app, "parent", json!({ "count": 3 })).await;
        assert_eq!(ran.status["errorDetails"], words);
        assert_eq!(ran.outcomes(), "child failed, after skipped, anyhow completed");
        assert_eq!(jobs_of(&app, "child").await.len(), 0);
    }
}

/// Delivers until the child has been submitted and its first messages are there.
async fn waiting_for_child(app: &TestApp, label: &str) -> (String, String) {
    let job_id = app.submitted("parent", json!({ "count": 3, "label": label })).await;
    let child = until("the child is submitted", async || {
        let status = app.status(&job_id).await;
        let child = &status["progress"][0]["node"]["childJobId"];
        child.as_str().map(str::to_owned)
    })
    .await;
    (job_id, child)
}

#[tokio::test]
async fn cancelling_a_job_cancels_the_child_that_it_waits_for() {
    let app = app_of(&Workflows::of(FILES)).await;
    let (parent, child) = waiting_for_child(&app, "a").await;
    assert_eq!(app.control("cancel", &parent).await.status, StatusCode::OK);
    assert_eq!(app.status(&child).await["status"], "cancelled");
    app.run_dry().await;
    assert_eq!(app.status(&child).await["status"], "cancelled");
}

#[tokio::test]
async fn a_child_that_another_job_waits_for_is_not_cancelled() {
    let app = app_of(&Workflows::of(FILES)).await;
    let (first, child) = waiting_for_child(&app, "a").await;
    let (second, same) = waiting_for_child(&app, "b").await;
    assert_eq!(child, same, "jobs of the same parameters wait for one child");
    assert_eq!(app.control("cancel", &first).await.status, StatusCode::OK);
    assert_eq!(app.run_until_finished(&second).await["status"], "completed");
    assert_eq!(app.status(&child).await["status"], "completed");
    assert_eq!(app.status(&first).await["status"], "cancelled");
}

#[tokio::test]
async fn cancelling_a_child_fails_the_node_that_waits_for_it() {
    let app = app_of(&Workflows::of(FILES)).await;
    let (parent, child) = waiting_for_child(&app, "a").await;
    assert_eq!(app.control("cancel", &child).await.status, StatusCode::OK);
    let status = app.run_until_finished(&parent).await;
    assert_eq!(status["status"], "failed");
    assert_eq!(
        status["errorDetails"],
        format!("child: job {child} is cancelled: cancelled on request")
    );
}

#[tokio::test]
async fn a_job_that_would_wait_for_itself_fails() {
    let app = app_of(&Workflows::of([(
        "self.yaml",
        "
workflow: itself
nodes:
  again: {type: job, job_type: itself}
",
    )]))
    .await;
    let ran = ran(&app, "itself", json!({})).await;
    assert_eq!(
        ran.status["errorDetails"],
        "again: the job of type \"itself\" would wait for itself: it has the same parameters as a job that waits for it"
    );
    let app = app_of(&Workflows::of([
        ("ping.yaml", "workflow: ping\nnodes:\n  other: {type: job, job_type: pong}\n"),
        ("pong.yaml", "workflow: pong\nnodes:\n  other: {type: job, job_type: ping}\n"),
    ]))
    .await;
    let ran = super::ran(&app, "ping", json!({})).await;
    let reason = ran.status["errorDetails"].as_str().unwrap();
    assert!(
        reason.ends_with(
            "is failed: other: the job of type \"ping\" would wait for itself: it has the same parameters as a job that \
             waits for it"
        ),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_that_submit_each_other_at_the_same_moment_end() {
    let file = |name, other| {
        format!(
            "workflow: {name}\nparameters: {{round: {{type: int}}}}\nnodes:\n  other: {{type: job, job_type: {other}, parameters: {{round: \"{{{{ inputs.round }}}}\"}}}}\n"
        )
    };
    let (ping, pong) = (file("ping", "pong"), file("pong", "ping"));
    let app = app_of(&Workflows::of([("ping.yaml", ping.as_str()), ("pong.yaml", &pong)])).await;
    for round in 0..30 {
        let parameters = json!({ "round": round });
        let (first, second) = tokio::join!(
            app.submitted("ping", parameters.clone()),
            app.submitted("pong", parameters.clone())
        );
        app.run_dry().await;
        for job_id in [first, second] {
            let status = app.status(&job_id).await;
            assert_eq!(status["status"], "failed", "round {round}: {status}");
            app.assert_consistent(&job_id).await;
        }
    }
}

#[tokio::test]
async fn jobs_wait_for_jobs_at_most_five_deep() {
    let app = app_of(&Workflows::of([(
        "deep.yaml",
        r#"
workflow: deep
parameters: {left: {type: int, required: true}}
nodes:
  last: {type: task, handler: echo}
  deeper:
    type: job
    job_type: deep
    parameters: {left: "{{ inputs.left - 1 }}"}
    when: params.left
"#,
    )]))
    .await;
    completed(&app, "deep", json!({ "left": 5 })).await;
    assert_eq!(jobs_of(&app, "deep").await.len(), 6);
    let ran = ran(&app, "deep", json!({ "left": 100 })).await;
    assert_eq!(ran.status["status"], "failed");
    let reason = ran.status["errorDetails"].as_str().unwrap();
    assert!(
        reason.ends_with("deeper: jobs wait for jobs 6 deep here; at most 5 are allowed"),
        "{reason}"
    );
    assert_eq!(jobs_of(&app, "deep").await.len(), 12);
}

#[derive(Debug, Deserialize)]
struct Needed {
    path: String,
}

/// Fails as long as a file does not exist.
async fn needs_file(_: TaskContext, needed: Needed) -> Result<Value, TaskError> {
    match std::fs::exists(&needed.path) {
        Ok(true) => Ok(json!({})),
        _ => Err(TaskError::permanent("the file is not there yet")),
    }
}

/// A parent whose child needs a file.
async fn needing(path: &str) -> TestApp {
    let child = CHILD
        .replace(
            "handler: numbers, params: [count]",
            "handler: needs_file, constants: {path: PATH}",
        )
        .replace("PATH", path);
    let catalog = Catalog::default().handler("needs_file", needs_file);
    let workflows = Workflows::of([FILES[0], ("child.yaml", child.as_str())]);
    workflows.on(&new_database_url().await, catalog, quick()).await
}

#[tokio::test]
async fn retrying_a_job_retries_its_child() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("needed");
    let app = needing(path.to_str().unwrap()).await;
    let ran = ran(&app, "parent", json!({ "count": 3 })).await;
    assert_eq!(ran.status["status"], "failed");
    let child = child_of(&ran);
    std::fs::write(&path, "").unwrap();
    let retry = app.control("retry", &ran.job_id).await;
    assert_eq!(retry.status, StatusCode::OK, "{}", retry.body);
    let status = app.run_until_finished(&ran.job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(app.status(&child).await["status"], "completed");
    assert_eq!(jobs_of(&app, "child").await, [child]);
    app.assert_consistent(&ran.job_id).await;
}

#[tokio::test]
async fn retrying_a_cancelled_job_runs_its_cancelled_child_again() {
    let app = app_of(&Workflows::of(FILES)).await;
    let (parent, child) = waiting_for_child(&app, "a").await;
    assert_eq!(app.control("cancel", &parent).await.status, StatusCode::OK);
    app.run_dry().await;
    let retry = app.control("retry", &parent).await;
    assert_eq!(retry.status, StatusCode::OK, "{}", retry.body);
    app.controller.reconcile().await.unwrap();
    let status = app.run_until_finished(&parent).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(app.status(&child).await["status"], "completed");
    assert_eq!(jobs_of(&app, "child").await, [child]);
    app.assert_consistent(&parent).await;
}

#[tokio::test]
async fn a_process_that_dies_before_it_noted_the_child_leaves_one_child() {
    for is_finished in [false, true] {
        let app = app_of(&Workflows::of(FILES)).await;
        let (parent, child) = waiting_for_child(&app, "a").await;
        if is_finished {
            // The parent does not learn of the end.
            forget_child(&app, &parent, &child).await;
            app.run_until_finished(&child).await;
        } else {
            forget_child(&app, &parent, &child).await;
        }
        let (first, second) = tokio::join!(app.controller.reconcile(), app.controller.reconcile());
        first.unwrap();
        second.unwrap();
        let status = app.run_until_finished(&parent).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(jobs_of(&app, "child").await, [child]);
        app.assert_consistent(&parent).await;
    }
}

/// The rows as they are between the submission of the child and the note of its id.
async fn forget_child(app: &TestApp, parent: &str, child: &str) {
    let mut connection = app.connection().await;
    for (statement, id) in [
        ("UPDATE stages SET child_job_id = NULL WHERE job_id = $1", parent),
        ("UPDATE jobs SET is_child = NULL WHERE job_id = $1", child),
    ] {
        sqlx::query(statement).bind(id).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_dies_before_it_noted_the_end_of_a_child_stops_nothing() {
    let app = app_of(&Workflows::of(FILES)).await;
    let (parent, child) = waiting_for_child(&app, "a").await;
    sqlx::query("UPDATE jobs SET is_child = NULL WHERE job_id = $1")
        .bind(&child)
        .execute(&mut app.connection().await)
        .await
        .unwrap();
    app.run_until_finished(&child).await;
    assert_eq!(app.status(&parent).await["status"], "processing");
    let status = app.sweep_until_finished(&parent).await;
    assert_eq!(status["status"], "completed", "{status}");
}

#[tokio::test]
async fn a_child_that_had_completed_before_is_not_run_again() {
    let app = app_of(&Workflows::of(FILES)).await;
    let child = completed(&app, "child", json!({ "count": 3 })).await;
    let ran = completed(&app, "parent", json!({ "count": 3 })).await;
    assert_eq!(child_of(&ran), child.job_id);
    assert_eq!(super::attempts(&app, &child.job_id, "list").await, [1]);
}
