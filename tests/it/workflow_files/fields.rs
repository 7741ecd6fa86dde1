//! Every field of a node does what it says.

use serde_json::json;

use super::{app_with, attempts, completed, failed, ran};

#[tokio::test]
async fn constants_replace_parameters_and_received_values_replace_both() {
    let app = app_with(
        "
workflow: layers
parameters:
  a: {type: str, default: parameter}
  b: {type: str, default: parameter}
  c: {type: str, default: parameter}
  missing: {type: int}
nodes:
  first: {type: task, handler: echo, constants: {value: received}}
  second:
    type: task
    handler: echo
    depends_on: [first]
    params: [a, b, c, missing]
    constants: {b: constant, c: constant, list: [1, {two: 2}]}
    receives: {c: first.result.value, whole: first}
",
    )
    .await;
    let ran = completed(&app, "layers", json!({})).await;
    assert_eq!(
        ran.result(&app, "second").await["result"],
        json!({
            "a": "parameter", "b": "constant", "c": "received", "missing": null,
            "list": [1, { "two": 2 }],
            "whole": { "success": true, "result": { "value": "received" } },
        })
    );
}

#[tokio::test]
async fn a_mapping_of_parameters_has_templates_and_literals() {
    let app = app_with(
        r#"
workflow: templates
parameters:
  options: {type: dict}
  names: {type: list, default: [red, green]}
  size: {type: int, default: 3}
nodes:
  first: {type: task, handler: echo, constants: {bands: [{name: a}, {name: b}], none: null}}
  second:
    type: task
    handler: echo
    depends_on: [first]
    params:
      kept_number: "{{ inputs.size }}"
      kept_list: "{{ inputs.names }}"
      kept_object: "{{ nodes.first.result.bands[1] }}"
      stored_null: "{{ nodes.first.result.none }}"
      sum: "{{ inputs.size + 1 }}"
      text: "{{ inputs.names[0] ~ '-' ~ inputs.size }}"
      option: "{{ inputs.options.get('k', False) if inputs.options else None }}"
      literal: plain
      number: 5
      nested: {deep: ["{{ inputs.size }}", x]}
"#,
    )
    .await;
    let wanted = |option| {
        json!({
            "kept_number": 3, "kept_list": ["red", "green"], "kept_object": { "name": "b" },
            "stored_null": null, "sum": 4, "text": "red-3", "option": option,
            "literal": "plain", "number": 5, "nested": { "deep": [3, "x"] },
        })
    };
    for (parameters, option) in [
        (json!({}), json!(null)),
        (json!({ "options": { "other": 1 } }), json!(false)),
        (json!({ "options": { "k": [1] } }), json!([1])),
    ] {
        let ran = completed(&app, "templates", parameters).await;
        assert_eq!(ran.result(&app, "second").await["result"], wanted(option));
    }
}

#[tokio::test]
async fn a_node_whose_when_is_no_is_skipped_with_all_that_needs_it() {
    let app = app_with(
        "
workflow: conditional
parameters:
  flag: {type: bool, default: false}
  count: {type: int, default: 0}
nodes:
  first: {type: task, handler: echo, params: [count]}
  by_own: {type: task, handler: echo, params: [flag], when: flag}
  by_params: {type: task, handler: echo, when: params.flag}
  by_node: {type: task, handler: echo, when: first.result.count, depends_on: [first]}
  needs: {type: task, handler: echo, depends_on: [by_own]}
  deeper: {type: task, handler: echo, depends_on: [needs]}
  tolerates: {type: task, handler: echo, depends_on: ['by_own?', first]}
  many:
    type: fan_out
    when: params.flag
    depends_on: [first]
    source: params.list
    task: {handler: echo, params: {item: '{{ item }}'}}
  all: {type: fan_in, depends_on: [many]}
"
        .replace("  count:", "  list: {type: list, default: [1]}\n  count:")
        .as_str(),
    )
    .await;
    let no = completed(&app, "conditional", json!({})).await;
    assert_eq!(
        no.status["resultData"]["outcomes"],
        json!({
            "first": "completed", "by_own": "skipped", "by_params": "skipped", "by_node": "skipped",
            "needs": "skipped", "deeper": "skipped", "tolerates": "completed", "many": "skipped", "all": "skipped",
        })
    );
    let yes = completed(&app, "conditional", json!({ "flag": true, "count": 1 })).await;
    let outcomes = yes.status["resultData"]["outcomes"].as_object().unwrap();
    assert!(outcomes.values().all(|outcome| outcome == "completed"), "{outcomes:?}");
}

#[tokio::test]
async fn the_failure_of_a_best_effort_node_fails_neither_its_dependents_nor_the_job() {
    let app = app_with(
        "
workflow: effort
nodes:
  try: {type: task, handler: fail, best_effort: true}
  after: {type: task, handler: echo, depends_on: [try]}
",
    )
    .await;
    let ran = completed(&app, "effort", json!({})).await;
    assert_eq!(ran.outcomes(), "try failed, after completed");
    let errors = &ran.status["stageResults"]["1"]["errors"];
    assert_eq!(errors[0]["error"], "the handler fail fails attempt 1, as asked for");
}

#[tokio::test]
async fn a_failed_node_skips_its_dependents_unless_they_ask_not_to() {
    let app = app_with(
        "
workflow: marks
nodes:
  broken: {type: task, handler: fail}
  needs: {type: task, handler: echo, depends_on: [broken]}
  follows: {type: task, handler: echo, depends_on: ['broken?']}
",
    )
    .await;
    let ran = ran(&app, "marks", json!({})).await;
    assert_eq!(ran.status["status"], "failed");
    assert_eq!(ran.outcomes(), "broken failed, needs skipped, follows completed");
}

#[tokio::test]
async fn a_node_is_tried_as_often_as_its_retry_says() {
    let app = app_with(
        "
workflow: retries
parameters: {times: {type: int, required: true}}
nodes:
  try:
    type: task
    handler: stumble
    params: [times]
    retry: {max_attempts: 3, backoff: fixed, initial_delay_seconds: 1}
",
    )
    .await;
    let ran = completed(&app, "retries", json!({ "times": 2 })).await;
    assert_eq!(ran.result(&app, "try").await["result"], json!({ "attempt": 3 }));
    assert_eq!(attempts(&app, &ran.job_id, "try").await, [3]);
    let reason = failed(&app, "retries", json!({ "times": 3 })).await;
    assert_eq!(reason, "try: 1 of 1 tasks failed; first: try attempt 3 stumbled (attempt 3 of 3)");
}

#[tokio::test]
async fn an_attempt_that_takes_longer_than_timeout_seconds_fails() {
    let app = app_with(
        "
workflow: slow
nodes:
  sleep:
    type: task
    handler: sleep
    constants: {seconds: 3600}
    timeout_seconds: 1
    retry: {max_attempts: 1}
",
    )
    .await;
    let reason = failed(&app, "slow", json!({})).await;
    assert!(
        reason.starts_with(
            "sleep: 1 of 1 tasks failed; first: sleep the attempt took longer than 1.000 s: "
        ),
        "{reason}"
    );
}

#[tokio::test]
async fn finalize_sees_what_became_of_the_job_and_its_failure_changes_nothing() {
    let app = app_with(
        "
workflow: ends
nodes:
  work: {type: task, handler: echo}
finalize: {handler: fail}
",
    )
    .await;
    let ran = completed(&app, "ends", json!({})).await;
    assert_eq!(ran.outcomes(), "work completed, finalize failed");
}
