//! Fan-outs: a task per item, whatever the items come from. Fan-ins: what becomes of the results.

use lastlight_engine::transport::sender::QueueRole;
use serde_json::{Value, json};

use super::{app_with, completed, failed, ran};

fn results_in(outputs: &[Value]) -> Vec<Value> {
    outputs.iter().map(|output| output["result"].clone()).collect()
}

#[tokio::test]
async fn a_fan_out_has_a_task_per_item_of_a_parameter_a_result_or_another_fan_out() {
    let app = app_with(
        r#"
workflow: sources
parameters: {list: {type: list, default: [a, {k: b}, null]}}
nodes:
  of_params:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {item: "{{ item }}", index: "{{ index }}"}}
  count: {type: task, handler: numbers, constants: {count: 4}}
  of_result:
    type: fan_out
    source: count.result.items
    depends_on: [count]
    task: {handler: echo, params: {n: "{{ item * 10 }}"}}
  of_fan_out:
    type: fan_out
    source: of_result
    depends_on: [of_result]
    task: {handler: echo, params: {n: "{{ item.result.n + index }}", ok: "{{ item.success }}"}}
  all: {type: fan_in, depends_on: [of_fan_out]}
  of_fan_in:
    type: fan_out
    source: all.items
    depends_on: [all]
    task: {handler: echo, params: {n: "{{ item.result.n }}"}}
"#,
    )
    .await;
    let ran = completed(&app, "sources", json!({})).await;
    let results = async |node| results_in(&ran.results(&app, node).await);
    assert_eq!(
        results("of_params").await,
        [
            json!({ "item": "a", "index": 0 }),
            json!({ "item": { "k": "b" }, "index": 1 }),
            json!({ "item": null, "index": 2 }),
        ]
    );
    assert_eq!(results("of_result").await, [0, 10, 20, 30].map(|n| json!({ "n": n })));
    let numbers = [0, 11, 22, 33];
    assert_eq!(results("of_fan_out").await, numbers.map(|n| json!({ "n": n, "ok": true })));
    assert_eq!(results("of_fan_in").await, numbers.map(|n| json!({ "n": n })));
    assert_eq!(
        ran.output("all")["items"][3],
        json!({ "success": true, "result": { "n": 33, "ok": true } })
    );
}

#[tokio::test]
async fn a_fan_out_over_an_empty_list_completes_and_is_no_reason_to_skip() {
    let app = app_with(
        r#"
workflow: empty
parameters: {list: {type: list, default: []}}
nodes:
  many:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {item: "{{ item }}"}}
  all: {type: fan_in, depends_on: [many]}
  again:
    type: fan_out
    source: many
    depends_on: [many]
    task: {handler: echo, params: {item: "{{ item }}"}}
  after: {type: task, handler: echo, depends_on: [all, again], receives: {items: all.items}}
"#,
    )
    .await;
    let ran = completed(&app, "empty", json!({})).await;
    assert_eq!(ran.outcomes(), "many completed, all completed, again completed, after completed");
    assert_eq!(ran.result(&app, "after").await["result"], json!({ "items": [] }));
}

#[tokio::test]
async fn a_fan_in_collects_adds_up_counts_or_takes_the_first() {
    let app = app_with(
        r#"
workflow: gathers
parameters: {list: {type: list, default: [3, 4.5, 5]}}
nodes:
  many:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {value: "{{ item }}"}}
  collect: {type: fan_in, depends_on: [many]}
  sum: {type: fan_in, depends_on: [many], aggregation: sum}
  count: {type: fan_in, depends_on: [many], aggregation: count}
  first: {type: fan_in, depends_on: [many], aggregation: first}
  after:
    type: task
    handler: echo
    depends_on: [collect, sum, count, first]
    receives: {second: collect.items.1.result.value, sum: sum.total, count: count.count, first: first.result.value}
"#,
    )
    .await;
    let ran = completed(&app, "gathers", json!({})).await;
    let item = |value: Value| json!({ "success": true, "result": { "value": value } });
    assert_eq!(
        ran.output("collect"),
        &json!({ "items": [item(json!(3)), item(json!(4.5)), item(json!(5))] })
    );
    assert_eq!(ran.output("sum"), &json!({ "total": 12.5 }));
    assert_eq!(ran.output("count"), &json!({ "count": 3 }));
    assert_eq!(ran.output("first"), &item(json!(3)));
    assert_eq!(
        ran.result(&app, "after").await["result"],
        json!({ "second": 4.5, "sum": 12.5, "count": 3, "first": 3 })
    );
    let reason = failed(&app, "gathers", json!({ "list": [1, "two"] })).await;
    assert_eq!(
        reason,
        "sum: item 1 cannot be added up: its output must be a number, or have one as value, result or result.value; it is \
         an object with the keys result, success"
    );
}

/// Every item that is `false` fails.
const TOLERANT: &str = r#"
workflow: tolerant
parameters: {list: {type: list, required: true}}
nodes:
  many:
    type: fan_out
    source: params.list
    tolerate: {share: 0.5}
    task:
      handler: answer
      params: {text: "{{ '1' if item else 'no JSON' }}"}
  all: {type: fan_in, depends_on: [many]}
  count: {type: fan_in, depends_on: [many], aggregation: count}
"#;

#[tokio::test]
async fn a_fan_out_tolerates_a_share_or_a_number_of_failures() {
    for tolerate in ["share: 0.5", "count: 2"] {
        let app = app_with(&TOLERANT.replace("share: 0.5", tolerate)).await;
        let ran = completed(&app, "tolerant", json!({ "list": [false, true, true, false] })).await;
        assert_eq!(ran.output("count"), &json!({ "count": 2 }));
        let items = ran.output("all")["items"].as_array().unwrap();
        assert_eq!(items.len(), 4, "the place of each item is that of its source");
        assert_eq!(items[1], json!({ "success": true, "result": 1 }));
        assert_eq!(
            items[3],
            json!({ "success": false, "error": "expected ident at line 1 column 2" })
        );
        let reason = failed(&app, "tolerant", json!({ "list": [false, true, false, false] })).await;
        assert!(
            reason.starts_with("many: 3 of 4 tasks failed; first: 0 expected ident"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn several_tasks_of_a_fan_out_go_in_one_message() {
    let app = app_with(
        r#"
workflow: coarse
parameters: {list: {type: list, default: [1, 2, 3, 4, 5]}}
nodes:
  many:
    type: fan_out
    source: params.list
    tasks_per_message: 2
    task: {handler: echo, params: {item: "{{ item }}"}}
"#,
    )
    .await;
    let job_id = app.submitted("coarse", json!({})).await;
    let messages = app.planned().await;
    assert_eq!(messages.len(), 3);
    app.deliver_each("process_queue_task", &messages).await;
    assert_eq!(app.queue.count(QueueRole::Tasks), 0);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["resultData"]["completed_tasks"], 5, "{status}");
}

#[tokio::test]
async fn a_collection_of_more_than_a_megabyte_is_left_out_and_is_still_the_source_of_a_fan_out() {
    let app = app_with(
        r#"
workflow: large
parameters: {list: {type: list, default: [1, 2, 3, 4, 5, 6]}}
nodes:
  many:
    type: fan_out
    source: params.list
    task: {handler: echo, params: {text: "{{ 'x' * 200000 }}", item: "{{ item }}"}}
  all: {type: fan_in, depends_on: [many]}
  again:
    type: fan_out
    source: all.items
    depends_on: [all]
    task: {handler: echo, params: {item: "{{ item.result.item }}", bytes: "{{ item.result.text | length }}"}}
  count: {type: fan_in, depends_on: [again], aggregation: count}
"#,
    )
    .await;
    let ran = completed(&app, "large", json!({})).await;
    let output = ran.output("all");
    assert_eq!(output["item_count"], 6);
    let words = output["items_left_out"].as_str().unwrap();
    assert!(
        words.starts_with("the 6 items have 12")
            && words.ends_with(
                " bytes, and an output at most 1048576: make them the source of a fan-out"
            ),
        "{words}"
    );
    let again = results_in(&ran.results(&app, "again").await);
    assert_eq!(again[5], json!({ "item": 6, "bytes": 200_000 }));
    assert_eq!(ran.output("count"), &json!({ "count": 6 }));
}

#[tokio::test]
async fn a_tolerant_fan_out_fails_if_its_items_cannot_be_had() {
    let app = app_with(
        &TOLERANT
            .replace("share: 0.5", "share: 1")
            .replace("params.list", "list.result")
            .replace("nodes:\n", "nodes:\n  list: {type: task, handler: echo, params: [list]}\n")
            .replace("    tolerate:", "    depends_on: [list]\n    tolerate:"),
    )
    .await;
    let ran = ran(&app, "tolerant", json!({ "list": [true] })).await;
    assert_eq!(
        ran.status["errorDetails"],
        "many: node \"many\": source list.result must be a list, but it is an object"
    );
    assert_eq!(ran.outcomes(), "list completed, many failed, all skipped, count skipped");
}
