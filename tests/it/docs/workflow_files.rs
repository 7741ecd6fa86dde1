//! Workflow files of pages, run by the real engine.

use lastlight::App;
use serde_json::Value;

use crate::harness::{TestApp, Workflows, new_database_url, quick, until};

/// A handler with the workflow of this file, which must have no problems.
pub(super) async fn app_with(app: App, yaml: &str) -> TestApp {
    let workflows = Workflows::of([("workflow.yaml", yaml)]);
    let catalog = app.into_engine().catalog();
    let wrong = workflows.add_to(catalog.clone()).wrong_files().to_vec();
    assert!(wrong.is_empty(), "{wrong:?}");
    workflows.on(&new_database_url().await, catalog, quick()).await
}

/// The state of a node in the status of its job.
pub(super) fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut stages = status["progress"].as_array().unwrap().iter();
    let stage = stages.find(|stage| stage["node"]["name"] == name);
    &stage.unwrap_or_else(|| panic!("no node {name}: {status}"))["node"]
}

/// Delivers messages until a gate waits for a decision; the status of the job then.
pub(super) async fn until_gate(app: &TestApp, job_id: &str, gate: &str) -> Value {
    until("the gate waits for a decision", async || {
        app.run_dry().await;
        let status = app.status(job_id).await;
        let waits = node(&status, gate)["waitsForDecision"] == true;
        waits.then_some(status)
    })
    .await
}
