//! What the local Functions host does at `functionTimeout`: like the real one, it kills the handler
//! with everything that runs in it and restarts it, however often that happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, response::IntoResponse};
use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_local::{
    broker::{Endpoint, ServiceBus, StorageQueues},
    host::{self, HandlerCommand, HostOptions, LogSink, RunningHost},
};
use serde_json::{Value, json};

use crate::local::host::Files;

/// The file in which a handler's process records its requests; set only for these processes.
const NOTES: &str = "LASTLIGHT_TEST_HANDLER_NOTES";

/// Each of these tests starts its own program as the handler, with the name of the test as its
/// argument, which then serves.
async fn serves_as_handler() -> bool {
    let Ok(notes) = std::env::var(NOTES) else {
        return false;
    };
    let port: u16 = std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT").unwrap().parse().unwrap();
    // It exits when the host exits, for whatever reason.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let router =
        Router::new().fallback(move |request: Request| invoked(PathBuf::from(&notes), request));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    axum::serve(listener, router).await.unwrap();
    true
}

/// Records the request and then does what its text says.
async fn invoked(notes: PathBuf, request: Request) -> axum::response::Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let text = format!("{path} {}", String::from_utf8_lossy(&body));
    let word =
        ["hang-1", "hang-4", "crash", "bystander"].into_iter().find(|word| text.contains(word));
    if let Some(word) = word {
        let before = read(&notes).into_iter().filter(|note| note.word == word).count();
        let line = format!("{word} {}\n", std::process::id());
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&notes).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        let hangs = match word {
            "hang-4" => 4,
            _ => 1,
        };
        if word == "crash" {
            std::process::exit(3);
        }
        if before < hangs {
            std::future::pending::<()>().await;
        }
    }
    axum::Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null })).into_response()
}

/// An invocation that reached the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    word: String,
    process: String,
}

fn read(notes: &Path) -> Vec<Note> {
    let text = fs::read_to_string(notes).unwrap_or_default();
    let note = |line: &str| {
        let (word, process) = line.split_once(' ')?;
        Some(Note { word: word.to_owned(), process: process.to_owned() })
    };
    text.lines().filter_map(note).collect()
}

struct Bed {
    files: Files,
    storage: StorageQueues,
    host: RunningHost,
}

impl Bed {
    /// A host with `functionTimeout` set to `timeout`, whose handler is the test `test` or one that
    /// already runs.
    async fn start(timeout: &str, handler: Result<u16, &str>) -> Self {
        let queue = json!({ "type": "queueTrigger", "name": "msg", "queueName": "work", "connection": "c" });
        let route = json!({ "type": "httpTrigger", "name": "req", "route": "ask/{what}", "methods": ["get"] });
        let host_json = json!({
            "version": "2.0",
            "functionTimeout": timeout,
            "customHandler": { "description": { "defaultExecutablePath": "handler" }, "enableForwardingHttpRequest": true },
            "extensions": { "queues": { "visibilityTimeout": "00:00:00", "maxDequeueCount": 20, "maxPollingInterval": "00:00:01" } },
        });
        let files = Files::new(&host_json, &[("work", queue), ("ask", route)]);
        let handler = match handler {
            Ok(port) => HandlerCommand::Running { port },
            Err(test) => HandlerCommand::Program {
                program: std::env::current_exe().unwrap(),
                arguments: ["--exact", "--nocapture", test].map(Into::into).into(),
            },
        };
        let notes = files.path().join("notes").to_str().unwrap().to_owned();
        let storage = StorageQueues::new();
        let host = host::start(HostOptions {
            app_root: files.path().to_owned(),
            known_functions: BTreeMap::new(),
            port: 0,
            settings: BTreeMap::from([(NOTES.to_owned(), notes)]),
            handler,
            storage: storage.clone(),
            service_bus: ServiceBus::new(),
            log: LogSink::new(|_| ()),
        })
        .await
        .unwrap();
        Self { files, storage, host }
    }

    fn put(&self, word: &str) {
        let body = BASE64_STANDARD.encode(json!({ "word": word }).to_string());
        self.storage.put("work", body, Duration::ZERO, None).unwrap();
    }

    fn processes(&self, word: &str) -> Vec<String> {
        let notes = read(&self.files.path().join("notes"));
        let of_word = notes.into_iter().filter(|note| note.word == word);
        of_word.map(|note| note.process).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2400 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let notes = read(&self.files.path().join("notes"));
        panic!("not within a minute: {what}; {notes:?}");
    }

    async fn until_done(&self) {
        self.until("every message is done", |bed| bed.storage.counts("work").unwrap() == 0).await;
    }
}

#[tokio::test]
async fn a_function_timeout_kills_the_whole_process() {
    if serves_as_handler().await {
        return;
    }
    let bed = Bed::start(
        "00:00:04",
        Err("local::host_timeouts::a_function_timeout_kills_the_whole_process"),
    )
    .await;
    bed.put("hang-1");
    bed.until("it hangs", |bed| bed.processes("hang-1").len() == 1).await;
    // This invocation has most of its own time left when that of the other ends.
    bed.put("bystander");
    bed.until_done().await;
    for word in ["hang-1", "bystander"] {
        let processes = bed.processes(word);
        assert_eq!(processes.len(), 2, "{word}: {processes:?}");
        assert_ne!(processes[0], processes[1], "{word}");
    }
    assert_eq!((bed.host.timeouts(), bed.host.restarts()), (1, 1));
    assert_eq!(bed.storage.counts("work-poison").unwrap(), 0, "both came again and were done");
    bed.host.stop().await;
}

#[tokio::test]
async fn function_timeouts_do_not_count_as_crashes() {
    if serves_as_handler().await {
        return;
    }
    let bed = Bed::start(
        "00:00:01",
        Err("local::host_timeouts::function_timeouts_do_not_count_as_crashes"),
    )
    .await;
    bed.put("hang-4");
    bed.until_done().await;
    assert_eq!((bed.host.timeouts(), bed.host.restarts()), (4, 4));
    let processes: BTreeSet<String> = bed.processes("hang-4").into_iter().collect();
    assert_eq!(processes.len(), 5);
    // A handler that exits by itself may still do so three times.
    bed.put("crash");
    let exit = tokio::time::timeout(Duration::from_secs(60), bed.host.failed());
    let words = exit.await.unwrap().to_string();
    assert!(words.contains("ended with code 3, 3 times"), "{words}");
    bed.host.stop().await;
}

#[tokio::test]
async fn a_timed_out_http_request_answers_500() {
    if serves_as_handler().await {
        return;
    }
    let bed =
        Bed::start("00:00:01", Err("local::host_timeouts::a_timed_out_http_request_answers_500"))
            .await;
    let url = format!("{}/api/ask/hang-1", bed.host.base_url());
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.unwrap(), "ask took longer than functionTimeout (1 s)");
    assert_eq!(bed.host.timeouts(), 1);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
    let processes = bed.processes("hang-1");
    assert_ne!(processes[0], processes[1]);
    bed.host.stop().await;
}

#[tokio::test]
async fn an_external_handler_survives_a_timeout() {
    let invocations = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&invocations);
    let router = Router::new().fallback(move || async move {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        axum::Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": Value::Null }))
    });
    let endpoint = Endpoint::start("test handler", 0, router).await.unwrap();
    let bed = Bed::start("00:00:01", Ok(endpoint.address().port())).await;
    bed.put("hang-1");
    bed.until_done().await;
    assert_eq!(invocations.load(Ordering::SeqCst), 2);
    assert_eq!((bed.host.timeouts(), bed.host.restarts()), (0, 0));
    bed.host.stop().await;
}
