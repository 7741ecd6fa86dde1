//! A client of the app's HTTP API for the commands of the local cloud.

use std::time::Duration;

use serde_json::Value;

/// The API gave an unexpected answer, or none.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {detail}")]
pub struct ApiError {
    /// The request.
    what: &'static str,
    detail: String,
}

impl ApiError {
    fn new(what: &'static str, detail: &dyn std::fmt::Display) -> Self {
        Self { what, detail: detail.to_string() }
    }
}

/// A client of one app.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    /// Creates a client of the app at `base`, such as `http://127.0.0.1:<port>`.
    pub fn new(base: String) -> Result<Self, ApiError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| ApiError::new("client", &error))?;
        Ok(Self { client, base })
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, job_type: &str, parameters: &Value) -> Result<String, ApiError> {
        let url = format!("{}/api/jobs/submit/{job_type}", self.base);
        let answer = answer("submit", self.client.post(url).body(parameters.to_string())).await?;
        Ok(text(&answer, "/job_id"))
    }

    /// The status of a job.
    pub async fn status(&self, job_id: &str) -> Result<Value, ApiError> {
        let url = format!("{}/api/jobs/status/{job_id}", self.base);
        answer("status", self.client.get(url)).await
    }

    /// Posts a document to a path that begins with `/`; returns the answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let url = format!("{}{path}", self.base);
        answer("post", self.client.post(url).body(body.to_string())).await
    }

    /// The JSON document at a path below `/api/`, and its length in bytes.
    pub async fn get(&self, path: &str) -> Result<(Value, usize), ApiError> {
        let body = self.text(path).await?;
        let document =
            serde_json::from_str(&body).map_err(|error| ApiError::new("read", &error))?;
        Ok((document, body.len()))
    }

    /// The text at a path below `/api/`; a status other than success is an error.
    pub async fn text(&self, path: &str) -> Result<String, ApiError> {
        let said = |error: &dyn std::fmt::Display| {
            ApiError::new("read", &format!("GET /api/{path}: {error}"))
        };
        let response = self.client.get(format!("{}/api/{path}", self.base)).send().await;
        let response = response.map_err(|error| said(&error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| said(&error))?;
        if !status.is_success() {
            return Err(said(&format!("status {status}: {body}")));
        }
        Ok(body)
    }

    /// Returns when the handler is connected to its database.
    pub async fn ready(&self) -> Result<(), ApiError> {
        let url = format!("{}/api/health", self.base);
        answer("health", self.client.get(url)).await.map(drop)
    }
}

async fn answer(what: &'static str, request: reqwest::RequestBuilder) -> Result<Value, ApiError> {
    // The handler answers 503 while the database is being created.
    let mut tries = 0;
    loop {
        let Some(request) = request.try_clone() else {
            return Err(ApiError::new(what, &"the request cannot be repeated"));
        };
        let response = request.send().await.map_err(|error| ApiError::new(what, &error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| ApiError::new(what, &error))?;
        if status.as_u16() == 503 && tries < 100 {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
            continue;
        }
        if !status.is_success() {
            let said = serde_json::from_str(&body).map(|body| text(&body, "/message"));
            let said = said.ok().filter(|message| !message.is_empty());
            return Err(ApiError::new(
                what,
                &match said {
                    Some(message) => message,
                    None => format!("status {status}: {body}"),
                },
            ));
        }
        return serde_json::from_str(&body).map_err(|error| ApiError::new(what, &error));
    }
}

/// The text at a JSON pointer; empty if there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
