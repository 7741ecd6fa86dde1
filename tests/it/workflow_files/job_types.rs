//! `GET /api/jobs/types` describes a workflow as it describes a job type in Rust, and with its graph.

use axum::body::Body;
use serde_json::{Value, json};

use super::{FILE, app_of};
use crate::harness::{TestApp, Workflows, catalog, new_database_url, quick};

async fn job_types(app: &TestApp) -> Vec<Value> {
    let answer = app.request("GET", "/api/jobs/types", Body::empty()).await;
    answer.body["job_types"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_workflow_is_listed_with_its_parameters_its_version_and_its_graph() {
    let workflows = Workflows::of([(
        FILE,
        r#"
workflow: tiles
description: Cuts a raster into tiles.
version: 7
reversed_by: untile
reverses: [merge, join]
parameters:
  blob: {type: str, required: true, description: The raster.}
  options: {type: dict, nested: {size: {type: int, default: 256}}}
nodes:
  look: {type: task, handler: echo, params: [blob], queue: gpu}
  size:
    type: conditional
    depends_on: [look]
    condition: look.result.blob
    branches:
      - {name: big, condition: "eq big", next: [cut]}
      - {name: small, default: true, next: []}
  cut: {type: job, job_type: other, best_effort: true}
finalize: {handler: echo}
"#,
    )]);
    let app = app_of(&workflows).await;
    let [job_type] = job_types(&app).await.try_into().unwrap();
    assert_eq!(job_type["name"], "tiles");
    assert_eq!(job_type["description"], "Cuts a raster into tiles.");
    assert_eq!(job_type["prescribed_path"], Value::Null);
    let parameters = &job_type["parameters"];
    assert_eq!(parameters["required"], json!(["blob"]));
    assert_eq!(parameters["properties"]["blob"]["description"], "The raster.");
    let size = &parameters["properties"]["options"]["properties"]["size"];
    assert_eq!(size["default"], 256, "{parameters}");
    assert!(parameters["properties"]["use_service_bus"].is_object());
    let workflow = &job_type["workflow"];
    assert_eq!(workflow["version"], 7);
    assert_eq!(workflow["definition_id"].as_str().unwrap().len(), 64);
    assert_eq!(workflow["reversed_by"], "untile");
    assert_eq!(workflow["reverses"], json!(["merge", "join"]));
    let graph = &workflow["graph"];
    let nodes: Vec<(&Value, &Value)> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (&node["name"], &node["kind"]))
        .collect();
    let names =
        [("look", "task"), ("size", "conditional"), ("cut", "job"), ("finalize", "finalize")];
    assert_eq!(
        nodes,
        names.map(|(name, kind)| (json!(name), json!(kind))).each_ref().map(|(n, k)| (n, k))
    );
    assert_eq!(graph["nodes"][0]["queue"], "gpu");
    assert_eq!(graph["nodes"][2]["job_type"], "other");
    assert_eq!(
        graph["edges"],
        json!([
            { "from": 1, "to": 2, "optional": false },
            { "from": 2, "to": 3, "optional": false, "branches": ["big"] },
        ])
    );
}

#[tokio::test]
async fn a_job_type_in_rust_has_no_workflow() {
    let app = Workflows::of([]).on(&new_database_url().await, catalog(), quick()).await;
    for job_type in job_types(&app).await {
        assert!(job_type.get("workflow").is_none(), "{job_type}");
    }
}
