//! What is wrong is told with its place, its value and what is allowed, and keeps nothing else from
//! working.

use axum::{body::Body, http::StatusCode};
use lastlight_engine::job::{TaskContext, TaskError, erased::Catalog};
use serde_json::{Value, json};

use super::{FILE, app_of, app_with, completed, failed, ran};
use crate::harness::{TestApp, Workflows, catalog, new_database_url, quick};

/// A workflow with one node.
const RIGHT: &str = "
workflow: right
nodes:
  only: {type: task, handler: echo}
";

/// The message of a refused request.
async fn refused(app: &TestApp, job_type: &str, parameters: Value, status: StatusCode) -> String {
    let answer = app.submit(job_type, parameters).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    answer.body["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_result_that_lacks_a_key_fails_the_node_that_wants_it_with_the_keys_that_there_are() {
    let app = app_with(
        "
workflow: lacks
parameters: {path: {type: str, required: true}}
nodes:
  validate: {type: task, handler: echo, constants: {crs: 4326, bands: [red]}}
  by_receives:
    type: task
    handler: echo
    depends_on: [validate]
    receives: {x: validate.result.csr}
    best_effort: true
  by_template:
    type: task
    handler: echo
    depends_on: [validate]
    params: {x: '{{ nodes.validate.result.bands[2] }}'}
    best_effort: true
  by_condition:
    type: conditional
    depends_on: [validate]
    condition: validate.result.size
    branches:
      - {name: big, condition: gt 5, next: []}
      - {name: small, default: true, next: []}
    best_effort: true
  by_when:
    type: task
    handler: echo
    depends_on: [validate]
    when: validate.result.flag
    best_effort: true
  by_source:
    type: fan_out
    source: validate.result.tiles
    depends_on: [validate]
    task: {handler: echo, params: {}}
    best_effort: true
  by_item:
    type: fan_out
    source: validate.result.bands
    depends_on: [validate]
    task: {handler: echo, params: {x: '{{ item.name }}'}}
    best_effort: true
  by_job:
    type: job
    job_type: lacks
    parameters: {path: '{{ nodes.validate.path }}'}
    depends_on: [validate]
    best_effort: true
",
    )
    .await;
    let ran = completed(&app, "lacks", json!({ "path": "x" })).await;
    let error = |node: &str| {
        let stage = ran.progress(node)["stage"].to_string();
        let error = &ran.status["stageResults"][&stage]["errors"][0]["error"];
        error.as_str().unwrap_or_default().to_owned()
    };
    for (node, words) in [
        (
            "by_receives",
            "node \"by_receives\": receives.x needs validate.result.csr, but validate.result has no key csr: its keys are \
             bands, crs; did you mean crs?",
        ),
        (
            "by_template",
            "node \"by_template\": params.x: nodes.validate.result.bands.2 is not there: nodes.validate.result.bands has no item \
             2: it is a list of 1 items",
        ),
        (
            "by_condition",
            "node \"by_condition\": condition needs validate.result.size, but validate.result has no key size: its keys are \
             bands, crs",
        ),
        (
            "by_when",
            "node \"by_when\": when needs validate.result.flag, but validate.result has no key flag: its keys are bands, crs",
        ),
        (
            "by_source",
            "node \"by_source\": source needs validate.result.tiles, but validate.result has no key tiles: its keys are \
             bands, crs",
        ),
        (
            "by_item",
            "node \"by_item\": task.params.x of item 0: item.name is not there: item has no key name: it is text",
        ),
        (
            "by_job",
            "node \"by_job\": parameters.path: nodes.validate.path is not there: nodes.validate has no key path: its keys are \
             result, success",
        ),
    ] {
        assert_eq!(ran.outcome(node), "failed", "{node}");
        assert_eq!(error(node), words);
    }
}

#[tokio::test]
async fn a_fan_out_over_no_array_or_too_many_items_fails_with_both() {
    let app = app_with(
        "
workflow: sources
parameters: {value: {type: list}, object: {type: dict, default: {}}}
nodes:
  pass: {type: task, handler: echo, params: [value, object]}
  many:
    type: fan_out
    source: pass.result.value
    depends_on: [pass]
    max_fan_out: 3
    task: {handler: echo, params: {}}
",
    )
    .await;
    for (parameters, words) in [
        (json!({}), "node \"many\": source pass.result.value must be a list, but it is null"),
        (
            json!({ "value": [1, 2, 3, 4] }),
            "node \"many\": its source has 4 items, more than max_fan_out (3)",
        ),
    ] {
        let reason = failed(&app, "sources", parameters).await;
        assert_eq!(reason, format!("many: {words}"));
    }
    completed(&app, "sources", json!({ "value": [1, 2, 3] })).await;
}

#[tokio::test]
async fn a_fan_out_over_more_results_than_its_bound_fails() {
    let app = app_with(
        "
workflow: results
nodes:
  list: {type: task, handler: numbers, constants: {count: 5}}
  first:
    type: fan_out
    source: list.result.items
    depends_on: [list]
    task: {handler: echo, params: {}}
  second:
    type: fan_out
    source: first
    depends_on: [first]
    max_fan_out: 4
    tolerate: {count: 4}
    task: {handler: echo, params: {}}
",
    )
    .await;
    let reason = failed(&app, "results", json!({})).await;
    assert_eq!(
        reason,
        "second: node \"second\": its source has 5 items, more than max_fan_out (4)"
    );
}

#[tokio::test]
async fn a_file_that_is_wrong_keeps_its_own_workflow_out_and_no_other() {
    let workflows = Workflows::of([
        ("right.yaml", RIGHT),
        (
            "wrong.yaml",
            "workflow: wrong\nnodes:\n  only: {type: tusk, handler: echo}\n  after: {type: task, handler: echo, depends_on: [onyl]}\n",
        ),
        ("nameless.yaml", "nodes: {}\n"),
    ]);
    let app = app_of(&workflows).await;
    let message = refused(&app, "wrong", json!({}), StatusCode::CONFLICT).await;
    let problems = "wrong.yaml:3:16: type of node \"only\" must be task or conditional or fan_out or fan_in or gate or \
                    job, not \"tusk\"; did you mean task?\nwrong.yaml:4:51: unknown node \"onyl\" in depends_on of node \
                    \"after\": known are only, after; did you mean only?";
    assert_eq!(
        workflows.without_folder(&message),
        format!("workflow \"wrong\" cannot be used, since its file is wrong:\n{problems}")
    );
    completed(&app, "right", json!({})).await;

    let health = app.request("GET", "/api/health", Body::empty()).await;
    let component = &health.body["components"]["workflow_files"];
    assert_eq!(component["status"], "unhealthy", "{}", health.body);
    let files: Vec<(&Value, &Value)> = component["wrong_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (&file["file"], &file["job_type"]))
        .collect();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].1, &Value::Null);
    assert_eq!(files[1].1, "wrong");
    let error = workflows.without_folder(component["error"].as_str().unwrap());
    assert!(
        error.starts_with("2 workflow files are wrong, and their workflows cannot be submitted:\nnameless.yaml:1:1: ")
            && error.contains("\nwrong.yaml:3:16: "),
        "{error}"
    );
}

#[tokio::test]
async fn health_names_no_workflow_files_if_all_are_right() {
    let app = app_with(RIGHT).await;
    let health = app.request("GET", "/api/health", Body::empty()).await;
    assert!(health.body["components"].get("workflow_files").is_none(), "{}", health.body);
}

#[tokio::test]
async fn a_workflow_with_the_name_of_a_job_type_in_rust_is_left_out() {
    let text = RIGHT.replace("workflow: right", "workflow: hello_world");
    let workflows = Workflows::of([("other.yaml", text.as_str())]);
    let catalog = workflows.add_to(catalog());
    let [wrong] = catalog.wrong_files() else { panic!("{:?}", catalog.wrong_files()) };
    assert_eq!(
        workflows.without_folder(&wrong.problems),
        "other.yaml:2:11: the app has a job type \"hello_world\" in Rust: one of the two needs another name"
    );
    let app = TestApp::on(&new_database_url().await, catalog, quick()).await;
    let job_id = app.submitted("hello_world", json!({ "n": 1 })).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["totalStages"], 2, "the job type in Rust runs: {status}");
}

#[tokio::test]
async fn two_files_of_one_name_keep_each_other_out() {
    let workflows = Workflows::of([("a.yaml", RIGHT), ("b.yml", RIGHT)]);
    let app = app_of(&workflows).await;
    let message = refused(&app, "right", json!({}), StatusCode::CONFLICT).await;
    assert_eq!(
        workflows.without_folder(&message),
        "workflow \"right\" cannot be used, since its file is wrong:\na.yaml:2:11: another workflow is named \"right\", too: \
         in b.yml"
    );
}

#[tokio::test]
async fn a_handler_that_the_app_does_not_have_is_one_of_workers() {
    let text = RIGHT.replace("handler: echo", "handler: raster_cog");
    let app = app_with(&text).await;
    let answer = app.submit("right", json!({})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body["warnings"],
        json!([
            "no worker has ever served handler \"raster_cog\" of queue \"default\": its tasks wait until one does"
        ])
    );
    app.run_dry().await;
    let status = app.status(answer.body["job_id"].as_str().unwrap()).await;
    assert_eq!(
        (&status["status"], &status["progress"][0]["total"]),
        (&json!("processing"), &json!(1))
    );
}

#[tokio::test]
async fn parameters_of_a_submission_are_refused_with_field_value_and_what_is_allowed() {
    let app = app_with(
        "
workflow: parameters
parameters:
  blob: {type: str, required: true}
  size: {type: int}
  share: {type: float}
  flag: {type: bool}
  list: {type: list}
  options:
    type: dict
    nested:
      crs: {type: str, required: true}
      zoom: {type: int, default: 7}
nodes:
  only: {type: task, handler: show, params: [blob, size, share, flag, list, options]}
",
    )
    .await;
    for (parameters, words) in [
        (json!({}), "blob is missing: text"),
        (json!({ "blob": 5 }), "blob must be text, not 5"),
        (json!({ "blob": "a", "size": "5" }), "size must be a whole number, not \"5\""),
        (json!({ "blob": "a", "size": 1.5 }), "size must be a whole number, not 1.5"),
        (json!({ "blob": "a", "share": "x" }), "share must be a number, not \"x\""),
        (json!({ "blob": "a", "flag": "yes" }), "flag must be true or false, not \"yes\""),
        (json!({ "blob": "a", "list": {} }), "list must be a list, not {}"),
        (json!({ "blob": "a", "options": {} }), "options.crs is missing: text"),
        (
            json!({ "blob": "a", "options": { "crs": "x", "zoom": "y" } }),
            "options.zoom must be a whole number, not \"y\"",
        ),
        (
            json!({ "blob": "a", "options": { "crs": "x", "zooom": 3 } }),
            "options.zooom must be omitted: the known fields are crs, zoom, not 3",
        ),
        (
            json!({ "blob": "a", "bolb": "b" }),
            "bolb must be omitted: the known fields are blob, flag, list, options, share, size, not \"b\"",
        ),
    ] {
        let message =
            refused(&app, "parameters", parameters.clone(), StatusCode::BAD_REQUEST).await;
        assert_eq!(message, words, "{parameters}");
    }
    let right = json!({ "blob": "a", "options": { "crs": "x" } });
    let ran = completed(&app, "parameters", right).await;
    let result = ran.result(&app, "only").await;
    assert_eq!(result["result"]["options"], json!({ "crs": "x", "zoom": 7 }));
    assert_eq!(result["result"]["size"], Value::Null);
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_node_with_its_words() {
    async fn panics(_: TaskContext, _: Value) -> Result<Value, TaskError> {
        panic!("no such band")
    }
    let workflows = Workflows::of([(FILE, RIGHT.replace("echo", "panics").as_str())]);
    let catalog = Catalog::default().handler("panics", panics);
    let timing = quick();
    let app = workflows.on(&new_database_url().await, catalog, timing).await;
    let ran = ran(&app, "right", json!({})).await;
    let reason = ran.status["errorDetails"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "only: 1 of 1 tasks failed; first: only the handler panicked: no such band"
        ),
        "{reason}"
    );
}
