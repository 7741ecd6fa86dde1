//! One suite for two services: what Azurite does, the local Storage Queue endpoint does. Raw REST, with signatures made
//! here, so that nothing of the product stands between.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lastlight::{
    config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY},
    local::broker::{
        Endpoint, Faults, StorageQueues,
        storage_queue::{StorageAccount, router},
    },
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use sha2::Sha256;
use time::{Duration, OffsetDateTime, macros::format_description};

use crate::harness::service;

/// A client that knows only the protocol.
pub struct Raw {
    base: String,
    client: reqwest::Client,
}

pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn code(&self) -> &str {
        self.headers
            .get("x-ms-error-code")
            .and_then(|code| code.to_str().ok())
            .unwrap_or_default()
    }

    /// The texts of all elements of this name, in order.
    fn all(&self, element: &str) -> Vec<String> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let texts = self
            .body
            .split(&open)
            .skip(1)
            .filter_map(|rest| rest.split(&close).next());
        texts
            .map(|text| quick_xml::escape::unescape(text).unwrap().into_owned())
            .collect()
    }

    fn one(&self, element: &str) -> String {
        let mut all = self.all(element);
        assert_eq!(all.len(), 1, "{element} in {}", self.body);
        all.remove(0)
    }
}

fn sign(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn signature(key: &str, lives: Duration) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let expires = (OffsetDateTime::now_utc() + lives).format(format).unwrap();
    let text = format!("{DEVELOPMENT_ACCOUNT}\nrwdlacup\nq\nsco\n\n{expires}\n\n\n2021-12-02\n\n");
    format!(
        "sv=2021-12-02&ss=q&srt=sco&sp=rwdlacup&se={}&sig={}",
        encoded(&expires),
        encoded(&sign(key, &text))
    )
}

impl Raw {
    pub fn new(endpoint: &str) -> Self {
        Self {
            base: endpoint.trim_end_matches('/').to_owned(),
            client: reqwest::Client::new(),
        }
    }

    async fn with_query(
        &self,
        method: Method,
        path: &str,
        query: &str,
        signature: &str,
        body: &str,
    ) -> Answer {
        let joint = if query.is_empty() {
            String::new()
        } else {
            format!("{query}&")
        };
        let url = format!("{}/{path}?{joint}{signature}", self.base);
        let request = self
            .client
            .request(method, url)
            .header("x-ms-version", "2025-11-05")
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            body: response.text().await.unwrap(),
        }
    }

    async fn send(&self, method: Method, path: &str, query: &str, body: &str) -> Answer {
        self.with_query(
            method,
            path,
            query,
            &signature(DEVELOPMENT_KEY, Duration::hours(1)),
            body,
        )
        .await
    }

    async fn put(&self, queue: &str, query: &str, text: &str) -> Answer {
        let text = quick_xml::escape::escape(text);
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        self.send(Method::POST, &format!("{queue}/messages"), query, &body)
            .await
    }

    async fn get(&self, queue: &str, query: &str) -> Answer {
        self.send(Method::GET, &format!("{queue}/messages"), query, "")
            .await
    }

    pub async fn count(&self, queue: &str) -> u64 {
        let answer = self.send(Method::GET, queue, "comp=metadata", "").await;
        answer.headers["x-ms-approximate-messages-count"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Receives everything that is visible, without base64.
    pub async fn receive_texts(&self, queue: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let received = self
                .get(queue, "numofmessages=32&visibilitytimeout=300")
                .await
                .all("MessageText");
            if received.is_empty() {
                return texts;
            }
            let decode = |text: &String| String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap();
            texts.extend(received.iter().map(decode));
        }
    }
}

async fn conforms(endpoint: &str) {
    let raw = Raw::new(endpoint);
    let queue = format!("q{}", uuid::Uuid::new_v4().simple());
    queues_are_made_described_and_deleted(&raw, &queue).await;
    messages_are_put_received_updated_and_deleted(&raw, &queue).await;
    wrong_requests_are_refused_with_the_same_codes(&raw, &queue).await;
    only_who_has_the_key_gets_in(&raw, &queue).await;
    shared_key_gets_in_too(&raw, &queue).await;
    let deleted = raw.send(Method::DELETE, &queue, "", "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(raw.put(&queue, "", "x").await.code(), "QueueNotFound");
}

async fn queues_are_made_described_and_deleted(raw: &Raw, queue: &str) {
    assert_eq!(
        raw.send(Method::PUT, queue, "", "").await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        raw.send(Method::PUT, queue, "", "").await.status,
        StatusCode::NO_CONTENT
    );
    let described = raw.send(Method::GET, queue, "comp=metadata", "").await;
    assert_eq!(described.status, StatusCode::OK);
    assert!(
        described.headers.contains_key("x-ms-request-id") && described.headers.contains_key("x-ms-version")
    );
    assert_eq!(raw.count(queue).await, 0);
    let missing = raw.send(Method::GET, "no-such-queue", "comp=metadata", "").await;
    assert_eq!(
        (missing.status, missing.code()),
        (StatusCode::NOT_FOUND, "QueueNotFound")
    );
    let listed = raw
        .send(Method::GET, "", &format!("comp=list&prefix={queue}"), "")
        .await;
    assert_eq!(
        (listed.status, listed.all("Name")),
        (StatusCode::OK, vec![queue.to_owned()])
    );
}

async fn messages_are_put_received_updated_and_deleted(raw: &Raw, queue: &str) {
    let put = raw.put(queue, "", "<first & \"only\">").await;
    assert_eq!(put.status, StatusCode::CREATED);
    for element in [
        "MessageId",
        "InsertionTime",
        "ExpirationTime",
        "PopReceipt",
        "TimeNextVisible",
    ] {
        assert!(!put.one(element).is_empty());
    }
    let peeked = raw.get(queue, "peekonly=true").await;
    assert_eq!(
        (peeked.status, peeked.one("MessageText").as_str()),
        (StatusCode::OK, "<first & \"only\">")
    );
    assert_eq!(
        (
            peeked.one("DequeueCount").as_str(),
            peeked.all("PopReceipt").len()
        ),
        ("0", 0)
    );
    let received = raw.get(queue, "visibilitytimeout=60").await;
    assert_eq!(received.one("DequeueCount"), "1");
    let (id, receipt) = (received.one("MessageId"), received.one("PopReceipt"));
    assert!(
        raw.get(queue, "").await.all("MessageId").is_empty(),
        "a received message is hidden"
    );
    assert_eq!(raw.count(queue).await, 1);

    let message = format!("{queue}/messages/{id}");
    let body = "<QueueMessage><MessageText>second</MessageText></QueueMessage>";
    let query = format!("popreceipt={}&visibilitytimeout=0", encoded(&receipt));
    let updated = raw.send(Method::PUT, &message, &query, body).await;
    assert_eq!(updated.status, StatusCode::NO_CONTENT);
    assert!(
        updated.headers.contains_key("x-ms-popreceipt")
            && updated.headers.contains_key("x-ms-time-next-visible")
    );
    let stale = raw
        .send(
            Method::DELETE,
            &message,
            &format!("popreceipt={}", encoded(&receipt)),
            "",
        )
        .await;
    assert_eq!(
        (stale.status, stale.code()),
        (StatusCode::BAD_REQUEST, "PopReceiptMismatch")
    );
    let again = raw.get(queue, "").await;
    assert_eq!(
        (
            again.one("MessageText").as_str(),
            again.one("DequeueCount").as_str()
        ),
        ("second", "2")
    );
    let query = format!("popreceipt={}", encoded(&again.one("PopReceipt")));
    assert_eq!(
        raw.send(Method::DELETE, &message, &query, "").await.status,
        StatusCode::NO_CONTENT
    );
    let gone = raw.send(Method::DELETE, &message, &query, "").await;
    assert_eq!(
        (gone.status, gone.code()),
        (StatusCode::NOT_FOUND, "MessageNotFound")
    );

    for number in 0..40 {
        raw.put(queue, "", &number.to_string()).await;
    }
    assert_eq!(
        raw.get(queue, "numofmessages=32").await.all("MessageText").len(),
        32
    );
    assert_eq!(
        raw.get(queue, "numofmessages=32").await.all("MessageText").len(),
        8
    );
    raw.put(queue, "visibilitytimeout=300", "later").await;
    assert!(raw.get(queue, "").await.all("MessageText").is_empty());
    assert_eq!(
        raw.send(Method::DELETE, &format!("{queue}/messages"), "", "")
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(raw.count(queue).await, 0);
}

async fn wrong_requests_are_refused_with_the_same_codes(raw: &Raw, queue: &str) {
    for query in [
        "numofmessages=0",
        "numofmessages=33",
        "visibilitytimeout=0",
        "visibilitytimeout=604801",
    ] {
        let refused = raw.get(queue, query).await;
        // Azure's code is OutOfRangeQueryParameterValue; Azurite refuses some of them before it has codes.
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{query}: {}",
            refused.body
        );
    }
    let oversize = raw.put(queue, "", &"x".repeat(64 * 1024 + 1)).await;
    assert_eq!(
        (oversize.status, oversize.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge")
    );
    assert_eq!(
        raw.put(queue, "", &"x".repeat(64 * 1024)).await.status,
        StatusCode::CREATED
    );
    let no_queue = raw.put("no-such-queue", "", "x").await;
    assert_eq!(
        (no_queue.status, no_queue.code()),
        (StatusCode::NOT_FOUND, "QueueNotFound")
    );
    assert!(
        no_queue.body.contains("<Code>QueueNotFound</Code>"),
        "{}",
        no_queue.body
    );
}

async fn only_who_has_the_key_gets_in(raw: &Raw, queue: &str) {
    let wrong_key = BASE64_STANDARD.encode("another key");
    for signature in [
        signature(&wrong_key, Duration::hours(1)),
        signature(DEVELOPMENT_KEY, -Duration::hours(1)),
        signature(DEVELOPMENT_KEY, Duration::hours(1)).replace("sp=rwdlacup", "sp=rwdlacu"),
    ] {
        let refused = raw
            .with_query(Method::GET, queue, "comp=metadata", &signature, "")
            .await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::FORBIDDEN, "AuthenticationFailed"),
            "{}",
            refused.body
        );
    }
}

async fn shared_key_gets_in_too(raw: &Raw, queue: &str) {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = OffsetDateTime::now_utc().format(format).unwrap();
    for (key, status) in [
        (DEVELOPMENT_KEY.to_owned(), StatusCode::OK),
        (BASE64_STANDARD.encode("no"), StatusCode::FORBIDDEN),
    ] {
        let headers = BTreeMap::from([("x-ms-date", date.as_str()), ("x-ms-version", "2025-11-05")]);
        let canonical: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let text = format!(
            "GET\n\n\n\n\n\n\n\n\n\n\n\n{canonical}/{DEVELOPMENT_ACCOUNT}/{DEVELOPMENT_ACCOUNT}/{queue}\ncomp:metadata"
        );
        let mut request = raw.client.get(format!("{}/{queue}?comp=metadata", raw.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let authorization = format!("SharedKey {DEVELOPMENT_ACCOUNT}:{}", sign(&key, &text));
        let answer = request
            .header("authorization", authorization)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn azurite_conforms() {
    conforms(&service("AZURITE_QUEUE_ENDPOINT")).await;
}

#[tokio::test]
async fn the_local_endpoint_conforms() {
    let account = StorageAccount {
        name: DEVELOPMENT_ACCOUNT.to_owned(),
        key: DEVELOPMENT_KEY.to_owned(),
    };
    let endpoint = Endpoint::start(
        "Storage Queues",
        0,
        router(StorageQueues::new(), account, Faults::default()),
    )
    .await
    .unwrap();
    conforms(&format!("http://{}/{DEVELOPMENT_ACCOUNT}", endpoint.address())).await;
}
