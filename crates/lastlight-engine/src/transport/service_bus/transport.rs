//! The transport under `azure_messaging_servicebus`: it selects the endpoint (public, sovereign or
//! local), replaces the crate's signature, keeps connections open, and interprets error responses,
//! which the crate discards.
//!
//! Never print a request or its headers: the old core's `Debug` shows Authorization.

use async_trait::async_trait;
use azure_core_legacy::{
    Body, CollectedResponse, HttpClient, Request, Response, StatusCode,
    error::{Error, ErrorKind},
    headers::Headers,
};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use super::token::Tokens;
use crate::{
    config::{Secret, ServiceBusSettings},
    transport::{
        http::{describe, pooled_client, said},
        sender::{NO_TOKEN, SendError},
    },
};

/// The meaning of an error response for all messages of the request.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// It is unknown whether they were stored: send the same messages again.
    #[error("{detail}")]
    Unknown { detail: String },
    /// The service processed nothing: all senders wait, then send the same messages again.
    #[error("{detail}")]
    Throttled { detail: String },
    #[error("{detail}")]
    TooLarge { detail: String },
    #[error("{detail}")]
    Unauthorized { detail: String },
    #[error("the queue does not exist")]
    NotFound,
    #[error("{detail}")]
    Refused { status: u16, detail: String },
}

impl Fault {
    /// The fault inside the crate's error, as stored there by the transport.
    pub(super) fn from_crate(error: Error) -> Self {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Self>())
            .cloned()
            .unwrap_or_else(|| Self::Unknown { detail: said(&error.to_string(), &[]) })
    }

    pub(super) fn into_send_error(self, queue: &str) -> SendError {
        match self {
            Self::Unknown { detail } => SendError::Unavailable { detail },
            Self::Throttled { detail } => SendError::Throttled { detail },
            Self::TooLarge { detail } => SendError::Refused { status: 413, detail },
            Self::Unauthorized { detail } => {
                SendError::Unauthorized { queue: queue.to_owned(), detail }
            }
            Self::NotFound => SendError::QueueNotFound { queue: queue.to_owned() },
            Self::Refused { status, detail } => SendError::Refused { status, detail },
        }
    }

    /// Interprets a response; `sent` is the credential of the request.
    fn of(status: u16, body: &str, sent: &Secret) -> Self {
        let detail = format!("status {status}: {}", said(body, &[sent]));
        // 50009 is the sub-code of "namespace throttled", which occurs with several statuses.
        if body.contains("50009") {
            return Self::Throttled { detail };
        }
        match status {
            429 | 503 => Self::Throttled { detail },
            408 | 500 | 502 | 504 => Self::Unknown { detail },
            413 => Self::TooLarge { detail },
            // 403 can also mean that the queue is full or the message too large.
            403 if body.contains("40310") || body.contains("size") => Self::TooLarge { detail },
            403 if body.contains("quota") || body.contains("40300") => Self::Unknown { detail },
            401 | 403 => Self::Unauthorized { detail },
            404 | 410 => Self::NotFound,
            _ => Self::Refused { status, detail },
        }
    }
}

/// A response of the service.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The credential of the request.
    sent: Secret,
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn fault(&self) -> Fault {
        Fault::of(self.status, &String::from_utf8_lossy(&self.body), &self.sent)
    }
}

#[derive(Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    endpoint: Url,
    tokens: Tokens,
}

impl Transport {
    pub(super) fn new(settings: &ServiceBusSettings) -> Result<Self, SendError> {
        Ok(Self {
            client: pooled_client(&settings.endpoint, settings.request_timeout)?,
            endpoint: settings.endpoint.clone(),
            tokens: Tokens::new(&settings.auth)?,
        })
    }

    /// Requests the queue's description, an Atom entry.
    pub(super) async fn describe(&self, queue: &str) -> Result<Bytes, Fault> {
        let answer =
            self.request(reqwest::Method::GET, queue, queue, "api-version=2021-05").await?;
        Ok(answer.body)
    }

    /// Sends a request without a body to `path`, with the token of `queue`. Returns the response if
    /// it is a success.
    pub(super) async fn request(
        &self,
        method: reqwest::Method,
        queue: &str,
        path: &str,
        query: &str,
    ) -> Result<Answer, Fault> {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let answer = self.signed(queue, |header| {
            self.client.request(method.clone(), url.clone()).header(AUTHORIZATION, header).send()
        });
        let answer = answer.await?;
        if answer.is_success() { Ok(answer) } else { Err(answer.fault()) }
    }

    /// Sends with the queue's token; once more with a new token after status 401.
    async fn signed<F>(&self, queue: &str, send: impl Fn(HeaderValue) -> F) -> Result<Answer, Fault>
    where
        F: Future<Output = reqwest::Result<reqwest::Response>>,
    {
        let unknown = |error: reqwest::Error| Fault::Unknown { detail: describe(&error) };
        let mut is_second_try = false;
        loop {
            let sent = self
                .tokens
                .header(&self.endpoint, queue)
                .await
                .map_err(|detail| Fault::Unknown { detail: format!("{NO_TOKEN}{detail}") })?;
            let mut header = HeaderValue::from_str(sent.expose()).map_err(|_| Fault::Refused {
                status: 0,
                detail:
                    "the name of the shared access key has characters that are invalid in a header"
                        .to_owned(),
            })?;
            // Debug output of the request must omit it.
            header.set_sensitive(true);
            let answer = send(header).await.map_err(unknown)?;
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            let body = answer.bytes().await.map_err(unknown)?;
            if status == 401 && !is_second_try {
                is_second_try = true;
                self.tokens.forget();
                continue;
            }
            return Ok(Answer { status, headers, body, sent });
        }
    }

    async fn execute(&self, request: &Request) -> Result<CollectedResponse, Fault> {
        let refused = |detail: &str| Fault::Refused { status: 0, detail: detail.to_owned() };
        let mut url = self.endpoint.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        let path = request.url().path().trim_start_matches('/');
        let queue = path.split("/messages").next().unwrap_or(path);
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| refused("the method cannot be sent"))?;
        let Body::Bytes(body) = request.body().clone() else {
            return Err(refused("a streamed body cannot be retried"));
        };
        let answer = self
            .signed(queue, |header| {
                let mut copy = self.client.request(method.clone(), url.clone()).body(body.clone());
                for (name, value) in request.headers().iter() {
                    if !name.as_str().eq_ignore_ascii_case("authorization") {
                        copy = copy.header(name.as_str(), value.as_str());
                    }
                }
                copy.header(AUTHORIZATION, header).send()
            })
            .await?;
        if !answer.is_success() {
            return Err(answer.fault());
        }
        let status =
            StatusCode::try_from(answer.status).map_err(|_| refused("an unknown status"))?;
        Ok(CollectedResponse::new(status, Headers::new(), answer.body))
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core_legacy::Result<Response> {
        let collected = self.execute_request_check_status(request).await?;
        let status = *collected.status();
        let body = collected.body().clone();
        Ok(Response::new(
            status,
            Headers::new(),
            Box::pin(futures_util::stream::once(async { Ok(body) })),
        ))
    }

    async fn execute_request_check_status(
        &self,
        request: &Request,
    ) -> azure_core_legacy::Result<CollectedResponse> {
        self.execute(request).await.map_err(|fault| Error::new(ErrorKind::Other, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_detail_determine_the_fault() {
        let kinds = [
            (429, "", "Throttled"),
            (400, "SubCode=50009 the namespace is throttled", "Throttled"),
            (503, "", "Throttled"),
            (500, "", "Unknown"),
            (413, "", "TooLarge"),
            (403, "SubCode=40300. quota exceeded", "Unknown"),
            (403, "", "Unauthorized"),
            (401, "", "Unauthorized"),
            (404, "", "NotFound"),
            (410, "", "NotFound"),
            (400, "", "Refused"),
        ];
        for (status, body, kind) in kinds {
            let fault = format!("{:?}", Fault::of(status, body, &Secret::new("")));
            assert!(fault.starts_with(kind), "{status} {body:?}: {fault}");
        }
    }
}
