//! Errors of the command line: what was requested, what happened and what to do, with the exit
//! codes of the help.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lastlight_local::broker::Endpoint;
use serde_json::{Value, json};

use crate::cli::harness::{Said, command, run};

const JOB: &str = "5d980689e58d4ec832c1e8d6ad81aefe2a2df1cdf9cb8def939dfeb3ec38c347";

async fn cli(arguments: &[&str], settings: &[(&str, &str)]) -> Said {
    run(command(arguments, settings)).await
}

#[tokio::test]
async fn an_unreachable_app_exits_3_with_a_remedy() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let said = cli(&["status", JOB, "--url", &url], &[]).await;
    insta::assert_snapshot!(said.whole());
    let json = cli(&["status", JOB, "--url", &url, "--json"], &[]).await;
    assert_eq!(json.code, 3);
    assert_eq!(json.json()["error"], "unreachable");
    let elsewhere = cli(&["types"], &[("LASTLIGHT_URL", "https://nowhere.invalid")]).await;
    assert_eq!(elsewhere.code, 3);
    assert!(elsewhere.err.contains("Is the address right?"), "{}", elsewhere.err);
}

#[tokio::test]
async fn invalid_arguments_exit_2_with_allowed_values() {
    let mut all = String::new();
    for arguments in [
        &["status", "xyz"][..],
        &["status", JOB, "--url", "localhost:7071"],
        &["status", JOB, "--url", "https://app.example/?code=topsecret"],
        &["list", "--status", "ready"],
        &["list", "--hours", "1000"],
        &["tasks", JOB, "--stage", "0"],
        &["list", "--all", "--limit", "5"],
        &["completions", "csh"],
    ] {
        let said = cli(arguments, &[]).await;
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        all.push_str(&format!("{}\n\n", said.err.trim_end()));
    }
    assert!(!all.contains("topsecret"), "{all}");
    insta::assert_snapshot!(all);
}

/// A server that gives a configured answer and records the keys of its requests.
struct Fake {
    endpoint: Endpoint,
    keys: Arc<Mutex<Vec<Option<String>>>>,
}

#[derive(Clone)]
struct Answers {
    keys: Arc<Mutex<Vec<Option<String>>>>,
    answer: fn(usize) -> Response,
}

async fn answer(State(answers): State<Answers>, request: Request) -> Response {
    let key = request.headers().get("x-functions-key");
    let key = key.map(|key| key.to_str().unwrap().to_owned());
    let mut keys = answers.keys.lock().unwrap();
    keys.push(key);
    (answers.answer)(keys.len())
}

impl Fake {
    async fn start(how: fn(usize) -> Response) -> Self {
        let keys = Arc::default();
        let answers = Answers { keys: Arc::clone(&keys), answer: how };
        let router = Router::new().fallback(answer).with_state(answers);
        let endpoint = Endpoint::start("a fake app", 0, router).await.unwrap();
        Self { endpoint, keys }
    }

    fn url(&self) -> String {
        format!("http://{}", self.endpoint.address())
    }
}

#[tokio::test]
async fn a_key_is_sent_as_a_header_and_never_printed() {
    let fake = Fake::start(|_| StatusCode::UNAUTHORIZED.into_response()).await;
    let url = fake.url();
    let without = cli(&["poison"], &[("LASTLIGHT_URL", &url)]).await;
    insta::assert_snapshot!(without.whole());
    let settings = [("LASTLIGHT_URL", url.as_str()), ("LASTLIGHT_KEY", "topsecret")];
    let with = cli(&["poison"], &settings).await;
    assert_eq!(with.code, 1);
    assert_eq!(*fake.keys.lock().unwrap(), [None, Some("topsecret".to_owned())]);
    let help = cli(&["poison", "--help"], &settings).await;
    let elsewhere = [("LASTLIGHT_URL", "http://app.example"), ("LASTLIGHT_KEY", "topsecret")];
    let in_the_clear = cli(&["poison"], &elsewhere).await;
    assert_eq!(in_the_clear.code, 2);
    assert!(in_the_clear.err.contains("use https://"), "{}", in_the_clear.err);
    for said in [with, help, in_the_clear] {
        assert!(!format!("{}{}", said.out, said.err).contains("topsecret"));
    }
}

/// The answer to a submission.
fn submission(job_id: &str) -> Value {
    json!({ "job_id": job_id, "status": "created", "job_type": "hello_world", "message": "The job was created and queued.",
            "parameters": {}, "queue_info": { "queued": true, "queue_name": "jobs", "message_id": "m",
            "processing_path": "queue_storage", "job_id": job_id, "stage": 1 } })
}

#[tokio::test]
async fn a_503_is_retried_where_that_is_safe() {
    fn starting(times: usize) -> Response {
        let body = json!({ "error": "database unavailable", "message": "it is starting", "request_id": "r" });
        if times == 1 {
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], body.to_string())
                .into_response();
        }
        submission(JOB).to_string().into_response()
    }
    let fake = Fake::start(starting).await;
    let url = fake.url();
    let said = cli(&["submit", "hello_world", "-p", "n=1", "--url", &url], &[]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("it is starting; trying again"), "{}", said.err);
    let fake = Fake::start(starting).await;
    let url = fake.url();
    let said = cli(&["cancel", JOB, "--url", &url], &[]).await;
    assert_eq!(said.code, 1);
    assert_eq!(fake.keys.lock().unwrap().len(), 1, "a change was repeated");
}

#[tokio::test]
async fn a_server_that_is_not_the_app_is_recognised() {
    let mut all = String::new();
    let cases: [fn(usize) -> Response; 4] = [
        |_| (StatusCode::BAD_GATEWAY, "<html>Bad\nGateway</html>").into_response(),
        |_| "<html>Hello</html>".into_response(),
        |_| "{\"hello\": 1}".into_response(),
        |_| {
            (StatusCode::MOVED_PERMANENTLY, [("location", "https://b.example/api")]).into_response()
        },
    ];
    for how in cases {
        let fake = Fake::start(how).await;
        let said = cli(&["status", JOB, "--url", &fake.url()], &[]).await;
        all.push_str(&format!("{}\n\n", said.whole()));
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn messages_held_by_functions_are_reported() {
    fn queue(count: u64, is_review: bool, messages: &Value) -> Value {
        json!({ "processing_path": "service_bus", "holds": "messages", "is_review": is_review, "poison_messages": count,
                "messages": messages })
    }
    let listing = Fake::start(|_| {
        let review = json!([{ "message_id": "m-1", "delivery_count": 1, "message": "not JSON" }]);
        let queues = json!({ "sb-tasks/$DeadLetterQueue": queue(100, false, &json!([])), "sb-poison": queue(1, true, &review) });
        json!({ "action": "status_check", "queues_checked": ["sb-tasks/$DeadLetterQueue", "sb-poison"],
                "last_checked": "2026-11-25T10:00:00.000000+00:00", "poison_messages_found": 101, "status": "attention_needed", "queue_details": queues })
            .to_string()
            .into_response()
    })
    .await;
    let said = cli(&["poison", "--url", &listing.url()], &[]).await;
    insta::assert_snapshot!(said.whole());
    let processing = Fake::start(|_| {
        json!({ "action": "process_poison_messages", "success": true, "processed_at": "2026-11-25T10:00:00.000000+00:00",
                "poison_messages_found": 103, "left_for_review": 3, "jobs_marked_failed": 1, "tasks_marked_failed": 1,
                "messages": [{ "queue": "q", "message_id": "m", "outcome": "failed", "reason": "why",
                               "jobs_failed": 1, "tasks_failed": 1, "tasks_sent_again": 0 }] })
        .to_string()
        .into_response()
    })
    .await;
    let said = cli(&["poison", "process", "--url", &processing.url()], &[]).await;
    insta::assert_snapshot!(said.whole());
}

#[tokio::test]
async fn retrying_tasks_are_listed_after_failed_ones() {
    // The command asks for failed tasks, then for retrying ones, then for all, and then for the names of
    // their nodes, which this app does not know.
    let app = Fake::start(|request| {
        let task = |index: u8, status: &str, error: Value| {
            json!({ "task_id": format!("5d980689-s1-t-{index}"), "task_type": "t", "stage": 1, "task_index": index.to_string(),
                    "status": status, "attempt": 2, "error_details": error, "parent_job_id": JOB, "job_type": "t",
                    "ordinal": index, "retry_count": 1, "batch_id": format!("{JOB}-s1-b0"), "parameters": {},
                    "created_at": "2026-11-25T10:00:00.000000+00:00", "updated_at": "2026-11-25T10:00:00.000000+00:00" })
        };
        let failed = task(7, "failed", json!("no such tile"));
        let retrying = task(5, "retrying", json!("503 of the service"));
        let (tasks, cursor) = match request {
            1 => (json!([failed]), None),
            // There may be more: one request is enough.
            2 => (json!([retrying]), Some("further")),
            _ => (json!([task(1, "completed", Value::Null), retrying, failed]), None),
        };
        json!({ "tasks": tasks, "query_info": { "next_cursor": cursor } }).to_string().into_response()
    })
    .await;
    let said = cli(&["tasks", JOB, "--url", &app.url()], &[]).await;
    let order: Vec<&str> =
        said.out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(order, ["failed", "retrying", "completed"], "{}", said.out);
    assert_eq!(app.keys.lock().unwrap().len(), 4, "requests");
}

/// An app that has already run everything, for `compare`.
async fn comparing_app(note: Option<&'static str>) -> Endpoint {
    fn job(id: &str) -> (bool, f64) {
        let is_bus = id.starts_with('b');
        (is_bus, if is_bus { 1.0 } else { 4.0 })
    }
    fn time(seconds: f64) -> String {
        format!("2026-11-25T10:00:{seconds:09.6}+00:00")
    }
    let stage = |seconds: f64| {
        json!({ "stage": 1, "planned": true, "total": 100, "open": 0, "completed": 100, "failed": 0, "skipped": 0,
                "startedAt": time(0.0), "finishedAt": time(seconds) })
    };
    let submit = async |body: String| {
        let body: Value = serde_json::from_str(&body).unwrap();
        let id = if body["use_service_bus"] == true { "b" } else { "a" };
        assert!(body["version_id"].as_str().unwrap().starts_with("compare-"));
        submission(&id.repeat(64)).to_string()
    };
    let status = async move |Path(id): Path<String>| {
        let (is_bus, seconds) = job(&id);
        let path = if is_bus { "service_bus" } else { "queue_storage" };
        json!({ "jobId": id, "jobType": "tiles", "status": "completed", "stage": 1, "totalStages": 1,
                "processingPath": path, "parameters": {}, "progress": [stage(seconds)],
                "createdAt": time(0.0), "updatedAt": time(seconds) })
        .to_string()
    };
    let whole = async move |Path(id): Path<String>| {
        let (is_bus, seconds) = job(&id);
        let path = if is_bus { "service_bus" } else { "queue_storage" };
        let job = json!({ "job_id": id, "job_type": "tiles", "status": "completed", "stage": 1, "total_stages": 1,
                          "processing_path": path, "total": 100, "completed": 100, "failed": 0, "skipped": 0,
                          "open": 0, "parameters": {}, "stage_results": {}, "pause_requested": false,
                          "updated_at": time(seconds), "created_at": time(0.0), "finished_at": time(seconds) });
        json!({ "job": job, "stages": [stage(seconds)] }).to_string()
    };
    let audit = async |Path(id): Path<String>| {
        let books = json!({ "stage": 1, "planned": 100, "completed": 100, "failed": 0, "skipped": 0, "open": 0,
                            "countersAgree": true, "attempts": 100, "duplicatesAbsorbed": 0,
                            "staleCompletionsRefused": 0, "messagesSent": 50, "messagesResent": 0, "busySeconds": if id.starts_with('b') { 1.0 } else { 4.0 } });
        json!({ "jobId": id, "status": "completed", "consistent": true, "stages": [books] })
            .to_string()
    };
    let comparison = async move || {
        let path = |jobs: u64, latency: f64, rate: f64| json!({ "jobs_processed": jobs, "avg_latency_ms": latency, "timeout_rate": 0.0, "tasks_per_second": rate });
        json!({ "queue_storage": path(7, 5000.0, 20.0), "service_bus": path(9, 1250.0, 80.0),
                "comparison": { "latency_improvement": 75.0, "throughput_improvement": 300.0, "timeout_reduction": null,
                                "note": note } })
        .to_string()
    };
    let router = Router::new()
        .route("/api/jobs/submit/tiles", post(submit))
        .route("/api/jobs/status/{id}", get(status))
        .route("/api/jobs/audit/{id}", get(audit))
        .route("/api/db/jobs/{id}", get(whole))
        .route("/api/metrics/comparison", get(comparison));
    Endpoint::start("a fake app", 0, router).await.unwrap()
}

#[tokio::test]
async fn compare_shows_both_jobs_and_recorded_metrics() {
    let app = comparing_app(Some("not enough data: 7 jobs")).await;
    let url = format!("http://{}", app.address());
    let arguments = ["compare", "--job", "tiles", "--url", &url];
    let said = cli(&arguments, &[]).await;
    insta::assert_snapshot!(said.whole());
    let report = cli(&[&arguments[..], &["--json"]].concat(), &[]).await.json();
    assert_eq!(report["comparison"]["latency_improvement"], 75.0);
    assert_eq!(report["recorded"]["queue_storage"]["jobs_processed"], 7);
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for (shell, words) in [
        ("bash", "complete -F _lastlight"),
        ("zsh", "#compdef lastlight"),
        ("fish", "complete -c lastlight"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let said = cli(&["completions", shell], &[]).await;
        assert_eq!(said.code, 0, "{shell}");
        assert!(said.out.contains(words) && said.out.contains("redrive"), "{shell}");
    }
}

#[tokio::test]
async fn unread_output_does_not_cause_a_panic() {
    for arguments in [
        &["completions", "bash"][..],
        &["chaos", "--list"],
        &["doctor"],
        &["doctor", "--json"],
        &["status", "xyz", "--json"],
        &["nonsense"],
    ] {
        let read = cli(arguments, &[]).await;
        // The read ends of both pipes are closed before the program writes.
        let mut unread = command(arguments, &[]);
        unread.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = unread.spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().await.unwrap().code(), Some(read.code), "{arguments:?}");
        // A full disk loses part of the output, which is a failure.
        let mut full = command(arguments, &[]);
        let disk = std::fs::OpenOptions::new().write(true).open("/dev/full");
        full.stdout(disk.unwrap()).stderr(Stdio::piped());
        let output = full.spawn().unwrap().wait_with_output().await.unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(read.code.max(1)), "{arguments:?}: {words}");
        assert!(!words.contains("panicked"), "{arguments:?}: {words}");
        if read.code == 0 {
            assert!(words.contains("standard output cannot be written: No space left"), "{words}");
        }
    }
}

#[tokio::test]
async fn invalid_arguments_with_json_print_a_document() {
    for (arguments, words) in [
        (&["list", "--limit", "0", "--json"][..], "invalid value '0' for '--limit <LIMIT>'"),
        (&["list", "--status", "ready", "--json"], "[possible values: queued, paused"),
        (&["submit", "--json"], "<JOB_TYPE>"),
        (&["submit", "", "--json"], "<JOB_TYPE>"),
        (&["submit", "hello_world", "-p", "n", "--json"], "expected NAME=VALUE"),
        (&["submit", "hello_world", "--file", "/dev/zero", "--json"], "more than 16777216 bytes"),
        (&["nonsense", "--json"], "unrecognized subcommand 'nonsense'"),
    ] {
        let said = cli(arguments, &[]).await;
        assert_eq!(said.code, 2, "{arguments:?}");
        let message = said.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{arguments:?}: {message}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    let help = cli(&["list", "--help", "--json"], &[]).await;
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Usage:"), "{}", help.out);
}
