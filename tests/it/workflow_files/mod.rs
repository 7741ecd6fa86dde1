//! Workflow files run as what they say: each node once, in order, with its values; over both paths,
//! whatever happens to messages, processes and files meanwhile.

mod answers;
mod bad_input;
mod child_jobs;
mod definitions;
mod fan_outs;
mod fields;
mod finalize;
mod hello_world;
mod job_types;
mod runs;
mod source_files;
mod validators;

use serde_json::{Value, json};

use crate::harness::{TestApp, Workflows, new_database_url, quick};

/// The file of a test's only workflow.
const FILE: &str = "test.yaml";

/// A handler in this process with one workflow and no other job types.
async fn app_with(text: &str) -> TestApp {
    app_of(&Workflows::of([(FILE, text)])).await
}

/// A handler in this process with workflows and no other job types, on a database of its own.
async fn app_of(workflows: &Workflows) -> TestApp {
    workflows.on(&new_database_url().await, Default::default(), quick()).await
}

/// Workflows and their job, which has ended.
struct Ran {
    job_id: String,
    status: Value,
}

/// Runs a job to its end, over one path.
async fn ran(app: &TestApp, job_type: &str, parameters: Value) -> Ran {
    let job_id = app.submitted(job_type, parameters).await;
    let status = app.run_until_finished(&job_id).await;
    app.assert_consistent(&job_id).await;
    Ran { job_id, status }
}

/// Runs a job that must complete.
async fn completed(app: &TestApp, job_type: &str, parameters: Value) -> Ran {
    let ran = ran(app, job_type, parameters).await;
    assert_eq!(ran.status["status"], "completed", "{}", ran.status);
    ran
}

/// Runs a job that must fail, and returns its reason.
async fn failed(app: &TestApp, job_type: &str, parameters: Value) -> String {
    let ran = ran(app, job_type, parameters).await;
    assert_eq!(ran.status["status"], "failed", "{}", ran.status);
    ran.status["errorDetails"].as_str().unwrap().to_owned()
}

impl Ran {
    /// How a node ended.
    fn outcome(&self, node: &str) -> &str {
        self.progress(node)["node"]["outcome"].as_str().unwrap_or("none")
    }

    /// How all nodes ended, in order: `a completed, b skipped`.
    fn outcomes(&self) -> String {
        let nodes = self.status["progress"].as_array().unwrap();
        let name = |progress: &Value| progress["node"]["name"].as_str().unwrap().to_owned();
        let all: Vec<String> = nodes
            .iter()
            .map(|progress| format!("{} {}", name(progress), self.outcome(&name(progress))))
            .collect();
        all.join(", ")
    }

    fn progress(&self, node: &str) -> &Value {
        let mut all = self.status["progress"].as_array().unwrap().iter();
        all.find(|progress| progress["node"]["name"] == node)
            .unwrap_or_else(|| panic!("no node {node}: {}", self.status))
    }

    /// The results of a node's tasks, in the order of their plan.
    async fn results(&self, app: &TestApp, node: &str) -> Vec<Value> {
        results(app, &self.job_id, node).await
    }

    /// The result of a node with one task.
    async fn result(&self, app: &TestApp, node: &str) -> Value {
        let results = self.results(app, node).await;
        assert_eq!(results.len(), 1, "{results:?}");
        results.into_iter().next().unwrap()
    }

    /// The output of a node without tasks.
    fn output(&self, node: &str) -> &Value {
        &self.progress(node)["node"]["output"]
    }
}

/// The results of the completed tasks of a node, in the order of their plan.
async fn results(app: &TestApp, job_id: &str, node: &str) -> Vec<Value> {
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT t.result_data::text FROM tasks t JOIN stages s ON s.job_id = t.parent_job_id AND s.stage = t.stage
         WHERE s.job_id = $1 AND s.name = $2 AND t.status = 'completed' ORDER BY t.ordinal",
    )
    .bind(job_id)
    .bind(node)
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap();
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// The attempts of a node's tasks, in the order of their plan.
async fn attempts(app: &TestApp, job_id: &str, node: &str) -> Vec<i16> {
    sqlx::query_scalar(
        "SELECT t.attempt FROM tasks t JOIN stages s ON s.job_id = t.parent_job_id AND s.stage = t.stage
         WHERE s.job_id = $1 AND s.name = $2 ORDER BY t.ordinal",
    )
    .bind(job_id)
    .bind(node)
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap()
}

/// Delivers messages until the job waits at a gate for a decision.
async fn until_gate(app: &TestApp, job_id: &str, gate: &str) {
    crate::harness::until("the gate waits for a decision", async || {
        app.run_dry().await;
        let status = app.status(job_id).await;
        let mut nodes = status["progress"].as_array().unwrap().iter();
        let waits = nodes.any(|progress| {
            progress["node"]["name"] == gate && progress["node"]["waitsForDecision"] == true
        });
        waits.then_some(())
    })
    .await;
}

/// Decides at a gate.
async fn decide(app: &TestApp, job_id: &str, gate: &str, decision: &str) {
    let request = json!({ "decision": decision, "by": "ann", "data": { "note": "fine" } });
    let request = serde_json::from_value(request).unwrap();
    app.controller.decide(&job_id.parse().unwrap(), gate, request).await.unwrap();
}
