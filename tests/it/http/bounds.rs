//! Input that is too large, too deeply nested or not text is refused quickly with a clear answer
//! and affects nothing else.

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use futures_util::stream;
use lastlight_engine::{
    config::Timing,
    functions::LARGEST_SUBMISSION,
    job::{Job, Plan, PlanContext, Stage, Start, TaskContext, TaskError},
    model::DEEPEST_NESTING,
    transport::sender::QueueRole,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Answer, LIMIT, OfThisApp, TestApp};

const SUBMIT: &str = "/api/jobs/submit/hello_world";

/// A submission of exactly `bytes` bytes.
fn submission(bytes: usize) -> String {
    let (begin, end) = ("{\"n\": 1, \"note\": \"", "\"}");
    format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
}

/// Nested arrays.
fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

#[track_caller]
fn assert_refused(answer: &Answer, status: StatusCode, words: &str) {
    let shown = answer.body.to_string();
    assert_eq!(answer.status, status, "{words}: {shown}");
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(message.contains(words), "{words}: {shown}");
    assert!(answer.body["request_id"].is_string(), "{shown}");
    assert!(shown.len() < 1500, "{} bytes of {shown}", shown.len());
}

#[tokio::test]
async fn a_submission_over_the_size_limit_is_a_413() {
    let app = TestApp::start().await;
    let fits = app.request("POST", SUBMIT, submission(LARGEST_SUBMISSION - 200)).await;
    assert_eq!(fits.status, StatusCode::OK);
    let whole = app.request("POST", SUBMIT, submission(LARGEST_SUBMISSION)).await;
    assert_refused(&whole, StatusCode::BAD_REQUEST, "bytes as stored");
    let large = submission(LARGEST_SUBMISSION + 1);
    let answer = app.request("POST", SUBMIT, large.clone()).await;
    assert_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE, "1048576 bytes");

    // Without a Content-Length header.
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        large.as_bytes().chunks(60_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let answer = app.request("POST", SUBMIT, Body::from_stream(stream::iter(pieces))).await;
    assert_refused(&answer, StatusCode::PAYLOAD_TOO_LARGE, "1048576 bytes");

    // As described by a host that does not forward requests.
    let described = json!({ "Data": { "req": {
        "Url": format!("http://localhost:7071{SUBMIT}"), "Method": "POST", "Headers": {}, "Body": large,
    } } });
    let answer = app.request("POST", "/submit_job", described.to_string()).await;
    let described = &answer.body["Outputs"]["res"];
    assert_eq!(described["statusCode"], "413", "{}", answer.body);
}

#[tokio::test]
async fn parameters_run_up_to_the_nesting_limit() {
    let app = TestApp::start().await;
    for use_service_bus in [false, true] {
        // The object around it is one more level.
        let note = nested(DEEPEST_NESTING - 1);
        let body =
            format!("{{\"n\": 2, \"use_service_bus\": {use_service_bus}, \"note\": {note}}}");
        let answer = app.request("POST", SUBMIT, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        app.run_dry().await;
        let status = app.status(answer.body["job_id"].as_str().unwrap()).await;
        assert_eq!(status["status"], "completed", "{status}");
    }
    for depth in [64, 100, 126, 127, 128, 1000, 500_000] {
        let body = format!("{{\"n\": 2, \"note\": {}}}", nested(depth));
        let answer = app.request("POST", SUBMIT, body).await;
        let words = format!("nested {} deep; at most 64 are allowed", depth + 1);
        assert_refused(&answer, StatusCode::BAD_REQUEST, &words);
    }
    let unclosed = app.request("POST", SUBMIT, "[".repeat(1_000_000)).await;
    assert_refused(&unclosed, StatusCode::BAD_REQUEST, "nested 1000000 deep");
    let unclosed = app.request("POST", "/process_queue_task", "{\"Data\":".repeat(1_000_000)).await;
    assert_refused(&unclosed, StatusCode::BAD_REQUEST, "recursion limit exceeded");
}

#[tokio::test]
async fn numbers_of_any_length_are_parsed_or_refused() {
    let app = TestApp::start().await;
    let digits = "9".repeat(900_000);
    for (number, words) in [
        ("1e400".to_owned(), "number out of range"),
        ("-1e999999999999".to_owned(), "number out of range"),
        (digits.clone(), "number out of range"),
        (format!("1e{digits}"), "number out of range"),
        ("NaN".to_owned(), "not JSON"),
        ("Infinity".to_owned(), "not JSON"),
        ("18446744073709551616".to_owned(), "out of range"),
    ] {
        let body = format!("{{\"n\": 1, \"note\": {number}}}");
        let answer = app.request("POST", SUBMIT, body).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, words);
    }
    for number in [
        format!("0.{digits}"),
        format!("1{digits}e-{}", digits.len()),
        "18446744073709551615".to_owned(),
    ] {
        let body = format!("{{\"n\": 1, \"note\": {number}}}");
        let answer = app.request("POST", SUBMIT, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

#[tokio::test]
async fn nul_in_text_is_kept_and_non_utf_8_is_refused() {
    let app = TestApp::start().await;
    let job_id =
        app.submitted("hello_world", json!({ "n": 2, "name": "a\0b", "dataset_id": "\0" })).await;
    app.run_dry().await;
    let status = app.status(&job_id).await;
    assert_eq!(status["status"], "completed", "{status}");
    let greeting = &status["stageResults"]["1"]["samples"][0]["result"]["greeting"];
    assert!(greeting.as_str().unwrap().contains("a\0b"), "{status}");

    let raw = app.request("POST", SUBMIT, b"{\"n\": 1, \"note\": \"a\0b\"}".to_vec()).await;
    assert_refused(&raw, StatusCode::BAD_REQUEST, "not JSON");
    for (method, path, words) in [
        ("POST", "/api/jobs/submit/%00", "no job type \"\\0\""),
        ("GET", "/api/jobs/status/%00", "64 hexadecimal digits"),
        ("POST", "/api/jobs/submit/%ff%fe", "not UTF-8"),
        ("GET", "/api/jobs/status/%ff", "not UTF-8"),
        ("GET", "/api/jobs/audit/%80", "not UTF-8"),
        ("POST", "/api/jobs/cancel/%ff", "not UTF-8"),
        ("POST", "/%ff", "not UTF-8"),
        ("POST", "/api/jobs/submit/%F0%9F%98%80", "no job type \"😀\""),
    ] {
        let answer = app.request(method, path, "{\"n\": 1}").await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, words);
    }
    let long = "x".repeat(60_000);
    for (path, status, words) in [
        (format!("/api/{long}"), StatusCode::NOT_FOUND, "there is no /api/xxx"),
        (format!("/{long}"), StatusCode::NOT_FOUND, "there is no function"),
        (format!("/api/jobs/submit/{long}"), StatusCode::BAD_REQUEST, "no job type"),
        (format!("/api/jobs/cancel/{long}"), StatusCode::BAD_REQUEST, "64 hexadecimal digits"),
    ] {
        let answer = app.request("POST", &path, "{\"n\": 1}").await;
        assert_refused(&answer, status, words);
    }
    for path in
        [format!("/api/monitor/poison?peek={long}"), "/api/monitor/poison?peek=1&peek=2".to_owned()]
    {
        let answer = app.request("GET", &path, "").await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "peek");
    }
    let answer =
        app.request("POST", "/api/monitor/poison", json!({ "action": long }).to_string()).await;
    assert_refused(&answer, StatusCode::BAD_REQUEST, "action must be");

    for bytes in [
        &b"{\"Data\": {\"msg\": \"\xff\"}}"[..],
        b"\xff\xfe",
        b"\0",
        b"{\"Data\": {\"msg\": \"a\0\"}}",
    ] {
        let answer = app.request("POST", "/process_queue_task", bytes.to_vec()).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "not an invocation");
    }
    for field in ["task_id", "parent_task_id"] {
        let mut message = json!({ "task_id": "a", "parent_job_id": job_id, "job_type": "hello_world",
            "task_type": "hello_world_greeting", "stage": 1, "task_index": "greet-0" });
        message[field] = Value::from("a\0b");
        let answer = app.deliver("process_queue_task", &message.to_string()).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, "text of 1 to 100 characters");
    }
}

#[tokio::test]
async fn a_message_of_ten_megabytes_is_refused() {
    let app = TestApp::start().await;
    let ten = "x".repeat(10 * 1024 * 1024);
    for (function, text, words) in [
        ("process_queue_job", ten.clone(), "not JSON"),
        ("process_queue_task", json!({ "batch_id": ten }).to_string(), "batch_id must be"),
        ("process_sb_job", json!({ "job_id": ten }).to_string(), "64 hexadecimal digits"),
        ("process_sb_task", "[".repeat(10 * 1024 * 1024), "recursion limit exceeded"),
    ] {
        let answer = app.deliver(function, &text).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST, words);
    }
    let answer =
        app.request("POST", "/process_queue_task", vec![b' '; 160 * 1024 * 1024 + 1]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body);
}

#[tokio::test]
async fn a_large_bad_message_does_not_block_its_batch() {
    let app = TestApp::start().await;
    let job_id = app.submitted("hello_world", json!({ "n": 2, "use_service_bus": true })).await;
    let tasks = app.planned_over_bus().await;
    let large = format!("not JSON {}", "\u{1}\"ü".repeat(500_000));
    let batch = [tasks[0].body.as_str(), large.as_str(), tasks[1].body.as_str()];
    let answer = app.deliver_many("process_sb_task", &batch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(app.status(&job_id).await["progress"][0]["completed"], 2);
    let aside = app.bus.take(QueueRole::Poison);
    let kept: Value = serde_json::from_str(&aside[0].body).unwrap();
    assert!(kept["message"].as_str().unwrap().starts_with("not JSON"));
    let reason = kept["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("the message had {} bytes", large.len())), "{reason}");
}

/// A job type whose only stage breaks the rules for handlers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Careless {
    habit: String,
}

impl Job for Careless {
    const NAME: &'static str = "careless";
    type Last = Self;
}

impl Stage for Careless {
    type Job = Self;
    type Previous = Start;
    type Task = Box<RawValue>;
    type Output = Box<RawValue>;
    type Summary = u64;

    fn plan(context: PlanContext<Self>) -> Plan<Box<RawValue>> {
        let Self { habit } = context.job;
        Plan::of(0..3, move |number| {
            let parameters = match habit.as_str() {
                "deep parameters" => format!("{{\"deep\": {}}}", nested(200)),
                _ => json!(habit).to_string(),
            };
            (format!("t-{number}"), RawValue::from_string(parameters).unwrap())
        })
    }

    async fn run(
        _: TaskContext<Self>,
        parameters: Box<RawValue>,
    ) -> Result<Box<RawValue>, TaskError> {
        let result = match serde_json::from_str(parameters.get())? {
            "deep result" => nested(200),
            "large result" => json!("x".repeat(1024 * 1024)).to_string(),
            "fairly large result" => json!("x".repeat(1_000_000)).to_string(),
            _ => return Err(TaskError::permanent("ü\0".repeat(5_000_000))),
        };
        Ok(RawValue::from_string(result)?)
    }

    fn fold(count: &mut u64, _: Box<RawValue>) {
        *count += 1;
    }
}

#[tokio::test]
async fn oversized_handler_output_fails_its_task() {
    let app = TestApp::with_job::<Careless>(Timing::default()).await;
    for (habit, end, words) in [
        ("deep parameters", "failed", "nested 201 deep; at most 64 are allowed"),
        ("deep result", "failed", "the result is nested 200 deep; at most 64 are kept"),
        ("large result", "failed", "the result has 1048578 bytes"),
        ("long error", "failed", "(15000000 bytes)"),
        ("fairly large result", "completed", "\"result_bytes\":1000002"),
    ] {
        let job_id = app.submitted("careless", json!({ "habit": habit })).await;
        app.run_dry().await;
        let status = app.status(&job_id).await;
        let mut shown = status.to_string();
        assert_eq!(status["status"], end, "{habit}: {:.2000}", shown);
        assert!(shown.len() < 100_000, "{habit}: an answer of {} bytes", shown.len());
        let mut connection = app.connection().await;
        let errors: Vec<String> = sqlx::query_scalar(
            "SELECT error_details FROM tasks WHERE parent_job_id = $1 AND error_details IS NOT NULL",
        )
        .bind(&job_id)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        for error in errors {
            assert!(error.len() < 30_000, "{habit}: an error of {} bytes", error.len());
            shown += &error;
        }
        assert!(shown.contains(words), "{habit}: {words}: {:.2000}", shown);
    }
}

/// The answer of a handler on a real port to raw bytes; empty if it closes the connection.
async fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer));
    let _ = read.await.expect("it answers, or closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn malformed_and_oversized_headers_are_refused() {
    let app = TestApp::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
    };
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    for (name, request, status) in [
        ("a long query", get(&format!("/api/health?{}", "x".repeat(70_000)), ""), "414"),
        ("a long header", get("/", &format!("x: {}\r\n", "x".repeat(1_000_000))), "431"),
        ("many headers", get("/", &many), "431"),
        ("a header with NUL", get("/", "x: a\0b\r\n"), "400"),
        ("no HTTP at all", "\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(), "400"),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"
                .to_owned(),
            "400",
        ),
        (
            "a length that is no number",
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}".to_owned(),
            "400",
        ),
    ] {
        let answer = raw(port, request.as_bytes()).await;
        let found = answer.split(' ').nth(1).unwrap_or_default();
        // Closing the connection without an answer is also a refusal, if the client still had
        // something to send.
        assert!(found == status || answer.is_empty(), "{name}: {answer:.300}");
        let next = raw(port, get("/", "").as_bytes()).await;
        assert!(next.starts_with("HTTP/1.1 200"), "after {name}: {next}");
    }
    // The header of the request id, twice: an answer has one id, short enough for a log line.
    let long = format!("x-azure-functions-invocationid: {}\r\n", "x".repeat(5000));
    let answer = raw(port, get("/api/jobs/status/1", &long).as_bytes()).await;
    assert!(answer.len() < 1000 && answer.contains("request_id"), "{answer}");
}
