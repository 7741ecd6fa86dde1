//! The local Functions host behaves as the real one: payloads, retries, poison, restarts, timers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse};
use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_engine::functions::functions;
use lastlight_local::{
    broker::{
        Clock, Endpoint, ServiceBus, StorageQueues,
        service_bus::{LockedMessage, NewMessage},
        storage_queue::QueueMessage,
    },
    host::{self, FunctionApp, HandlerCommand, HostOptions, LogSink, RunningHost},
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::harness::until;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The functions of the app, as the local cloud passes them to its host.
fn known_functions() -> BTreeMap<String, String> {
    functions()
        .iter()
        .map(|function| (function.name.to_owned(), function.function_json()))
        .collect()
}

fn fixture(name: &str) -> Value {
    let path = repository().join(format!("tests/fixtures/host/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text_of(fixture: &Value) -> String {
    serde_json::from_str(fixture["Data"]["msg"].as_str().unwrap()).unwrap()
}

/// The types of values, to compare payloads whose ids and times differ.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
        Value::Array(_) => json!("array"),
        Value::String(text) if text.starts_with('"') => json!("text in text"),
        Value::String(text) if text.starts_with('[') => json!("array in text"),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) | Value::Null => json!("literal"),
    }
}

fn locked(body: &str) -> LockedMessage {
    LockedMessage {
        body: body.to_owned(),
        message_id: "m-1".into(),
        correlation_id: Some("c".into()),
        content_type: Some("application/json".into()),
        label: None,
        application_properties: [
            ("job_id".to_owned(), json!("x")),
            ("traceparent".to_owned(), json!("y")),
        ]
        .into_iter()
        .collect(),
        sequence_number: 12,
        delivery_count: 1,
        lock_token: "token".into(),
        locked_until: OffsetDateTime::now_utc(),
        enqueued_time: OffsetDateTime::now_utc(),
        expires_at: OffsetDateTime::now_utc(),
        dead_letter_reason: None,
        dead_letter_description: None,
    }
}

#[test]
fn payloads_are_encoded_as_by_the_real_host() {
    let now = OffsetDateTime::now_utc();
    for name in ["queue_job", "queue_task", "queue_task_redelivered"] {
        let wanted = fixture(name);
        let text = text_of(&wanted);
        let message = QueueMessage {
            id: "id".into(),
            pop_receipt: "receipt".into(),
            body: BASE64_STANDARD.encode(&text),
            dequeue_count: 1,
            insertion_time: now,
            expiration_time: now,
            next_visible_time: now,
        };
        let made: Value =
            serde_json::from_str(&host::queue_message("f", "msg", &message, &text)).unwrap();
        assert_eq!(made["Data"], wanted["Data"], "{name}");
        assert_eq!(shape(&made), shape(&wanted), "{name}");
    }
    for name in ["sb_job", "sb_task_one"] {
        let wanted = fixture(name);
        let made: Value =
            serde_json::from_str(&host::service_bus_one("f", "msg", &locked(&text_of(&wanted))))
                .unwrap();
        assert_eq!(made["Data"], wanted["Data"], "{name}");
        assert_eq!(shape(&made), shape(&wanted), "{name}");
    }
    let wanted = fixture("sb_task_many");
    let bodies: Vec<String> =
        serde_json::from_str(wanted["Data"]["msg"].as_str().unwrap()).unwrap();
    let messages: Vec<_> = bodies.iter().map(|body| locked(body)).collect();
    let made: Value = serde_json::from_str(&host::service_bus_many("f", "msg", &messages)).unwrap();
    assert_eq!(made["Data"], wanted["Data"]);
    assert_eq!(shape(&made), shape(&wanted));
    let made: Value =
        serde_json::from_str(&host::timer("reconcile", "timer", now, now, false)).unwrap();
    assert_eq!(shape(&made), shape(&fixture("timer")));
}

#[test]
fn an_app_setting_overrides_host_json() {
    let files = Files::new(&host_json(), &[]);
    let settings = BTreeMap::from([
        ("AzureFunctionsJobHost__functionTimeout".to_owned(), "00:07:00".to_owned()),
        ("AzureFunctionsJobHost__extensions__http__routePrefix".to_owned(), "v2".to_owned()),
        (
            "AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls".to_owned(),
            "7".to_owned(),
        ),
    ]);
    let app = FunctionApp::read(files.path(), &settings, &BTreeMap::new()).unwrap();
    assert_eq!(app.function_timeout, Duration::from_secs(7 * 60));
    assert_eq!(app.route_prefix, "v2");
}

#[test]
fn the_example_has_all_settings_of_functions() {
    let example: Value = serde_json::from_str(
        &std::fs::read_to_string(repository().join("local.settings.example.json")).unwrap(),
    )
    .unwrap();
    let values: BTreeMap<String, String> =
        serde_json::from_value(example["Values"].clone()).unwrap();
    for name in values.keys().filter_map(|name| name.strip_prefix("AzureWebJobs.")) {
        let function = name.strip_suffix(".Disabled").unwrap();
        assert!(known_functions().contains_key(function), "there is no function {function}");
    }
    let off = FunctionApp::read(&repository(), &values, &known_functions()).unwrap();
    assert!(
        !off.functions.iter().any(|function| function.name.starts_with("process_sb")),
        "the example switches them off"
    );
    let values: BTreeMap<String, String> =
        values.into_iter().filter(|(name, _)| !name.starts_with("AzureWebJobs.")).collect();
    let app = FunctionApp::read(&repository(), &values, &known_functions()).unwrap();
    let names: Vec<&str> = app.functions.iter().map(|function| function.name.as_str()).collect();
    let mut table: Vec<&str> = functions().iter().map(|function| function.name).collect();
    table.sort_unstable();
    assert_eq!(names, table);
    assert!(app.forwards_http);
    for setting in [
        "AzureWebJobsStorage",
        "STORAGE_ACCOUNT_NAME",
        "POSTGIS_HOST",
        "POSTGIS_PORT",
        "POSTGIS_USER",
        "POSTGIS_PASSWORD",
        "POSTGIS_DATABASE",
        "APP_SCHEMA",
        "JOB_PROCESSING_QUEUE",
        "TASK_PROCESSING_QUEUE",
        "SERVICE_BUS_NAMESPACE",
        "SERVICE_BUS_CONNECTION_STRING",
        "SERVICE_BUS_JOB_QUEUE",
        "SERVICE_BUS_TASK_QUEUE",
        "SERVICE_BUS_MAX_BATCH_SIZE",
        "SERVICE_BUS_RETRY_COUNT",
        "ENABLE_SERVICE_BUS",
        "FUNCTION_TIMEOUT_MINUTES",
        "MAX_RETRY_ATTEMPTS",
        "LOG_LEVEL",
        "ServiceBusConnection__fullyQualifiedNamespace",
        "FUNCTIONS_WORKER_RUNTIME",
    ] {
        assert!(values.contains_key(setting), "local.settings.example.json lacks {setting}");
    }
}

/// An app whose files are in a folder of the test's own.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new(host: &Value, functions: &[(&str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host.json"), host.to_string()).unwrap();
        for (name, binding) in functions {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            let bindings = json!({ "bindings": [binding] });
            std::fs::write(folder.path().join(name).join("function.json"), bindings.to_string())
                .unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

fn host_json() -> Value {
    json!({
        "version": "2.0",
        "customHandler": { "description": { "defaultExecutablePath": "handler" }, "enableForwardingHttpRequest": true },
        "extensions": { "queues": { "visibilityTimeout": "00:00:00", "maxDequeueCount": 3, "maxPollingInterval": "00:00:01" } },
    })
}

/// A handler that fails the first `failures` invocations and records all of them.
#[derive(Clone, Default)]
struct Handler {
    failures: Arc<AtomicU32>,
    bodies: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Handler {
    async fn start(&self) -> Endpoint {
        let router = Router::new().fallback(invoked).with_state(self.clone());
        Endpoint::start("test handler", 0, router).await.unwrap()
    }

    fn count(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

async fn invoked(
    State(handler): State<Handler>,
    request: axum::extract::Request,
) -> axum::response::Response {
    let path = request.uri().path().to_owned();
    let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    handler
        .bodies
        .lock()
        .unwrap()
        .push((path, serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
    if handler
        .failures
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
    {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    axum::Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null })).into_response()
}

async fn start(
    files: &Files,
    command: HandlerCommand,
    storage: &StorageQueues,
    bus: &ServiceBus,
) -> RunningHost {
    host::start(HostOptions {
        app_root: files.path().to_owned(),
        known_functions: BTreeMap::new(),
        port: 0,
        settings: BTreeMap::from([("QUEUE".to_owned(), "jobs".to_owned())]),
        handler: command,
        storage: storage.clone(),
        service_bus: bus.clone(),
        log: LogSink::new(|_| ()),
    })
    .await
    .unwrap()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    until(what, async || condition().then_some(())).await;
}

#[tokio::test]
async fn a_queue_message_is_retried_until_it_is_poison() {
    let trigger =
        json!({ "type": "queueTrigger", "name": "msg", "queueName": "%QUEUE%", "connection": "c" });
    let files = Files::new(&host_json(), &[("work", trigger)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    handler.failures.store(1, Ordering::SeqCst);
    let put = |text: &str| {
        storage.put("jobs", BASE64_STANDARD.encode(text), Duration::ZERO, None).unwrap()
    };
    put("{\"a\":1}");
    eventually("the message is processed", || storage.counts("jobs").unwrap() == 0).await;
    assert_eq!(handler.count(), 2);
    assert_eq!(storage.counts("jobs-poison").unwrap(), 0);
    handler.failures.store(100, Ordering::SeqCst);
    put("{\"b\":2}");
    eventually("the message is poison", || storage.counts("jobs-poison").unwrap() == 1).await;
    assert_eq!((handler.count(), storage.counts("jobs").unwrap()), (5, 0));
    host.stop().await;
}

#[tokio::test]
async fn a_failed_service_bus_message_is_abandoned() {
    let one = json!({ "type": "serviceBusTrigger", "name": "msg", "queueName": "one", "connection": "c" });
    let many = json!({ "type": "serviceBusTrigger", "name": "msg", "queueName": "many", "connection": "c", "cardinality": "many" });
    let files = Files::new(&host_json(), &[("single", one), ("batch", many)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
    bus.create_queue("many", Default::default());
    let message = |body: &str| NewMessage { body: body.to_owned(), ..NewMessage::default() };
    bus.send("many", (0..5).map(|number| message(&format!("{{\"n\":{number}}}"))).collect())
        .unwrap();
    handler.failures.store(1, Ordering::SeqCst);
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    eventually("the batch is processed", || bus.counts("many").unwrap().active == 0).await;
    let bodies = handler.bodies.lock().unwrap().clone();
    assert_eq!(bodies.len(), 2, "a failure brings the whole batch again");
    assert_eq!(bodies[1].0, "/batch");
    assert_eq!(bodies[1].1["Metadata"]["DeliveryCountArray"], "[2,2,2,2,2]");
    bus.send("one", vec![message("{}"), message("{}")]).unwrap();
    eventually("single messages are processed", || bus.counts("one").unwrap().active == 0).await;
    assert_eq!(handler.count(), 4);
    host.stop().await;
}

#[tokio::test]
async fn a_failed_poison_message_stays_in_its_queue() {
    let trigger = json!({ "type": "queueTrigger", "name": "msg", "queueName": "%QUEUE%-poison", "connection": "c" });
    let files = Files::new(&host_json(), &[("poison", trigger)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let clock = Clock::manual(OffsetDateTime::now_utc());
    let (storage, bus) = (StorageQueues::with_clock(clock.clone()), ServiceBus::new());
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    assert_eq!(storage.queue_names(), ["jobs-poison"]);
    handler.failures.store(5, Ordering::SeqCst);
    storage.put("jobs-poison", BASE64_STANDARD.encode("{}"), Duration::ZERO, None).unwrap();
    for deliveries in 1..=6 {
        eventually("the message is delivered", || handler.count() == deliveries).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(handler.count(), deliveries, "it came again at once");
        let left = usize::from(deliveries < 6);
        eventually("it stays until it succeeds", || storage.counts("jobs-poison").unwrap() == left)
            .await;
        clock.advance(Duration::from_secs(601));
    }
    assert_eq!(storage.queue_names(), ["jobs-poison"]);
    host.stop().await;
}

#[tokio::test]
async fn a_failed_dead_letter_stays_in_its_queue() {
    let trigger = json!({
        "type": "serviceBusTrigger", "name": "msg", "queueName": "%QUEUE%/$DeadLetterQueue", "connection": "c",
    });
    let files = Files::new(&host_json(), &[("dead", trigger)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
    bus.create_queue("jobs", Default::default());
    bus.send("jobs", vec![NewMessage::new("{}"), NewMessage::new("{}")]).unwrap();
    let mut locked = bus.receive("jobs", 1).unwrap();
    let dead = locked.remove(0);
    bus.dead_letter("jobs", &dead.lock_token, "why", "not").unwrap();
    // More often than any queue allows.
    handler.failures.store(25, Ordering::SeqCst);
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    eventually("the dead letter is processed", || bus.counts("jobs").unwrap().dead_letter == 0)
        .await;
    assert_eq!(handler.count(), 26);
    assert_eq!(bus.queue_names(), ["jobs"]);
    assert_eq!(
        bus.counts("jobs").unwrap().active,
        1,
        "the queue's own messages are another trigger's"
    );
    host.stop().await;
}

#[tokio::test]
async fn http_requests_reach_the_handler_unchanged() {
    let route = json!({ "type": "httpTrigger", "name": "req", "route": "jobs/{id}", "methods": ["get", "post"] });
    let files = Files::new(&host_json(), &[("jobs", route)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    let client = reqwest::Client::new();
    let answer = client
        .post(format!("{}/api/jobs/7?x=1", host.base_url()))
        .body("{\"n\":1}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(handler.bodies.lock().unwrap()[0], ("/api/jobs/7".to_owned(), json!({ "n": 1 })));
    for (method, path) in [("PUT", "/api/jobs/7"), ("GET", "/api/other"), ("GET", "/jobs/7")] {
        let url = format!("{}{path}", host.base_url());
        let answer = client.request(method.parse().unwrap(), url).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{method} {path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_timer_fires_on_its_schedule() {
    let every_second =
        json!({ "type": "timerTrigger", "name": "timer", "schedule": "* * * * * *" });
    let files = Files::new(&host_json(), &[("tick", every_second)]);
    let handler = Handler::default();
    let endpoint = handler.start().await;
    let (storage, bus) = (StorageQueues::new(), ServiceBus::new());
    let host =
        start(&files, HandlerCommand::Running { port: endpoint.address().port() }, &storage, &bus)
            .await;
    eventually("two ticks", || handler.count() >= 2).await;
    host.stop().await;
}

#[tokio::test]
async fn a_handler_start_failure_shows_its_last_output() {
    let files = Files::new(&host_json(), &[]);
    let program = HandlerCommand::Program {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), "echo DATABASE_URL is not set; exit 2".into()],
    };
    let failed = host::start(HostOptions {
        app_root: files.path().to_owned(),
        known_functions: BTreeMap::new(),
        port: 0,
        settings: BTreeMap::new(),
        handler: program,
        storage: StorageQueues::new(),
        service_bus: ServiceBus::new(),
        log: LogSink::new(|_| ()),
    })
    .await;
    let words = failed.err().unwrap().to_string();
    assert!(
        words.contains("ended with code 2") && words.contains("DATABASE_URL is not set"),
        "{words}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_its_number() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let files = Files::new(&host_json(), &[]);
    let failed = host::start(HostOptions {
        app_root: files.path().to_owned(),
        known_functions: BTreeMap::new(),
        port,
        settings: BTreeMap::new(),
        handler: HandlerCommand::Running { port: 1 },
        storage: StorageQueues::new(),
        service_bus: ServiceBus::new(),
        log: LogSink::new(|_| ()),
    })
    .await;
    assert!(failed.err().unwrap().to_string().contains(&format!("127.0.0.1:{port}")));
}

#[test]
fn an_invalid_function_json_is_named() {
    let cases = [
        (
            json!({ "type": "queueTrigger", "name": "msg", "queueName": "%NOWHERE%" }),
            "%NOWHERE% names a setting that is not set",
        ),
        (json!({ "type": "queueTrigger", "name": "msg" }), "queueName"),
        (json!({ "type": "blobTrigger", "name": "msg" }), "blobTrigger"),
        (json!({ "type": "timerTrigger", "name": "t", "schedule": "often" }), "often"),
    ];
    for (binding, words) in cases {
        let files = Files::new(&host_json(), &[("broken", binding)]);
        let error = FunctionApp::read(files.path(), &BTreeMap::new(), &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("broken/function.json") && error.contains(words),
            "{words}: {error}"
        );
    }
    let files = Files::new(&host_json(), &[]);
    let too_many = BTreeMap::from([(
        "AzureFunctionsJobHost__extensions__queues__batchSize".to_owned(),
        "33".to_owned(),
    )]);
    let error =
        FunctionApp::read(files.path(), &too_many, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("batchSize is 33"), "{error}");
    let files = Files::new(&json!({ "version": "1.0" }), &[]);
    assert!(FunctionApp::read(files.path(), &BTreeMap::new(), &BTreeMap::new()).is_err());
}
