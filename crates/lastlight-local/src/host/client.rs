//! Invokes the handler over HTTP and interprets its answers.

use std::{sync::Arc, time::Duration};

use reqwest::{
    header::{CONTENT_TYPE, USER_AGENT},
    redirect::Policy,
};
use uuid::Uuid;

use super::process::{Listening, Process};

/// The host version in the headers of requests, as the real host sends it.
pub(super) const HOST_VERSION: &str = "4.1037.0.0";

/// The handler, independent of its current process.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    client: reqwest::Client,
    process: Arc<Process>,
    timeout: Duration,
}

/// A listening process of the handler, for one invocation.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub(super) client: &'a reqwest::Client,
    handler: &'a Handler,
    listening: Listening,
}

/// An invocation failed; its messages must be redelivered.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(String);

/// An invocation took longer than `functionTimeout`.
#[derive(Debug, thiserror::Error)]
#[error("{function} took longer than functionTimeout ({} s)", timeout.as_secs_f64())]
pub(super) struct TimedOut {
    function: String,
    timeout: Duration,
}

impl Handler {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            // No client timeout: `in_time` limits each invocation.
            client: reqwest::Client::builder()
                .tcp_nodelay(true)
                .no_proxy()
                // The caller follows redirects, as with the real host.
                .redirect(Policy::none())
                .build()
                .unwrap_or_default(),
            process: Arc::default(),
            timeout,
        }
    }

    /// Uses this process from now on.
    pub(super) fn attach(self, process: &Arc<Process>) -> Self {
        Self { process: Arc::clone(process), ..self }
    }

    /// Returns when a process is ready.
    pub(super) async fn ready(&self) -> Ready<'_> {
        Ready { client: &self.client, handler: self, listening: self.process.ready().await }
    }

    /// Posts an invocation. It succeeds only if the answer has the form that the host requires.
    pub(super) async fn invoke(&self, function: &str, payload: String) -> Result<(), Failed> {
        let ready = self.ready().await;
        let request = ready
            .client
            .post(format!("{}/{function}", ready.address()))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header("X-Azure-Functions-InvocationId", Uuid::new_v4().to_string())
            .header("X-Azure-Functions-HostVersion", HOST_VERSION)
            .body(payload);
        let answered = async {
            let response =
                request.send().await.map_err(|error| Failed(format!("no answer: {error}")))?;
            let status = response.status();
            let is_json = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with("application/json"));
            let body = response
                .bytes()
                .await
                .map_err(|error| Failed(format!("incomplete answer: {error}")))?;
            if status.is_success() && body.is_empty() {
                // Such an invocation never completes; it fails with the timeout.
                std::future::pending::<()>().await;
            }
            Ok::<_, Failed>((status, is_json, body))
        };
        let answered = ready.in_time(function, answered).await;
        let (status, is_json, body) = answered.map_err(|error| Failed(error.to_string()))??;
        if !status.is_success() {
            let words: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(Failed(format!("status {status}: {words}")));
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

impl Ready<'_> {
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.listening.port)
    }

    /// Runs an invocation of `function` in this process. If it takes longer than `functionTimeout`,
    /// it fails, and the process is killed with everything that runs in it, as the real host does.
    pub(super) async fn in_time<T>(
        &self,
        function: &str,
        invocation: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let timeout = self.handler.timeout;
        let answered = tokio::time::timeout(timeout, invocation).await;
        answered.map_err(|_| {
            let error = TimedOut { function: function.to_owned(), timeout };
            self.handler.process.took_too_long(self.listening.generation, &error.to_string());
            error
        })
    }
}
