//! The command line as a person uses it: submit, follow, look, change, and what scripts get.

use std::process::Stdio;

use lastlight::local::broker::service_bus::NewMessage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli_harness::{App, Said};

/// A job of one stage whose tasks fail as the rule says.
fn failing(tag: &str, tasks: u64, every: u64) -> Value {
    json!({ "tag": tag, "stages": [{ "tasks": tasks, "rules": [{ "every": every, "at": 1, "act": "fail" }] }] })
}

/// A job that takes its time.
fn slow(tag: &str, tasks: u64, ms: u64) -> Value {
    json!({ "tag": tag, "stages": [{ "tasks": tasks, "ms": ms }] })
}

fn lines(said: &Said) -> Vec<Value> {
    said.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_job_is_submitted_and_followed_to_its_end() {
    let app = App::start().await;
    let said = app
        .run(&[
            "submit",
            "hello_world",
            "-p",
            "n=20",
            "-p",
            "name=Ada Lovelace",
            "--watch",
        ])
        .await;
    // The lines in between depend on how fast it went.
    let sure: Vec<&str> = said
        .out
        .lines()
        .filter(|line| {
            !line.contains("planned") && (!line.contains("tasks done") || line.contains("20 of 20"))
        })
        .collect();
    insta::assert_snapshot!(crate::cli_harness::redacted(&sure.join("\n")));
    assert_eq!(said.code, 0, "{}", said.err);
    let again = app
        .run(&[
            "submit",
            "hello_world",
            "--params",
            r#"{"n": 20, "name": "Ada Lovelace"}"#,
        ])
        .await;
    insta::assert_snapshot!(again.whole());
    app.stop().await;
}

#[tokio::test]
async fn parameters_come_from_arguments_from_a_file_and_from_standard_input() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parameters.json");
    std::fs::write(&file, r#"{"n": 3, "name": "File"}"#).unwrap();
    let given = |said: Said| said.json()["parameters"].clone();
    let from_file = app
        .run(&[
            "submit",
            "hello_world",
            "--file",
            file.to_str().unwrap(),
            "-p",
            "n=4",
            "--json",
        ])
        .await;
    assert_eq!(
        given(from_file),
        json!({ "n": 4, "name": "File", "use_service_bus": false })
    );
    let from_input = app
        .run_with_input(
            &["submit", "hello_world", "--file", "-", "--service-bus", "--json"],
            r#"{"n": 5}"#,
        )
        .await;
    assert_eq!(
        given(from_input),
        json!({ "n": 5, "name": "World", "use_service_bus": true })
    );
    for (arguments, words) in [
        (&["--params", "[1]"][..], "--params: it is JSON and no object"),
        (&["--params", "{n: 1}"], "--params: it is not JSON"),
        (
            &["--file", "/nowhere/at/all"],
            "--file /nowhere/at/all: No such file",
        ),
        (&["-p", "n"], "it is to be NAME=VALUE"),
        (&["--params", "{}", "--file", "-"], "cannot be used with"),
    ] {
        let said = app.run(&[&["submit", "hello_world"], arguments].concat()).await;
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_job_that_fails_says_why_and_what_to_do() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &failing("f", 6, 3)).await;
    let watched = app.run(&["watch", &job_id]).await;
    assert_eq!(watched.code, 1);
    let last = watched.out.lines().rev().take(2).collect::<Vec<_>>();
    insta::assert_snapshot!(crate::cli_harness::redacted(
        &last.into_iter().rev().collect::<Vec<_>>().join("\n")
    ));
    let status = app.run(&["status", &job_id]).await;
    insta::assert_snapshot!(status.whole());
    let audit = app.run(&["audit", &job_id]).await;
    insta::assert_snapshot!(audit.whole());
    app.stop().await;
}

#[tokio::test]
async fn a_job_is_paused_resumed_cancelled_and_retried() {
    let app = App::start().await;
    let parameters = json!({ "tag": "c", "stages": [{ "tasks": 5, "ms": 300 }, { "tasks": 5, "ms": 5000 }] });
    let job_id = app.submitted("chaos", &parameters).await;
    app.until(&job_id, "processing").await;
    let mut said = Vec::new();
    for action in ["pause", "resume", "cancel", "cancel", "retry", "cancel", "resume"] {
        let answer = app.run(&[action, &job_id]).await;
        said.push(format!("{action}: {}", answer.whole()));
    }
    // How many tasks had run by then differs.
    let said = said
        .join("\n")
        .lines()
        .map(without_counts)
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(said);
    let watched = app.run(&["watch", &job_id]).await;
    assert_eq!(watched.code, 1);
    assert!(watched.out.contains("cancelled"), "{}", watched.out);
    app.stop().await;
}

/// "5 tasks" and "12 tasks" are the same.
fn without_counts(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let said: Vec<&str> = words
        .iter()
        .enumerate()
        .map(|(place, word)| match words.get(place + 1) {
            Some(&"tasks") if word.parse::<u64>().is_ok() => "<n>",
            _ => word,
        })
        .collect();
    said.join(" ")
}

#[tokio::test]
async fn scripts_get_the_app_s_documents_and_watch_a_line_a_change() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &slow("j", 8, 200)).await;
    let watched = app.run(&["watch", &job_id, "--json"]).await;
    assert_eq!((watched.code, watched.err.as_str()), (0, ""));
    let changes = lines(&watched);
    assert!(changes.len() > 1, "{}", watched.out);
    assert_eq!(changes.last().unwrap()["status"], "completed");
    let status = app.run(&["status", &job_id, "--json"]).await.json();
    assert_eq!(status["jobId"], job_id.as_str());
    assert_eq!(status["progress"][0]["completed"], 8);
    assert!(status["request_id"].is_string());
    let refused = app.run(&["cancel", &job_id, "--json"]).await;
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.json()["message"],
        "job cannot go from completed to cancelled"
    );
    app.stop().await;
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_running_and_says_so() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &slow("i", 600, 2000)).await;
    let mut child = app
        .command(&["watch", &job_id])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap().expect("it follows the job");
    let pid = child.id().unwrap().to_string();
    let interrupted = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .await
        .unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(words.contains("The job goes on without you."), "{words}");
    app.until(&job_id, "processing").await;
    app.stop().await;
}

#[tokio::test]
async fn what_was_set_aside_is_listed_sent_again_and_thrown_away() {
    let app = App::start().await;
    insta::assert_snapshot!(app.run(&["poison"]).await.whole());
    for body in ["not JSON at all", "nor this"] {
        let message = NewMessage {
            body: body.into(),
            ..NewMessage::default()
        };
        app.cloud.service_bus.send("sb-poison", vec![message]).unwrap();
    }
    let listed = app.run(&["poison", "list", "--json"]).await.json();
    let messages = listed["queue_details"]["sb-poison"]["messages"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(messages.len(), 2);
    let words = app.run(&["poison", "list"]).await;
    assert!(words.out.contains("not JSON at all"), "{}", words.out);
    assert!(words.out.contains("lastlight poison redrive"), "{}", words.out);
    let id = |place: usize| messages[place]["message_id"].as_str().unwrap().to_owned();
    let gone = app.run(&["poison", "discard", "sb-poison", &id(0)]).await;
    assert_eq!(gone.code, 0, "{}", gone.err);
    assert!(
        gone.out.ends_with("is gone. It was:\nnot JSON at all\n"),
        "{}",
        gone.out
    );
    let again = app.run(&["poison", "redrive", "sb-poison", "no-such-id"]).await;
    assert_eq!(again.code, 1, "{}", again.out);
    assert!(again.err.contains("no-such-id"), "{}", again.err);
    let processed = app.run(&["poison", "process"]).await;
    assert_eq!(processed.code, 0, "{}", processed.err);
    assert!(
        processed.out.contains("0 jobs and 0 tasks failed"),
        "{}",
        processed.out
    );
    app.stop().await;
}
