//! The handler `http_call` calls a service over HTTP, at an address that the app's settings allow.
//!
//! It follows no redirects. The key in the header `Idempotency-Key` is the same for all attempts at
//! a task, so that a service that knows the header does its work once. An error shows neither the
//! query of the URL nor the value of a header. The body of an answer may have 1 MiB.

mod answer;
mod request;

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use self::{
    answer::{Answer, answer},
    request::Call,
};
use super::{parameters::read, reference::HandlerReference};
use crate::{
    config::HttpCallAllow,
    job::{TaskContext, TaskError},
    transport::http::{client_builder, describe},
};

pub(super) const NAME: &str = "http_call";

pub(super) fn reference() -> HandlerReference {
    HandlerReference {
        name: NAME,
        about: format!(
            "Calls a service over HTTP, at an address that the setting `{}` allows. No answer, 429 and a status of 500 and \
             more are tried again; every other status that is not expected fails the task. It follows no redirects. The header \
             `Idempotency-Key` is the same for all attempts at a task. A body may have 1 MiB.",
            HttpCallAllow::SETTING
        ),
        returns: "`{status, headers, body}`: `body` is the value if the service says that it is JSON, else the text",
        parameters: request::reference(),
    }
}

/// The calls of a process: what they may reach, and the client that they share.
#[derive(Debug, Default)]
pub struct HttpCalls {
    allow: HttpCallAllow,
    client: OnceLock<reqwest::Client>,
}

impl HttpCalls {
    /// Calls to these addresses only. [`HttpCalls::default`] allows none.
    pub fn new(allow: HttpCallAllow) -> Self {
        Self { allow, client: OnceLock::new() }
    }

    /// The client, made on first use: an app without calls needs none.
    fn client(&self) -> Result<reqwest::Client, TaskError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let client = client_builder()
            .user_agent(concat!("lastlight/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let reason = format!("no HTTP client can be made: {}", describe(&error));
                TaskError::Transient(reason)
            })?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Calls the service once and returns its answer. Fails transiently if there is none, or with 429
/// or a status of 500 and more; every other answer that is not as expected is a permanent failure.
pub(super) async fn http_call(
    calls: Arc<HttpCalls>,
    context: TaskContext,
    given: Box<RawValue>,
) -> Result<Answer, TaskError> {
    let call = Call::checked(read(NAME, &given)?, &calls.allow)?;
    drop(given);
    let key = request::idempotency_key(context.job_id(), context.task_id());
    context.log(format!("{call}, Idempotency-Key {key}"));
    let response = call
        .request(&calls.client()?, &key)
        .send()
        .await
        .map_err(|error| call.unanswered(&error))?;
    context.log(format!("status {}", response.status()));
    answer(&call, response).await
}
