//! Fan-outs over the JSON lines of a blob in Azurite.

use std::sync::Arc;

use futures_util::TryStreamExt;
use lastlight_engine::{
    config::{BlobSettings, DEVELOPMENT_KEY, Env},
    job::erased::Catalog,
    transport::blob_storage::{BlobStorage, LinesError},
};
use lastlight_testing::blobs::{NewContainer, connection_string};
use serde_json::json;

use super::{FILE, completed, failed};
use crate::harness::{TestApp, Workflows, new_database_url, quick};

const LINES: &str = r#"
workflow: lines
parameters: {file: {type: str, required: true}}
nodes:
  many:
    type: fan_out
    source_file: params.file
    max_fan_out: 100000
    tasks_per_message: 1000
    tolerate: {count: 5}
    task: {handler: echo, params: {value: "{{ item }}", index: "{{ index }}"}}
  count: {type: fan_in, depends_on: [many], aggregation: count}
"#;

async fn app() -> TestApp {
    app_with(LINES).await
}

async fn app_with(text: &str) -> TestApp {
    let connection = connection_string(DEVELOPMENT_KEY);
    let workflows =
        Workflows::of([(FILE, text)]).with_settings([("AzureWebJobsStorage", connection.as_str())]);
    workflows.on(&new_database_url().await, Catalog::default(), quick()).await
}

#[tokio::test]
async fn each_line_of_a_blob_is_an_item() {
    let container = NewContainer::create().await;
    let mut text = String::new();
    for number in 0..20_000 {
        // More than one part: 1 MiB is read at once.
        text.push_str(&format!("{{\"n\": {number}, \"text\": \"{}\"}}\n", "ä".repeat(120)));
        if number % 5000 == 0 {
            text.push_str("\n  \r\n");
        }
    }
    assert!(text.len() > 4 * 1024 * 1024);
    container.write("lines.jsonl", text).await;
    let app = app().await;
    let file = format!("{}/lines.jsonl", container.name);
    app.submitted("lines", json!({ "file": file })).await;
    assert_eq!(app.planned().await.len(), 20);
    let planned: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT (parameters->>'index')::bigint, (parameters->'value'->>'n')::bigint FROM tasks ORDER BY ordinal",
    )
    .fetch_all(&mut app.connection().await)
    .await
    .unwrap();
    let wanted: Vec<(i64, i64)> = (0..20_000).map(|number| (number, number)).collect();
    assert!(planned == wanted, "{} tasks", planned.len());
}

#[tokio::test]
async fn the_address_of_a_blob_is_its_container_and_name_or_its_url() {
    let container = NewContainer::create().await;
    // Without a line break at the end.
    container.write("a b/ü.jsonl", "1\n\"two\"").await;
    let app = app().await;
    let url = format!("{}/a%20b/%C3%BC.jsonl", container.url);
    for file in [format!("{}/a b/ü.jsonl", container.name), url] {
        let ran = completed(&app, "lines", json!({ "file": file })).await;
        let results = ran.results(&app, "many").await;
        assert_eq!(results[1]["result"], json!({ "value": "two", "index": 1 }));
        assert_eq!(results.len(), 2, "{file}");
    }
    container.write("empty.jsonl", "").await;
    let ran =
        completed(&app, "lines", json!({ "file": format!("{}/empty.jsonl", container.name) }))
            .await;
    assert_eq!(ran.output("count"), &json!({ "count": 0 }));
}

#[tokio::test]
async fn what_is_wrong_with_a_file_fails_the_node_even_if_it_tolerates_failures() {
    let container = NewContainer::create().await;
    let name = &container.name;
    container.write("wrong.jsonl", "1\n\n2\n{\"n\": \n3\n").await;
    let app = app().await;
    for (file, words) in [
        (
            format!("{name}/wrong.jsonl"),
            format!("line 4 of {name}/wrong.jsonl is not JSON: EOF while parsing a value at line 1 column 6"),
        ),
        (format!("{name}/none.jsonl"), format!("there is no blob {name}/none.jsonl")),
        (
            "lines.jsonl".to_owned(),
            "\"lines.jsonl\" is not the address of a blob: it must be container/name".to_owned(),
        ),
        (
            "https://other.blob.core.windows.net/c/lines.jsonl".to_owned(),
            "\"https://other.blob.core.windows.net/c/lines.jsonl\" is not a blob of the app's storage account".to_owned(),
        ),
    ] {
        let reason = failed(&app, "lines", json!({ "file": file })).await;
        let wanted = format!("many: {words}");
        assert!(reason.starts_with(&wanted), "{reason}\n{wanted}");
    }
}

#[tokio::test]
async fn a_retry_reads_a_file_that_was_missing_or_wrong() {
    let container = NewContainer::create().await;
    let app = app().await;
    for (name, before) in [("late.jsonl", None), ("wrong.jsonl", Some("1\nwrong\n"))] {
        if let Some(before) = before {
            container.write(name, before).await;
        }
        let job = json!({ "file": format!("{}/{name}", container.name) });
        let job_id = app.submitted("lines", job).await;
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["status"], "failed", "{status}");
        assert_eq!(status["progress"][0]["node"]["outcome"], "failed");
        container.write(name, "1\n2\n3\n").await;
        let answer = app.control("retry", &job_id).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let status = app.run_until_finished(&job_id).await;
        assert_eq!(status["status"], "completed", "{status}");
        assert_eq!(super::results(&app, &job_id, "many").await.len(), 3);
        app.assert_consistent(&job_id).await;
    }
}

/// A fan-out over a file, of more lines than one chunk of a plan has.
#[tokio::test]
async fn a_retry_goes_on_with_a_file_after_the_tasks_that_were_planned() {
    let container = NewContainer::create().await;
    let app = app().await;
    // More than one part: 1 MiB is read at once.
    let line = |number: u64| format!("\"{number} {}\"\n", "x".repeat(4000));
    let lines = |last: &str| (0..1500).map(line).collect::<String>() + last;
    container.write("long.jsonl", lines("wrong\n")).await;
    let job = json!({ "file": format!("{}/long.jsonl", container.name) });
    let job_id = app.submitted("lines", job).await;
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "failed", "{status}");
    // The tasks before ran.
    assert_eq!(status["progress"][0]["completed"], 1000, "{status}");
    container.write("long.jsonl", lines(&line(1500))).await;
    assert_eq!(app.control("retry", &job_id).await.status, 200);
    let status = app.run_until_finished(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(super::attempts(&app, &job_id, "many").await, [1; 1501]);
    app.assert_consistent(&job_id).await;
}

#[tokio::test]
async fn a_best_effort_node_without_its_file_does_not_fail_the_job() {
    let text = LINES.replace("    type: fan_out\n", "    type: fan_out\n    best_effort: true\n");
    assert_ne!(text, LINES);
    let app = app_with(&text).await;
    let ran = completed(&app, "lines", json!({ "file": "nowhere/none.jsonl" })).await;
    assert_eq!(ran.outcome("many"), "failed");
    let error = ran.output("many")["error"].as_str().unwrap();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn a_source_file_that_is_no_address_fails_the_node() {
    let text =
        LINES.replace("type: str, required: true", "type: dict, nested: {blob: {type: str}}");
    let text = text.replace("params.file", "params.file.blob");
    let app = super::app_with(&text).await;
    let reason = failed(&app, "lines", json!({ "file": {} })).await;
    assert_eq!(
        reason,
        "many: node \"many\": source_file params.file.blob must be the address of a blob, \
         but it is null"
    );
}

#[tokio::test]
async fn a_blob_that_changes_while_it_is_read_is_an_error() {
    let container = NewContainer::create().await;
    let line = format!("\"{}\"\n", "x".repeat(100_000));
    container.write("lines.jsonl", line.repeat(100)).await;
    let connection = connection_string(DEVELOPMENT_KEY);
    let mut env = Env::from_pairs([("AzureWebJobsStorage", connection.as_str())]);
    let storage = Arc::new(BlobStorage::new(BlobSettings::from_env(&mut env)));
    let file = format!("{}/lines.jsonl", container.name);
    let mut lines = storage.json_lines(file.clone());
    // The first line comes with others of its part.
    assert_eq!(lines.try_next().await.unwrap().unwrap().as_str().unwrap().len(), 100_000);
    container.write("lines.jsonl", line.repeat(101)).await;
    let mut read = 1;
    let error = loop {
        match lines.try_next().await {
            Ok(Some(_)) => read += 1,
            Ok(None) => panic!("{read} lines of two blobs"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, LinesError::Wrong(format!("{file} was changed while it was read")));
    assert!(read < 100, "{read} lines");
}
