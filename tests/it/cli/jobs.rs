//! The command line as a user uses it: submit, watch, list, change, and the output for scripts.

use std::process::Stdio;

use futures_util::StreamExt;
use lastlight_local::broker::service_bus::NewMessage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    cli::harness::{App, Said},
    harness::LIMIT,
};

/// A job of one stage in which one of `every` tasks fails.
fn failing(tag: &str, tasks: u64, every: u64) -> Value {
    json!({ "tag": tag, "stages": [{ "tasks": tasks, "rules": [{ "every": every, "at": 1, "act": "fail" }] }] })
}

/// A job with slow tasks.
fn slow(tag: &str, tasks: u64, ms: u64) -> Value {
    json!({ "tag": tag, "stages": [{ "tasks": tasks, "ms": ms }] })
}

fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn submit_with_watch_follows_a_job_to_its_end() {
    let app = App::start().await;
    let said = app
        .run(&["submit", "hello_world", "-p", "n=20", "-p", "name=Ada Lovelace", "--watch"])
        .await;
    // The lines in between depend on the speed of the run.
    let sure: Vec<&str> = said
        .out
        .lines()
        .filter(|line| {
            !line.contains("planned")
                && !line.contains("has not begun")
                && (!line.contains("tasks done") || line.contains("20 of 20"))
        })
        .collect();
    insta::assert_snapshot!(crate::cli::harness::redacted(&sure.join("\n")));
    assert_eq!(said.code, 0, "{}", said.err);
    let again = app
        .run(&["submit", "hello_world", "--params", r#"{"n": 20, "name": "Ada Lovelace"}"#])
        .await;
    insta::assert_snapshot!(again.whole());
    app.stop().await;
}

#[tokio::test]
async fn submit_reads_parameters_from_file_and_stdin() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parameters.json");
    std::fs::write(&file, r#"{"n": 3, "name": "File"}"#).unwrap();
    let given = |said: Said| said.json()["parameters"].clone();
    let from_file = app
        .run(&["submit", "hello_world", "--file", file.to_str().unwrap(), "-p", "n=4", "--json"])
        .await;
    assert_eq!(given(from_file), json!({ "n": 4, "name": "File", "use_service_bus": false }));
    let from_input = app
        .run_with_input(
            &["submit", "hello_world", "--file", "-", "--service-bus", "--json"],
            r#"{"n": 5}"#,
        )
        .await;
    assert_eq!(given(from_input), json!({ "n": 5, "name": "World", "use_service_bus": true }));
    for (arguments, words) in [
        (&["--params", "[1]"][..], "--params: it is JSON, but not an object"),
        (&["--params", "{n: 1}"], "--params: it is not JSON"),
        (&["--file", "/nowhere/at/all"], "--file /nowhere/at/all: No such file"),
        (&["-p", "n"], "expected NAME=VALUE"),
        (&["--params", "{}", "--file", "-"], "cannot be used with"),
    ] {
        let said = app.run(&[&["submit", "hello_world"], arguments].concat()).await;
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    app.stop().await;
}

#[tokio::test]
async fn jobs_are_found_by_labels_and_parameters() {
    let app = App::start().await;
    let submit = async |n: &str, labels: &[&str]| {
        let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
        let arguments = [&["submit", "hello_world", "-p", n, "--json"], &*labels].concat();
        let said = app.run(&arguments).await;
        assert_eq!(said.code, 0, "{}", said.err);
        said.json()["job_id"].as_str().unwrap().to_owned()
    };
    let roads = submit("n=1", &["team=roads", "run=a b"]).await;
    submit("n=2", &["team=rivers"]).await;
    submit("n=3", &[]).await;
    for (arguments, count) in [
        (&["--label", "team=roads"][..], 1),
        (&["--label", "team=roads", "--param", "n=1", "--query", "a b"], 1),
        (&["--label", "team=roads", "--param", "n=2"], 0),
        (&["--param", "use_service_bus=false"], 3),
        (&["--query", "r", "--from", "2026-01-01"], 2),
        (&["--query", "r", "--to", "2020-01-01"], 0),
        (&["--query", &roads[..12]], 1),
        (&["--hours", "1"], 3),
    ] {
        let said = app.run(&[&["jobs", "--json"], arguments].concat()).await;
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        assert_eq!(said.json()["jobs"].as_array().unwrap().len(), count, "{arguments:?}");
    }
    let table = app.run(&["list", "-l", "team=roads"]).await.out;
    assert!(table.contains("LABELS") && table.contains("run=a b, team=roads"), "{table}");
    assert!(!app.run(&["list", "-p", "n=3"]).await.out.contains("LABELS"), "no job has any");
    assert_eq!(app.run(&["list", "-l", "team=nobody"]).await.out, "no matching job\n");
    let status = app.run(&["status", &roads[..12]]).await.out;
    assert!(status.contains("labels     run=a b, team=roads\n"), "{status}");
    for (arguments, code, words) in [
        (&["submit", "hello_world", "--label", "Team=roads"][..], 2, "1 to 63 of a-z"),
        (&["submit", "hello_world", "--label", "team"], 2, "expected KEY=VALUE"),
        (&["submit", "hello_world", "-l", "a=1", "-l", "a=2"], 2, "the key \"a\" twice"),
        (&["list", "--label", "=x"], 2, "expected KEY=VALUE"),
        (&["list", "--from", "2026-01-01", "--hours", "2"], 2, "cannot be used with"),
        (&["list", "--from", "yesterday"], 1, "from must be a date or a time"),
    ] {
        let said = app.run(arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_failed_job_is_shown_with_its_reason() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &failing("f", 6, 3)).await;
    let watched = app.run(&["watch", &job_id]).await;
    assert_eq!(watched.code, 1);
    let last = watched.out.lines().rev().take(2).collect::<Vec<_>>();
    insta::assert_snapshot!(crate::cli::harness::redacted(
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
    let parameters = json!({ "tag": "c", "stages": [{ "tasks": 5, "ms": 60_000 }] });
    let job_id = app.submitted("chaos", &parameters).await;
    app.until(&job_id, "processing").await;
    let mut said = Vec::new();
    for action in
        ["pause", "resume", "retry", "cancel", "cancel", "pause", "retry", "cancel", "resume"]
    {
        let answer = app.run(&[action, &job_id]).await;
        said.push(format!("{action}: {}", answer.whole()));
    }
    // The number of tasks that had run by then varies.
    let said = said.join("\n").lines().map(without_counts).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(said);
    let watched = app.run(&["watch", &job_id]).await;
    assert_eq!(watched.code, 1);
    assert!(watched.out.contains("cancelled"), "{}", watched.out);
    app.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_shows_skipped_and_no_pause() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &slow("s", 3, 60_000)).await;
    app.until(&job_id, "processing").await;
    assert_eq!(app.run(&["pause", &job_id]).await.code, 0);
    assert_eq!(app.run(&["cancel", &job_id]).await.code, 0);
    let status = app.run(&["status", &job_id]).await.out;
    assert!(status.contains("\nstatus     cancelled\n"), "{status}");
    let row = status.lines().find(|line| line.contains("chaos_task")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[2], "0/3", "{status}");
    assert!(cells.contains(&"3"), "skipped: {status}");
    let list = app.run(&["list"]).await.out;
    let row = list.lines().find(|line| line.contains("chaos")).unwrap();
    assert!(row.contains("cancelled") && row.contains(" 0/3 "), "{list}");
    app.stop().await;
}

/// Replaces counts, so that "5 tasks" and "12 tasks" are equal.
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
async fn jobs_are_deleted_one_by_one_or_by_age() {
    let app = App::start().await;
    let running = app.submitted("chaos", &slow("d", 3, 60_000)).await;
    app.until(&running, "processing").await;
    let refused = app.run(&["delete", &running]).await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("?cancel=true"), "{}", refused.err);
    let deleted = app.run(&["delete", &running, "--cancel"]).await;
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert!(deleted.out.contains("its 3 tasks were deleted"), "{}", deleted.out);
    assert_eq!(app.run(&["status", &running]).await.code, 1);

    let young = app.submitted("chaos", &slow("e", 2, 1)).await;
    app.until(&young, "completed").await;
    let look = ["purge", "--older-than", "1h", "--status", "completed", "--status", "failed"];
    let none = app.run(&[&look[..], &["--dry-run"]].concat()).await;
    assert_eq!((none.code, none.out.trim()), (0, "No job is old enough to be deleted."));
    for wrong in ["0d", "soon", "30"] {
        let refused = app.run(&["purge", "--older-than", wrong, "--status", "completed"]).await;
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("30d, 12h"), "{}", refused.err);
    }
    assert_eq!(app.run(&["purge", "--older-than", "30d"]).await.code, 2, "a state must be named");
    app.stop().await;
}

#[tokio::test]
async fn json_output_is_the_answer_of_the_app() {
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
        "the job is completed; it is finished and cannot be cancelled"
    );
    app.stop().await;
}

#[tokio::test]
async fn jobs_are_listed_and_found_by_an_id_prefix() {
    let app = App::start().await;
    insta::assert_snapshot!(app.run(&["list"]).await.whole());
    let failed = app.submitted("chaos", &failing("l", 6, 3)).await;
    app.until(&failed, "failed").await;
    let done = app.submitted("hello_world", &json!({ "n": 12, "use_service_bus": true })).await;
    app.until(&done, "completed").await;
    insta::assert_snapshot!(app.run(&["list"]).await.whole());
    insta::assert_snapshot!(app.run(&["list", "--limit", "1"]).await.whole());
    let ids = |said: Said| -> Vec<String> {
        let jobs = said.json()["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
    };
    for filter in [&["--status", "failed"][..], &["--type", "chaos"], &["--path", "queue_storage"]]
    {
        let said = app.run(&[&["list", "--json"], filter].concat()).await;
        assert_eq!(ids(said), [failed.as_str()], "{filter:?}");
    }
    let unknown = app.run(&["list", "--type", "nothing"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("\"nothing\""), "{}", unknown.err);

    let found = app.run(&["status", &done[..8], "--json"]).await;
    assert_eq!(found.json()["jobId"], done.as_str());
    let nothing = app.run(&["status", "0123456789abcdef"]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("lastlight list"), "{}", nothing.err);
    app.stop().await;
}

#[tokio::test]
async fn list_reads_all_pages_into_one_document() {
    let app = App::start().await;
    let client = reqwest::Client::new();
    let url = format!("{}/api/jobs/submit/hello_world", app.cloud.base_url());
    let submits = (0..105).map(|number| {
        let body = json!({ "n": 1, "name": format!("N{number}") }).to_string();
        let request = client.post(&url).body(body);
        async { request.send().await.unwrap().status() }
    });
    let answered: Vec<_> = futures_util::stream::iter(submits).buffered(8).collect().await;
    assert!(answered.iter().all(|status| *status == 200));
    let all = app.run(&["list", "--all", "--json"]).await.json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 105);
    assert_eq!(all["query_info"]["returned"], 105);
    assert_eq!(all["query_info"]["next_cursor"], Value::Null);
    let some = app.run(&["list", "--limit", "103", "--json"]).await.json();
    assert_eq!(some["jobs"].as_array().unwrap().len(), 103);
    assert_eq!(some["jobs"][0]["job_id"], all["jobs"][0]["job_id"]);
    app.stop().await;
}

#[tokio::test]
async fn failed_tasks_are_listed_first_with_the_reason() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &failing("t", 130, 64)).await;
    app.until(&job_id, "failed").await;
    insta::assert_snapshot!(app.run(&["tasks", &job_id, "--limit", "5"]).await.whole());
    let all = app.run(&["tasks", &job_id, "--all", "--json"]).await.json();
    let tasks = all["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 130, "none is missing, none stands twice");
    let failed = tasks.iter().take_while(|task| task["status"] == "failed").count();
    assert_eq!(failed, 3);
    let completed = app
        .run(&["tasks", &job_id, "--status", "completed", "--stage", "1", "--all", "--json"])
        .await;
    assert_eq!(completed.json()["tasks"].as_array().unwrap().len(), 127);
    let none = app.run(&["tasks", &job_id, "--status", "skipped"]).await;
    assert_eq!((none.code, none.out.contains("has no matching task")), (0, true), "{}", none.out);
    app.stop().await;
}

#[tokio::test]
async fn compare_runs_the_same_job_over_both_paths() {
    let app = App::start().await;
    let said = app.run(&["compare", "--n", "40", "--tasks-per-message", "10", "--json"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let report = said.json();
    for (place, path) in ["queue_storage", "service_bus"].into_iter().enumerate() {
        let (run, metrics) = (&report["runs"][place], &report[path]);
        assert_eq!(run["processing_path"], path);
        assert_eq!(run["job"]["parameters"]["n"], 40);
        assert_eq!((&run["tasks"], &run["messages"]), (&json!(80), &json!(10)));
        assert_eq!(metrics["jobs_processed"], 1);
        assert_eq!(metrics["timeout_rate"], 0.0);
        for figure in ["avg_latency_ms", "tasks_per_second"] {
            assert!(metrics[figure].as_f64().unwrap() > 0.0, "{path} {figure}: {metrics}");
            // These are the only jobs of their type, so the app's recorded metrics are those of
            // these jobs.
            let recorded = &report["recorded"][path];
            let [here, there] = [metrics, recorded].map(|of| of[figure].as_f64().unwrap());
            assert!((here - there).abs() <= 0.001, "{path} {figure}: {here}, {there}; {report}");
        }
        let messages = report["recorded"][path]["messages_per_task"].as_f64();
        assert_eq!(messages, Some(10.0 / 80.0), "{path}");
    }
    let ids = |report: &Value| [0, 1].map(|place| report["runs"][place]["job"]["job_id"].clone());
    let again = app.run(&["compare", "--n", "40", "--tasks-per-message", "10", "--json"]).await;
    assert_ne!(ids(&report), ids(&again.json()), "a comparison runs jobs of its own");
    let words = app.run(&["compare", "--n", "5"]).await;
    assert_eq!(words.code, 0, "{}", words.err);
    for line in [
        "jobs processed",
        "average latency ms",
        "timeout rate",
        "tasks per second",
        "messages per task",
    ] {
        assert!(words.out.contains(line), "{line}: {}", words.out);
    }
    let refused = app.run(&["compare", "--job", "sb_hello_world", "--n", "5"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("use_service_bus"), "{}", refused.err);
    app.stop().await;
}

#[tokio::test]
async fn watch_tells_how_to_resume_a_paused_job() {
    let app = App::start().await;
    let parameters = json!({ "tag": "p", "stages": [{ "tasks": 3, "ms": 500 }, { "tasks": 3 }] });
    let job_id = app.submitted("chaos", &parameters).await;
    assert_eq!(app.run(&["pause", &job_id]).await.code, 0);
    let mut child = app.command(&["watch", &job_id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("The job is paused; lastlight resume") {
            let status = app.run(&["status", &job_id]).await.out;
            assert!(status.contains(", paused ") && status.contains("has not begun"), "{status}");
            let paused = app.run(&["list", "--status", "paused", "--json"]).await.json();
            assert_eq!(paused["jobs"][0]["job_id"], job_id.as_str());
            assert_eq!(paused["query_info"]["status"], "paused");
            assert_eq!(app.run(&["resume", &job_id]).await.code, 0);
        }
        said.push(line);
    }
    assert!(child.wait().await.unwrap().success(), "{said:?}");
    assert_eq!(said.iter().filter(|line| line.contains("is paused")).count(), 1, "{said:?}");
    let none = app.run(&["list", "--status", "paused"]).await;
    assert!(none.out.contains("no matching job"), "{}", none.out);
    app.stop().await;
}

#[tokio::test]
async fn types_lists_job_types_and_their_parameters() {
    let app = App::start().await;
    insta::assert_snapshot!(app.run(&["types"]).await.whole());
    let types = app.run(&["types", "--json"]).await.json();
    assert_eq!(types["job_types"][0]["name"], "hello_world");
    app.stop().await;
}

#[tokio::test]
async fn ctrl_c_ends_watch_and_leaves_the_job_running() {
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
    let interrupted =
        tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(words.contains("The job keeps running."), "{words}");
    app.until(&job_id, "processing").await;
    app.stop().await;
}

#[tokio::test]
async fn a_closed_output_pipe_is_not_a_failure() {
    let app = App::start().await;
    let job_id = app.submitted("chaos", &failing("h", 4, 2)).await;
    app.until(&job_id, "failed").await;
    let running = app.submitted("chaos", &slow("r", 600, 600_000)).await;
    for (arguments, code) in [
        (&["list"][..], 0),
        (&["list", "--json"], 0),
        (&["tasks", &job_id, "--all"], 0),
        (&["status", &job_id], 0),
        (&["audit", &job_id, "--json"], 0),
        (&["types"], 0),
        (&["poison"], 0),
        (&["pause", &running], 0),
        (&["cancel", &job_id, "--json"], 1),
        // They would run for long, but nobody reads their output.
        (&["watch", &running], 0),
        (&["watch", &running, "--json"], 0),
        (&["status", "ffff"], 1),
    ] {
        let mut child =
            app.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        let output = ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
        assert!(!words.contains("panicked"), "{arguments:?}: {words}");
    }
    app.stop().await;
}

#[tokio::test]
async fn poison_lists_redrives_and_discards_messages() {
    let app = App::start().await;
    insta::assert_snapshot!(app.run(&["poison"]).await.whole());
    for body in ["not JSON at all", "nor this"] {
        let message = NewMessage { body: body.into(), ..NewMessage::default() };
        app.cloud.service_bus.send("sb-poison", vec![message]).unwrap();
    }
    let listed = app.run(&["poison", "list", "--json"]).await.json();
    let messages = listed["queue_details"]["sb-poison"]["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 2);
    let words = app.run(&["poison", "list"]).await;
    assert!(words.out.contains("not JSON at all"), "{}", words.out);
    assert!(words.out.contains("lastlight poison redrive"), "{}", words.out);
    assert!(
        !words.out.contains("poison process"),
        "it would do nothing to a review queue: {}",
        words.out
    );
    // The flags of `poison list` are also flags of `poison` without a subcommand.
    let counted = app.run(&["poison", "--peek", "0"]).await;
    assert_eq!(counted.code, 0, "{}", counted.err);
    assert!(!counted.out.contains("not JSON at all"), "{}", counted.out);
    let odd = app.run(&["poison", "--peek", "3", "process"]).await;
    assert_eq!((odd.code, odd.err.contains("--peek")), (2, true), "{}", odd.err);
    let id = |place: usize| messages[place]["message_id"].as_str().unwrap().to_owned();
    let gone = app.run(&["poison", "discard", "sb-poison", &id(0)]).await;
    assert_eq!(gone.code, 0, "{}", gone.err);
    assert!(gone.out.ends_with("was discarded. Its text was:\nnot JSON at all\n"), "{}", gone.out);
    let again = app.run(&["poison", "redrive", "sb-poison", "no-such-id"]).await;
    assert_eq!(again.code, 1, "{}", again.out);
    assert!(again.err.contains("no-such-id"), "{}", again.err);
    let processed = app.run(&["poison", "process"]).await;
    assert_eq!(processed.code, 0, "{}", processed.err);
    assert_eq!(
        processed.out,
        "1 found; 0 processed: 0 jobs and 0 tasks marked as failed.\n1 is in a review queue, for messages that this app cannot \
         read: process does not touch them. lastlight poison lists them; redrive or discard them one by one.\n"
    );
    app.stop().await;
}
