//! Secrets never appear in answers, errors, logs or `Debug` output, whatever fails and whatever a
//! service answers.

mod settings;

use std::{
    collections::BTreeSet,
    io::Write,
    net::{SocketAddr, TcpListener as StdListener},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_engine::{
    config::{Env, ServiceBusSettings, Settings, StorageSettings},
    server::serve,
    transport::{
        dead_letters::QueueService,
        sender::{OutgoingMessage, QueueRole},
        service_bus::create_service_bus_repository,
        storage_queue::create_queue_repository,
    },
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{catalog, new_database_url, until};

const BINARY: &str = env!("CARGO_BIN_EXE_lastlight");

const PASSWORD: &str = "pA5s/w0rd%41+zQ7";
const BUS_KEY: &str = "bUs/kEy+9tR4w=";
const SIGNATURE: &str = "sAs/sIg+8pL2m3X=";
const IDENTITY_HEADER: &str = "1dEntity-hEader-5kV8";

fn storage_key() -> String {
    BASE64_STANDARD.encode("the storage account's key 7Qx")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The secrets, in every encoding in which they must not appear.
struct Forbidden(BTreeSet<String>);

impl Forbidden {
    fn all() -> Self {
        let mut forbidden = Self(BTreeSet::new());
        for secret in [PASSWORD, BUS_KEY, SIGNATURE, IDENTITY_HEADER, &storage_key()] {
            forbidden.add(secret);
        }
        forbidden
    }

    fn add(&mut self, secret: &str) {
        let once = encoded(secret);
        for form in [
            secret.to_owned(),
            encoded(&once),
            once,
            BASE64_STANDARD.encode(secret),
            json!(secret).to_string().trim_matches('"').to_owned(),
            format!("{secret:?}").trim_matches('"').to_owned(),
        ] {
            self.0.insert(form.to_lowercase());
        }
    }

    /// Adds the values derived from the secrets for one request: tokens and signatures.
    fn add_sent(&mut self, echo: &Echo) {
        for credential in echo.credentials.lock().unwrap().iter() {
            let signature = credential.split(['&', ' ']).find_map(|part| part.strip_prefix("sig="));
            for part in [Some(credential.as_str()), signature].into_iter().flatten() {
                // Not "none", and not a query without a signature.
                if part.len() > 20 && part != "api-version=2021-05" && part != "comp=metadata" {
                    self.add(part);
                    self.add(&percent_decode_str(part).decode_utf8_lossy());
                }
            }
        }
    }

    fn assert_none_in(&self, what: &str, text: &str) {
        let lower = text.to_lowercase();
        for form in &self.0 {
            if let Some(at) = lower.find(form.as_str()) {
                let around: String = lower.chars().skip(at.saturating_sub(300)).take(700).collect();
                panic!("{what} shows {form:?}: …{around}…");
            }
        }
    }
}

/// Everything that was logged in this process, by any library, at any level.
fn logged() -> String {
    String::from_utf8_lossy(&log().lock().unwrap()).into_owned()
}

fn log() -> &'static Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&buffer);
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || Buffer(Arc::clone(&writer)))
            .init();
        log::set_boxed_logger(Box::new(Buffer(Arc::clone(&buffer)))).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        buffer
    })
}

struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log::Log for Buffer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut buffer = self.0.lock().unwrap();
        writeln!(buffer, "{} {} {}", record.level(), record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

/// A service that refuses every request and echoes its address, headers and body.
struct Echo {
    address: SocketAddr,
    /// The authorization headers and query strings that it received.
    credentials: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    async fn start(status: u16, location: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&credentials);
        let app = Router::new().fallback(move |request: Request| {
            let seen = Arc::clone(&seen);
            async move { echoed(status, location, &seen, request).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, credentials }
    }

    fn count(&self) -> usize {
        self.credentials.lock().unwrap().len()
    }
}

async fn echoed(
    status: u16,
    location: Option<SocketAddr>,
    seen: &Mutex<Vec<String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let authorization = authorization.map_or("none", |value| value.to_str().unwrap()).to_owned();
    {
        let mut seen = seen.lock().unwrap();
        seen.push(query);
        seen.push(authorization.clone());
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let said = json!({ "url": parts.uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body) });
    let url = parts.uri.to_string();
    let xml =
        format!("<Error><Code>{authorization}</Code><Detail>{url} {headers:?}</Detail></Error>");
    let mut response = format!("{url}\n{headers:?}\n{said}\n{xml}").into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let mut set = |name: &'static str, value: &str| {
        response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    };
    set("x-ms-error-code", &url);
    set("x-ms-request-id", &authorization);
    set("www-authenticate", &authorization);
    if let Some(location) = location {
        set("location", &format!("http://{location}{url}"));
    }
    response
}

/// A PostgreSQL that asks for the password and rejects it.
async fn postgres_that_refuses() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                // It refuses TLS and reads the start-up message.
                let mut head = [0; 8];
                client.read_exact(&mut head).await?;
                client.write_all(b"N").await?;
                let length = client.read_u32().await?;
                client.read_exact(&mut vec![0; length as usize - 4]).await?;
                // AuthenticationCleartextPassword.
                client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
                client.read_u8().await?;
                let length = client.read_u32().await?;
                let mut password = vec![0; length as usize - 4];
                client.read_exact(&mut password).await?;
                assert_eq!(
                    password,
                    format!("{PASSWORD}\0").as_bytes(),
                    "the password arrives as it is"
                );
                let fields =
                    b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"geo\"\0\0";
                client.write_u8(b'E').await?;
                client.write_u32(fields.len() as u32 + 4).await?;
                client.write_all(fields).await?;
                client.flush().await
            });
        }
    });
    address
}

/// An address on which nothing listens.
fn closed() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn bus(address: SocketAddr) -> String {
    format!(
        "Endpoint=sb://{address};SharedAccessKeyName=Root;SharedAccessKey={BUS_KEY};UseDevelopmentEmulator=true"
    )
}

fn storage_by_key(address: SocketAddr) -> String {
    format!("AccountName=geo;AccountKey={};QueueEndpoint=http://{address}/geo", storage_key())
}

fn storage_by_signature(address: SocketAddr) -> String {
    let signature = encoded(SIGNATURE);
    format!(
        "SharedAccessSignature=?sv=2021-12-02&ss=q&sp=a&sig={signature};QueueEndpoint=http://{address}/geo"
    )
}

/// Sends with every kind of authentication and returns the reported errors.
async fn send_over(bus: &str, storages: &[String]) -> Vec<String> {
    let no_retries = [("SERVICE_BUS_RETRY_COUNT", "0"), ("STORAGE_QUEUE_RETRY_COUNT", "0")];
    let mut senders: Vec<Arc<dyn QueueService>> = Vec::new();
    let mut env =
        Env::from_pairs([("SERVICE_BUS_CONNECTION_STRING", bus)].into_iter().chain(no_retries));
    let settings = ServiceBusSettings::from_env(&mut env).unwrap();
    let mut words = vec![format!("{settings:?} {env:?}")];
    senders.push(create_service_bus_repository(settings).unwrap());
    for storage in storages {
        let mut env = Env::from_pairs(
            [("AzureWebJobsStorage", storage.as_str())].into_iter().chain(no_retries),
        );
        let settings = StorageSettings::from_env(&mut env).unwrap();
        words.push(format!("{settings:?} {env:?}"));
        senders.push(create_queue_repository(settings).unwrap());
    }
    let message = OutgoingMessage {
        message_id: "m-1".to_owned(),
        correlation_id: "job".to_owned(),
        body: "{}".to_owned(),
        delay: None,
        trace: None,
    };
    for sender in senders {
        let report =
            sender.batch_send_messages(QueueRole::Tasks, std::slice::from_ref(&message)).await;
        assert!(!report.success, "it was refused");
        words.push(format!("{report:?} {} {:?}", serde_json::to_string(&report).unwrap(), sender));
        words.extend(report.errors.iter().map(ToString::to_string));
        for error in [
            sender.probe(QueueRole::Jobs).await.err(),
            sender.count(QueueRole::Poison).await.err(),
            sender.peek(QueueRole::Tasks, 1).await.err(),
            sender.take_some(QueueRole::Jobs, 1).await.err(),
        ] {
            words.push(format!(
                "{error:?} {}",
                error.as_ref().map(ToString::to_string).unwrap_or_default()
            ));
        }
    }
    words
}

#[tokio::test]
async fn credentials_echoed_by_a_service_are_hidden() {
    log();
    let mut forbidden = Forbidden::all();
    for status in [400, 401, 403, 404, 413, 500] {
        let echo = Echo::start(status, None).await;
        let words = send_over(
            &bus(echo.address),
            &[storage_by_key(echo.address), storage_by_signature(echo.address)],
        )
        .await;
        assert!(echo.count() >= 12, "every sender asked twice: {}", echo.count());
        forbidden.add_sent(&echo);
        for text in &words {
            forbidden.assert_none_in(&format!("after {status}"), text);
        }
    }
    assert!(logged().len() > 10_000, "the log was read: {}", logged());
    forbidden.assert_none_in("the log", &logged());
}

#[tokio::test]
async fn redirects_are_not_followed_with_a_signature() {
    log();
    for status in [301, 302, 307, 308] {
        let elsewhere = Echo::start(200, None).await;
        let echo = Echo::start(status, Some(elsewhere.address)).await;
        let words = send_over(
            &bus(echo.address),
            &[storage_by_key(echo.address), storage_by_signature(echo.address)],
        )
        .await
        .join("\n");
        assert!(words.contains(&format!("status {status}")), "{words}");
        assert!(echo.count() >= 12);
        assert_eq!(elsewhere.count(), 0, "{status} was followed");
        let mut forbidden = Forbidden::all();
        forbidden.add_sent(&echo);
        forbidden.assert_none_in("the senders", &words);
        forbidden.assert_none_in("the log", &logged());
    }
}

#[tokio::test]
async fn connection_errors_contain_no_secret() {
    log();
    let forbidden = Forbidden::all();
    let closed = closed();
    let words =
        send_over(&bus(closed), &[storage_by_key(closed), storage_by_signature(closed)]).await;
    assert!(words.iter().any(|words| words.contains("refused")), "{words:?}");
    forbidden.assert_none_in("the senders", &words.join("\n"));

    // The client uses HTTPS and the server speaks HTTP.
    let echo = Echo::start(200, None).await;
    let https = |text: String| {
        text.replace("http://", "https://").replace(";UseDevelopmentEmulator=true", "")
    };
    let words = send_over(
        &https(bus(echo.address)),
        &[https(storage_by_key(echo.address)), https(storage_by_signature(echo.address))],
    )
    .await;
    assert_eq!(echo.count(), 0, "something was sent in the clear");
    forbidden.assert_none_in("the senders", &words.join("\n"));
    forbidden.assert_none_in("the log", &logged());
}

/// Settings with which everything fails.
fn failing(port: u16, database: &str, echo: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()),
        ("DATABASE_URL", database.to_owned()),
        ("LASTLIGHT_DATABASE_WAIT_SECONDS", "1".to_owned()),
        ("AzureWebJobsStorage", storage_by_signature(echo)),
        ("SERVICE_BUS_CONNECTION_STRING", bus(echo)),
        ("SERVICE_BUS_RETRY_COUNT", "0".to_owned()),
        ("STORAGE_QUEUE_RETRY_COUNT", "0".to_owned()),
    ]
}

/// Calls every endpoint that uses the database or a queue, and returns the answers.
async fn ask(port: u16) -> String {
    let client = reqwest::Client::new();
    let base = format!("http://127.0.0.1:{port}");
    until("the handler answers", async || client.get(format!("{base}/")).send().await.ok()).await;
    let job = "a".repeat(64);
    let message = json!({ "job_id": job, "job_type": "hello_world", "stage": 1 }).to_string();
    let posts = [
        ("api/jobs/submit/hello_world", json!({ "n": 3 })),
        ("api/jobs/submit/hello_world", json!({ "n": 3, "use_service_bus": true })),
        ("process_queue_job", json!({ "Data": { "msg": message }, "Metadata": {} })),
        ("process_sb_task", json!({ "Data": { "msg": ["not JSON", "nor this"] }, "Metadata": {} })),
        ("reconcile", json!({ "Data": { "timer": {} }, "Metadata": {} })),
        ("api/monitor/poison", json!({})),
    ];
    let posts =
        posts.map(|(path, body)| client.post(format!("{base}/{path}")).body(body.to_string()));
    let status = client.get(format!("{base}/api/jobs/status/{job}"));
    let health = client.get(format!("{base}/api/health"));
    let requests = posts.into_iter().chain([status, health]).map(|request| async move {
        let answer = request.send().await.unwrap();
        let head = format!("{} {} {:?}", answer.url(), answer.status(), answer.headers());
        format!("{head}\n{}\n", answer.text().await.unwrap())
    });
    let answers = futures_util::future::join_all(requests).await.concat();
    assert!(answers.contains("\"unhealthy\""), "{answers}");
    answers
}

fn database_at(host: impl std::fmt::Display) -> String {
    format!("postgresql://geo:{}@{host}/geo", encoded(PASSWORD))
}

#[tokio::test]
async fn a_failing_handler_shows_no_secret() {
    log();
    let mut forbidden = Forbidden::all();
    let echo = Echo::start(401, None).await;
    for (database, words) in [
        (database_at(closed()), "Connection refused"),
        (database_at("no-such-host.invalid"), "failed to lookup address"),
        (database_at(postgres_that_refuses().await), "password authentication failed for user"),
    ] {
        let port = closed().port();
        let settings =
            Settings::load(Env::from_pairs(failing(port, &database, echo.address))).unwrap();
        forbidden.assert_none_in("Debug of the settings", &format!("{settings:?} {settings:#?}"));
        let handler = tokio::spawn(serve(settings, catalog()));
        let answers = ask(port).await;
        handler.abort();
        forbidden.add_sent(&echo);
        forbidden.assert_none_in("an answer", &answers);
        let log = logged();
        assert!(log.contains("the database is not ready") && log.contains(words), "{words}: {log}");
    }
    forbidden.assert_none_in("the log", &logged());
}

#[tokio::test]
async fn stored_send_errors_contain_no_secret() {
    log();
    let mut forbidden = Forbidden::all();
    let echo = Echo::start(403, None).await;
    let database = new_database_url().await;
    let port = closed().port();
    let settings = Settings::load(Env::from_pairs(failing(port, &database, echo.address))).unwrap();
    let handler = tokio::spawn(serve(settings, catalog()));
    let answers = ask(port).await;
    handler.abort();
    forbidden.add_sent(&echo);
    forbidden.assert_none_in("an answer", &answers);
    let mut connection = PgConnection::connect(&database).await.unwrap();
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT last_error FROM app.outbox WHERE last_error IS NOT NULL")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(kept.len(), 2, "both paths owe a job message: {answers}");
    for text in kept {
        assert!(text.contains("403"), "{text}");
        forbidden.assert_none_in("the outbox", &text);
    }
    forbidden.assert_none_in("the log", &logged());
}

/// Runs the binary with exactly these settings and returns both outputs.
fn printed(
    arguments: &[&str],
    settings: impl IntoIterator<Item = (&'static str, String)>,
) -> String {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .envs(settings)
        // Settings that are accepted nevertheless must not block the test.
        .env("LASTLIGHT_EXIT_WITH_PARENT", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A handler as a process of its own that logs as much as possible.
struct Handler {
    child: std::process::Child,
    port: u16,
}

impl Handler {
    fn start(settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let port = closed().port();
        let child = Command::new(BINARY)
            .arg("serve")
            .env_clear()
            .envs(settings)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("LOG_LEVEL", "trace,sqlx=trace,hyper=trace,hyper_util=trace,reqwest=trace,azure_core=trace,typespec_client_core=trace,azure_identity=trace")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        let output = self.child.wait_with_output().unwrap();
        format!(
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_prints_no_secret_on_failures() {
    let mut forbidden = Forbidden::all();
    let echo = Echo::start(401, None).await;
    let database = database_at(postgres_that_refuses().await);
    let handler = Handler::start(failing(0, &database, echo.address));
    let answers = ask(handler.port).await;
    let words = handler.stop();
    forbidden.add_sent(&echo);
    assert!(words.contains("password authentication failed for user"), "{words}");
    forbidden.assert_none_in("an answer", &answers);
    forbidden.assert_none_in("the output", &words);

    let words = printed(
        &["migrate"],
        [("DATABASE_URL", database), ("LASTLIGHT_DATABASE_WAIT_SECONDS", "1".to_owned())],
    );
    assert!(words.contains("password authentication failed for user"), "{words}");
    forbidden.assert_none_in("migrate", &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_of_an_identity_is_not_printed() {
    let mut forbidden = Forbidden::all();
    let echo = Echo::start(401, None).await;
    let handler = Handler::start([
        ("DATABASE_URL", database_at(closed())),
        ("LASTLIGHT_DATABASE_WAIT_SECONDS", "1".to_owned()),
        ("STORAGE_ACCOUNT_NAME", "geo".to_owned()),
        ("SERVICE_BUS_NAMESPACE", "rmh".to_owned()),
        ("SERVICE_BUS_RETRY_COUNT", "0".to_owned()),
        ("STORAGE_QUEUE_RETRY_COUNT", "0".to_owned()),
        ("IDENTITY_ENDPOINT", format!("http://{}/msi/token", echo.address)),
        ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
    ]);
    let answers = ask(handler.port).await;
    let words = handler.stop();
    assert!(echo.count() > 0, "the identity's endpoint was asked");
    assert!(answers.contains("no token"), "{answers}");
    forbidden.add_sent(&echo);
    forbidden.assert_none_in("an answer", &answers);
    forbidden.assert_none_in("the output", &words);
}
