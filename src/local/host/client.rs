//! Invoking the handler over HTTP, and what its answers mean.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use uuid::Uuid;

/// The version that the requests claim, as the real host's do.
pub(super) const HOST_VERSION: &str = "4.1037.0.0";

/// How long an invocation waits for a process that is started again, and how often it looks.
const HELD_BACK: Duration = Duration::from_secs(4 * 60);
const READY_POLL: Duration = Duration::from_millis(25);

/// The handler, wherever its current process listens.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    pub(super) client: reqwest::Client,
    port: Arc<AtomicU16>,
    timeout: Duration,
}

/// An invocation that failed: its messages are to be delivered again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(String);

impl Handler {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            // One request is bounded where it is made; requests over HTTP triggers may take as long as they take.
            client: reqwest::Client::builder()
                .tcp_nodelay(true)
                .no_proxy()
                .build()
                .unwrap_or_default(),
            port: Arc::default(),
            timeout,
        }
    }

    /// From now on the handler listens on `port`; 0 while no process is ready.
    pub(super) fn attach(self, port: &Arc<AtomicU16>) -> Self {
        Self {
            port: Arc::clone(port),
            ..self
        }
    }

    /// Returns when a process is ready: while one is started again, the real host holds its invocations back, up to the
    /// time that all starts together may take. Without this a message would use up its deliveries within milliseconds.
    pub(super) async fn ready(&self) {
        let began = Instant::now();
        while self.port.load(Ordering::Relaxed) == 0 && began.elapsed() < HELD_BACK {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.load(Ordering::Relaxed))
    }

    /// Posts an invocation; success only if the answer says so the way the host wants it.
    pub(super) async fn invoke(&self, function: &str, payload: String) -> Result<(), Failed> {
        self.ready().await;
        let request = self
            .client
            .post(format!("{}/{function}", self.address()))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header("X-Azure-Functions-InvocationId", Uuid::new_v4().to_string())
            .header("X-Azure-Functions-HostVersion", HOST_VERSION)
            // The host's client gives up a minute after the function's time is over.
            .timeout(self.timeout + Duration::from_secs(60))
            .body(payload);
        let answered = async {
            let response = request
                .send()
                .await
                .map_err(|error| Failed(format!("no answer: {error}")))?;
            let status = response.status();
            let is_json = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with("application/json"));
            let body = response
                .bytes()
                .await
                .map_err(|error| Failed(format!("half an answer: {error}")))?;
            Ok::<_, Failed>((status, is_json, body))
        };
        let (status, is_json, body) = answered.await?;
        if !status.is_success() {
            let words: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(Failed(format!("status {status}: {words}")));
        }
        if body.is_empty() {
            // Such an invocation never completes; it fails when its time is over.
            tokio::time::sleep(self.timeout).await;
            return Err(Failed(
                "an empty answer, which never completes an invocation".to_owned(),
            ));
        }
        if !is_json {
            return Err(Failed("an answer that is not application/json".to_owned()));
        }
        match serde_json::from_slice::<serde_json::Value>(&body) {
            Ok(serde_json::Value::Object(_)) => Ok(()),
            _ => Err(Failed("an answer that is not a JSON object".to_owned())),
        }
    }
}
