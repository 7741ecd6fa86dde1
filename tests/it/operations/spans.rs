//! Telemetry of the real handler: spans to a collector, and log lines on its standard output.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use lastlight_local::{
    CloudOptions, LocalCloud,
    host::{HandlerCommand, LogSink},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{new_database_url, until};

const BINARY: &str = env!("CARGO_BIN_EXE_lastlight");
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// A span as received by the collector.
#[derive(Debug, Clone)]
struct Seen {
    pid: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    fields: HashMap<String, String>,
}

/// An OTLP/HTTP receiver.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Seen>>>, Arc<Mutex<Vec<String>>>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    fn of_job(&self, job_id: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|span| span.fields.get("job_id").is_some_and(|id| id == job_id));
        seen
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let key = headers.get("x-key").map(|key| key.to_str().unwrap().to_owned());
    collector.1.lock().unwrap().extend(key);
    for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        let process = fields(&resource.resource.unwrap().attributes);
        assert_eq!(process["service.name"], "lastlight-test");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            collector.0.lock().unwrap().push(Seen {
                pid: process["process.pid"].clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                fields: fields(&span.attributes),
            });
        }
    }
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn fields(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .filter_map(|pair| Some((pair.key.clone(), text(pair.value.clone()?.value?))))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Lines = Arc<Mutex<Vec<String>>>;

fn options(data: &Path, url: String, collector: SocketAddr, lines: &Lines) -> CloudOptions {
    let lines = Arc::clone(lines);
    CloudOptions {
        app_root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        data: data.to_owned(),
        port: 0,
        storage_port: 0,
        service_bus_port: 0,
        database_url: Some(url),
        handler: HandlerCommand::Program {
            program: BINARY.into(),
            arguments: vec!["serve".into()],
        },
        settings: [
            ("LOG_FORMAT", "json".to_owned()),
            ("OTEL_SERVICE_NAME", "lastlight-test".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter%32".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        log: LogSink::new(move |line| lines.lock().unwrap().push(line.to_owned())),
    }
}

async fn submitted(cloud: &LocalCloud, job_type: &str, parameters: &Value) -> String {
    let url = format!("{}/api/jobs/submit/{job_type}", cloud.base_url());
    until("the job is submitted", async || {
        let request = reqwest::Client::new().post(&url).header("traceparent", CALLER);
        let answer = request.body(parameters.to_string()).send().await.unwrap();
        if answer.status() == 200 {
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            return Some(body["job_id"].as_str().unwrap().to_owned());
        }
        // The database may still be starting.
        None
    })
    .await
}

async fn until_completed(cloud: &LocalCloud, job_id: &str) {
    let url = format!("{}/api/jobs/status/{job_id}", cloud.base_url());
    until("the job completes", async || {
        let answer = reqwest::get(&url).await.unwrap().text().await.unwrap();
        let status: Value = serde_json::from_str(&answer).unwrap();
        (status["status"] == "completed").then_some(())
    })
    .await;
}

const N: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_across_paths_and_processes() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let cloud =
        LocalCloud::start(options(folder.path(), new_database_url().await, address, &lines))
            .await
            .unwrap();
    let other = cloud.another_host([].into()).await.unwrap();
    let mut pids = HashSet::new();
    for bus in [false, true] {
        let job_id =
            submitted(&cloud, "hello_world", &json!({ "n": N, "use_service_bus": bus })).await;
        until_completed(&cloud, &job_id).await;
        let whole = |spans: &[Seen]| {
            let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
            (count("plan"), count("task"), count("advance")) == (2, 2 * N, 2)
        };
        until("all spans are there", async || whole(&collector.of_job(&job_id)).then_some(()))
            .await;
        let spans = collector.of_job(&job_id);
        assert!(spans.iter().all(|span| span.trace == TRACE));
        let all: HashMap<String, Seen> =
            collector.seen().into_iter().map(|span| (span.id.clone(), span)).collect();
        let parent = |span: &Seen| all[&span.parent].clone();
        let of_stage = |name: &str, stage: &str| -> Vec<&Seen> {
            let is = |span: &&Seen| span.name == name && span.fields["stage"] == stage;
            spans.iter().filter(is).collect()
        };
        let [plan] = of_stage("plan", "1")[..] else { panic!() };
        let submit = parent(plan);
        assert_eq!((submit.name.as_str(), &submit.fields["job_id"]), ("submit", &job_id));
        let request = parent(&submit);
        assert_eq!(request.name, "/api/jobs/submit/{job_type}");
        assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLERS_SPAN));
        assert_eq!(request.fields["http.response.status_code"], "200");
        for stage in ["1", "2"] {
            let [plan] = of_stage("plan", stage)[..] else { panic!() };
            let tasks = of_stage("task", stage);
            assert_eq!(tasks.len(), N);
            for task in &tasks {
                assert_eq!(task.parent, plan.id, "{task:?}");
                assert_eq!(
                    (task.fields["attempt"].as_str(), task.fields["outcome"].as_str()),
                    ("1", "completed")
                );
                pids.insert(task.pid.clone());
            }
            let [advance] = of_stage("advance", stage)[..] else { panic!() };
            assert!(
                tasks.iter().any(|task| task.id == advance.parent),
                "the last task turns out the lights"
            );
            if stage == "1" {
                let [next] = of_stage("plan", "2")[..] else { panic!() };
                assert_eq!(next.parent, advance.id);
            }
        }
        lines_say_where_they_come_from(&lines, &job_id);
    }
    assert_eq!(pids.len(), 2, "both processes ran tasks");
    assert!(collector.1.lock().unwrap().iter().all(|key| key == "hunter2"));
    assert!(!lines.lock().unwrap().concat().contains("hunter"));
    other.stop().await;
    cloud.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_work_are_children_of_the_attempt() {
    let (collector, address) = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), new_database_url().await, address, &Lines::default());
    let ledger = folder.path().join("ledger").display().to_string();
    options.settings.insert("LASTLIGHT_CHAOS_LEDGER".to_owned(), ledger);
    let cloud = LocalCloud::start(options).await.unwrap();
    let job = json!({ "tag": "t", "stages": [{ "tasks": 3 }], "use_service_bus": false });
    let job_id = submitted(&cloud, "chaos", &job).await;
    until_completed(&cloud, &job_id).await;
    let of_work = || {
        let mut seen = collector.seen();
        seen.retain(|span| span.name == "chaos work");
        seen
    };
    until("the spans are there", async || (of_work().len() == 3).then_some(())).await;
    let attempts: HashSet<String> = collector
        .of_job(&job_id)
        .into_iter()
        .filter(|span| span.name == "task")
        .map(|span| span.id)
        .collect();
    for span in of_work() {
        assert_eq!(span.trace, TRACE);
        assert!(attempts.contains(&span.parent), "{span:?}");
    }
    cloud.stop().await.unwrap();
}

/// Each line is a flat JSON object, and there are few lines.
fn lines_say_where_they_come_from(lines: &Lines, job_id: &str) {
    let lines: Vec<Value> = lines
        .lock()
        .unwrap()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{line}");
        }
        let is_flat = |value: &Value| !value.is_object() && !value.is_array();
        assert!(line.as_object().unwrap().values().all(is_flat), "{line}");
    }
    let of_job: Vec<&Value> = lines.iter().filter(|line| line["job_id"] == job_id).collect();
    // Two stages were planned and finished. No line per task.
    assert!((4..10).contains(&of_job.len()), "{of_job:#?}");
    for line in of_job {
        assert_eq!(line["trace_id"], TRACE, "{line}");
        assert!(line["span_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
        assert!(line["invocation_id"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_collector_is_logged_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let cloud = LocalCloud::start(options(folder.path(), new_database_url().await, nobody, &lines))
        .await
        .unwrap();
    let said = || {
        let lines = lines.lock().unwrap();
        let said = lines.iter().filter(|line| line.contains("spans cannot be sent"));
        said.count()
    };
    for n in [20, 21] {
        let job_id = submitted(&cloud, "hello_world", &json!({ "n": n })).await;
        until_completed(&cloud, &job_id).await;
        until("it is said", async || (said() > 0).then_some(())).await;
        // And tried again, which is not logged.
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    cloud.stop().await.unwrap();
    assert_eq!(said(), 1, "{lines:#?}");
    let lines = lines.lock().unwrap();
    assert!(!lines.concat().contains("hunter"));
}

/// A handler without a database, and its address.
async fn bare_handler(collector: SocketAddr) -> (Child, String) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let handler = Command::new(BINARY)
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        .env("AzureWebJobsStorage", "UseDevelopmentStorage=true")
        .env("LASTLIGHT_DATABASE_WAIT_SECONDS", "1")
        .env("OTEL_SERVICE_NAME", "lastlight-test")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}");
    until("the handler answers", async || {
        reqwest::get(format!("{url}/api/nothing")).await.ok().map(drop)
    })
    .await;
    (handler, url)
}

/// Asks the handler to stop and waits until it has stopped.
async fn asked_to_stop(mut handler: Child) {
    assert!(Command::new("kill").arg(handler.id().to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || handler.wait()).await.unwrap().unwrap();
    assert!(ended.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_handler_sends_its_last_spans() {
    let (collector, address) = Collector::start().await;
    let (handler, _) = bare_handler(address).await;
    asked_to_stop(handler).await;
    let seen = collector.seen();
    assert!(seen.iter().any(|span| span.name == "not found"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invocation_spans_have_the_delivery_count() {
    let (collector, address) = Collector::start().await;
    let (handler, url) = bare_handler(address).await;
    for (function, fixture) in [
        ("process_queue_job", "queue_job"),
        ("process_queue_task", "queue_task_redelivered"),
        ("process_queue_task_poison", "queue_task_redelivered"),
        ("process_sb_job", "sb_job"),
        ("process_sb_task", "sb_task_many"),
        ("process_sb_task_dead_letter", "sb_task_one"),
    ] {
        let file = format!("{}/tests/fixtures/host/{fixture}.json", env!("CARGO_MANIFEST_DIR"));
        let request = reqwest::Client::new().post(format!("{url}/{function}"));
        request.body(std::fs::read(file).unwrap()).send().await.unwrap();
    }
    asked_to_stop(handler).await;
    let seen = collector.seen();
    let counted = |function: &str| {
        let span = seen.iter().find(|span| span.name == format!("/{function}"));
        span.unwrap_or_else(|| panic!("no span of {function}: {seen:?}"))
            .fields
            .get("delivery_count")
            .map(String::as_str)
    };
    assert_eq!(counted("process_queue_job"), Some("1"));
    assert_eq!(counted("process_queue_task"), Some("4"));
    assert_eq!(counted("process_queue_task_poison"), Some("4"));
    assert_eq!(counted("process_sb_job"), Some("1"));
    assert_eq!(counted("process_sb_task"), Some("2"));
    assert_eq!(counted("process_sb_task_dead_letter"), Some("1"));
    let request = seen.iter().find(|span| span.name == "not found").unwrap();
    assert!(!request.fields.contains_key("delivery_count"));
}
