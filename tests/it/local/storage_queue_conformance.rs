//! One suite for two services: the local Storage Queue endpoint behaves as Azurite does. Raw REST
//! requests with signatures that are created here, without any code of the product.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lastlight_engine::config::{DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY};
use lastlight_local::broker::{
    Endpoint, Faults, StorageQueues,
    storage_queue::{StorageAccount, router},
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use sha2::Sha256;
use time::{Duration, OffsetDateTime, macros::format_description};

use crate::harness::service;

/// A client that knows only the protocol.
pub(crate) struct Raw {
    base: String,
    client: reqwest::Client,
}

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn code(&self) -> &str {
        self.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default()
    }

    /// The texts of all elements of this name, in order.
    fn all(&self, element: &str) -> Vec<String> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let texts = self.body.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
        texts.map(|text| quick_xml::escape::unescape(text).unwrap().into_owned()).collect()
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
    limited_signature(key, lives, "q", "sco", "rwdlacup")
}

/// An account SAS for these services and resource types with these rights.
fn limited_signature(
    key: &str,
    lives: Duration,
    services: &str,
    types: &str,
    rights: &str,
) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let expires = (OffsetDateTime::now_utc() + lives).format(format).unwrap();
    let text = format!(
        "{DEVELOPMENT_ACCOUNT}\n{rights}\n{services}\n{types}\n\n{expires}\n\n\n2021-12-02\n\n"
    );
    format!(
        "sv=2021-12-02&ss={services}&srt={types}&sp={rights}&se={}&sig={}",
        encoded(&expires),
        encoded(&sign(key, &text))
    )
}

impl Raw {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { base: endpoint.trim_end_matches('/').to_owned(), client: reqwest::Client::new() }
    }

    async fn with_query(
        &self,
        method: Method,
        path: &str,
        query: &str,
        signature: &str,
        body: &str,
    ) -> Answer {
        let joint = if query.is_empty() { String::new() } else { format!("{query}&") };
        let url = format!("{}/{path}?{joint}{signature}", self.base);
        let request = self
            .client
            .request(method, url)
            .header("x-ms-version", "2025-11-05")
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    async fn send(&self, method: Method, path: &str, query: &str, body: &str) -> Answer {
        self.with_query(method, path, query, &signature(DEVELOPMENT_KEY, Duration::hours(1)), body)
            .await
    }

    async fn put(&self, queue: &str, query: &str, text: &str) -> Answer {
        let text = quick_xml::escape::escape(text);
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        self.send(Method::POST, &format!("{queue}/messages"), query, &body).await
    }

    /// Puts a text without base64.
    pub(crate) async fn put_text(&self, queue: &str, text: &str) {
        assert_eq!(self.put(queue, "", text).await.status, StatusCode::CREATED);
    }

    async fn get(&self, queue: &str, query: &str) -> Answer {
        self.send(Method::GET, &format!("{queue}/messages"), query, "").await
    }

    pub(crate) async fn count(&self, queue: &str) -> u64 {
        let answer = self.send(Method::GET, queue, "comp=metadata", "").await;
        answer.headers["x-ms-approximate-messages-count"].to_str().unwrap().parse().unwrap()
    }

    /// Receives all visible messages, without base64.
    pub(crate) async fn receive_texts(&self, queue: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let received =
                self.get(queue, "numofmessages=32&visibilitytimeout=300").await.all("MessageText");
            if received.is_empty() {
                return texts;
            }
            let decode =
                |text: &String| String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap();
            texts.extend(received.iter().map(decode));
        }
    }
}

async fn conforms(endpoint: &str) {
    let raw = Raw::new(endpoint);
    let queue = format!("q{}", uuid::Uuid::new_v4().simple());
    queues_are_made_described_and_deleted(&raw, &queue).await;
    messages_are_put_received_updated_and_deleted(&raw, &queue).await;
    texts_come_back_as_they_were_put(&raw, &queue).await;
    times_to_live_and_delays_are_checked(&raw, &queue).await;
    queues_carry_metadata_and_are_listed_in_pages(&raw, &queue).await;
    wrong_requests_are_refused_with_the_same_codes(&raw, &queue).await;
    names_follow_the_rules(&raw).await;
    a_signature_is_good_for_what_it_says(&raw, &queue).await;
    a_request_id_comes_back(&raw, &queue).await;
    only_who_has_the_key_gets_in(&raw, &queue).await;
    shared_key_gets_in_too(&raw, &queue).await;
    shared_key_covers_bodies_and_queries(&raw, &queue).await;
    let deleted = raw.send(Method::DELETE, &queue, "", "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(raw.put(&queue, "", "x").await.code(), "QueueNotFound");
}

async fn queues_are_made_described_and_deleted(raw: &Raw, queue: &str) {
    assert_eq!(raw.send(Method::PUT, queue, "", "").await.status, StatusCode::CREATED);
    assert_eq!(raw.send(Method::PUT, queue, "", "").await.status, StatusCode::NO_CONTENT);
    let described = raw.send(Method::GET, queue, "comp=metadata", "").await;
    assert_eq!(described.status, StatusCode::OK);
    assert!(
        described.headers.contains_key("x-ms-request-id")
            && described.headers.contains_key("x-ms-version")
    );
    assert_eq!(raw.count(queue).await, 0);
    let missing = raw.send(Method::GET, "no-such-queue", "comp=metadata", "").await;
    assert_eq!((missing.status, missing.code()), (StatusCode::NOT_FOUND, "QueueNotFound"));
    let listed = raw.send(Method::GET, "", &format!("comp=list&prefix={queue}"), "").await;
    assert_eq!((listed.status, listed.all("Name")), (StatusCode::OK, vec![queue.to_owned()]));
}

async fn messages_are_put_received_updated_and_deleted(raw: &Raw, queue: &str) {
    let put = raw.put(queue, "", "<first & \"only\">").await;
    assert_eq!(put.status, StatusCode::CREATED);
    for element in ["MessageId", "InsertionTime", "ExpirationTime", "PopReceipt", "TimeNextVisible"]
    {
        assert!(!put.one(element).is_empty());
    }
    let peeked = raw.get(queue, "peekonly=true").await;
    assert_eq!(
        (peeked.status, peeked.one("MessageText").as_str()),
        (StatusCode::OK, "<first & \"only\">")
    );
    assert_eq!((peeked.one("DequeueCount").as_str(), peeked.all("PopReceipt").len()), ("0", 0));
    let received = raw.get(queue, "visibilitytimeout=60").await;
    assert_eq!(received.one("DequeueCount"), "1");
    let (id, receipt) = (received.one("MessageId"), received.one("PopReceipt"));
    assert!(raw.get(queue, "").await.all("MessageId").is_empty(), "a received message is hidden");
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
    let stale =
        raw.send(Method::DELETE, &message, &format!("popreceipt={}", encoded(&receipt)), "").await;
    assert_eq!((stale.status, stale.code()), (StatusCode::BAD_REQUEST, "PopReceiptMismatch"));
    let again = raw.get(queue, "").await;
    assert_eq!(
        (again.one("MessageText").as_str(), again.one("DequeueCount").as_str()),
        ("second", "2")
    );
    let query = format!("popreceipt={}", encoded(&again.one("PopReceipt")));
    assert_eq!(raw.send(Method::DELETE, &message, &query, "").await.status, StatusCode::NO_CONTENT);
    let gone = raw.send(Method::DELETE, &message, &query, "").await;
    assert_eq!((gone.status, gone.code()), (StatusCode::NOT_FOUND, "MessageNotFound"));

    for number in 0..40 {
        raw.put(queue, "", &number.to_string()).await;
    }
    assert_eq!(raw.get(queue, "numofmessages=32").await.all("MessageText").len(), 32);
    assert_eq!(raw.get(queue, "numofmessages=32").await.all("MessageText").len(), 8);
    raw.put(queue, "visibilitytimeout=300", "later").await;
    assert!(raw.get(queue, "").await.all("MessageText").is_empty());
    assert_eq!(
        raw.send(Method::DELETE, &format!("{queue}/messages"), "", "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(raw.count(queue).await, 0);
}

async fn texts_come_back_as_they_were_put(raw: &Raw, queue: &str) {
    for text in [
        " a blank before and after ",
        "two\nlines",
        "{\"n\": 1, \"s\": \"<&>\"}",
        "grüße 😀",
        "",
        "]]>",
    ] {
        let put = raw.put(queue, "", text).await;
        assert_eq!(put.status, StatusCode::CREATED, "{text:?}");
        let received = raw.get(queue, "").await;
        // Azurite writes an empty text as an empty element.
        let texts = received.all("MessageText");
        assert_eq!(texts.first().map(String::as_str).unwrap_or_default(), text);
        assert_eq!(received.all("MessageId"), put.all("MessageId"));
        let path = format!("{queue}/messages/{}", received.one("MessageId"));
        let receipt = format!("popreceipt={}", encoded(&received.one("PopReceipt")));
        raw.send(Method::DELETE, &path, &receipt, "").await;
    }
    let put_document = async |document: &str| {
        let path = format!("{queue}/messages");
        raw.send(Method::POST, &path, "", document).await
    };
    let spelled =
        "<QueueMessage><MessageText><![CDATA[a<b]]>&#65;&#x42;&amp;</MessageText></QueueMessage>";
    assert_eq!(put_document(spelled).await.status, StatusCode::CREATED);
    assert_eq!(raw.get(queue, "").await.one("MessageText"), "a<bAB&");
    for document in ["", "<QueueMessage></QueueMessage>"] {
        let refused = put_document(document).await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "InvalidXmlDocument"),
            "{document:?}"
        );
    }
    for document in [
        "not xml",
        "<QueueMessage><MessageText>a",
        "<QueueMessage><MessageText>a<b/>c</MessageText></QueueMessage>",
    ] {
        assert_eq!(put_document(document).await.status, StatusCode::BAD_REQUEST, "{document:?}");
    }
    raw.send(Method::DELETE, &format!("{queue}/messages"), "", "").await;
}

async fn times_to_live_and_delays_are_checked(raw: &Raw, queue: &str) {
    for query in ["messagettl=0", "messagettl=5&visibilitytimeout=5"] {
        let refused = raw.put(queue, query, "x").await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
            "{query}"
        );
    }
    for query in ["messagettl=-2", "visibilitytimeout=soon", "messagettl=long"] {
        assert_eq!(raw.put(queue, query, "x").await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    for query in ["visibilitytimeout=-1", "visibilitytimeout=604801"] {
        let refused = raw.put(queue, query, "x").await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "OutOfRangeQueryParameterValue"),
            "{query}"
        );
    }
    let forever = raw.put(queue, "messagettl=-1", "x").await;
    assert_eq!(forever.one("ExpirationTime"), "Fri, 31 Dec 9999 23:59:59 GMT");
    let beyond_the_calendar = raw.put(queue, "messagettl=999999999999", "x").await;
    assert_eq!(beyond_the_calendar.one("ExpirationTime"), "Fri, 31 Dec 9999 23:59:59 GMT");
    raw.put(queue, "messagettl=1", "short").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let texts = raw.get(queue, "numofmessages=32").await.all("MessageText");
    assert_eq!(texts, ["x", "x"], "an expired message is not delivered");
    raw.send(Method::DELETE, &format!("{queue}/messages"), "", "").await;
}

async fn queues_carry_metadata_and_are_listed_in_pages(raw: &Raw, queue: &str) {
    let set = async |method: Method, queue: &str, query: &str, value: &str| {
        let signature = signature(DEVELOPMENT_KEY, Duration::hours(1));
        let url = format!("{}/{queue}?{query}{signature}", raw.base);
        let request = raw.client.request(method, url).header("x-ms-meta-owner", value);
        request.send().await.unwrap().status()
    };
    assert_eq!(set(Method::PUT, queue, "comp=metadata&", "me").await, StatusCode::NO_CONTENT);
    let described = raw.send(Method::GET, queue, "comp=metadata", "").await;
    assert_eq!(described.headers["x-ms-meta-owner"], "me");
    assert_eq!(set(Method::PUT, queue, "", "me").await, StatusCode::NO_CONTENT);
    assert_eq!(set(Method::PUT, queue, "", "you").await, StatusCode::CONFLICT);
    assert_eq!(
        set(Method::PUT, "no-such-queue", "comp=metadata&", "me").await,
        StatusCode::NOT_FOUND
    );

    let second = format!("{queue}-2");
    raw.send(Method::PUT, &second, "", "").await;
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let query = format!("comp=list&prefix={queue}&maxresults=1&marker={marker}");
        let page = raw.send(Method::GET, "", &query, "").await;
        names.push(page.one("Name"));
        marker = page.all("NextMarker").pop().unwrap_or_default();
        if marker.is_empty() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, [queue, &second]);
    let query = format!("comp=list&prefix={queue}&include=metadata");
    let listed = raw.send(Method::GET, "", &query, "").await;
    assert!(listed.body.to_lowercase().contains("<owner>me</owner>"), "{}", listed.body);
    raw.send(Method::DELETE, &second, "", "").await;
    let gone = raw.send(Method::DELETE, &second, "", "").await;
    assert_eq!((gone.status, gone.code()), (StatusCode::NOT_FOUND, "QueueNotFound"));
    // Removes the metadata, for the steps below.
    let none = raw.send(Method::PUT, queue, "comp=metadata", "").await;
    assert_eq!(none.status, StatusCode::NO_CONTENT);
}

async fn names_follow_the_rules(raw: &Raw) {
    for (name, code) in [
        ("ab", "OutOfRangeInput"),
        (&"a".repeat(64), "OutOfRangeInput"),
        ("Upper", "InvalidResourceName"),
        ("two--hyphens", "InvalidResourceName"),
        ("-first", "InvalidResourceName"),
        ("last-", "InvalidResourceName"),
        ("under_score", "InvalidResourceName"),
    ] {
        for method in [Method::PUT, Method::DELETE] {
            let refused = raw.send(method, name, "", "").await;
            assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, code), "{name}");
        }
    }
}

async fn a_signature_is_good_for_what_it_says(raw: &Raw, queue: &str) {
    let messages = format!("{queue}/messages");
    let body = "<QueueMessage><MessageText>x</MessageText></QueueMessage>";
    for (services, types, rights, put, get) in [
        ("q", "o", "a", "", "AuthorizationPermissionMismatch"),
        ("q", "o", "p", "AuthorizationPermissionMismatch", ""),
        ("q", "o", "ap", "", ""),
        ("q", "s", "ap", "AuthorizationResourceTypeMismatch", "AuthorizationResourceTypeMismatch"),
        ("b", "o", "ap", "AuthorizationServiceMismatch", "AuthorizationServiceMismatch"),
    ] {
        let signature =
            limited_signature(DEVELOPMENT_KEY, Duration::hours(1), services, types, rights);
        for (method, body, code) in [(Method::POST, body, put), (Method::GET, "", get)] {
            let answer = raw.with_query(method, &messages, "", &signature, body).await;
            assert_eq!(answer.code(), code, "{services} {types} {rights}: {}", answer.body);
            assert_eq!(answer.status == StatusCode::FORBIDDEN, !code.is_empty());
        }
    }
    raw.send(Method::DELETE, &messages, "", "").await;
}

async fn a_request_id_comes_back(raw: &Raw, queue: &str) {
    let signature = signature(DEVELOPMENT_KEY, Duration::hours(1));
    let url = format!("{}/{queue}/messages?{signature}", raw.base);
    let request = raw.client.get(url).header("x-ms-client-request-id", "mine");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-ms-client-request-id"], "mine");
    assert!(answer.headers().contains_key("date"));
}

async fn wrong_requests_are_refused_with_the_same_codes(raw: &Raw, queue: &str) {
    // Azurite gives no error code for some requests that its parser refuses; the local endpoint
    // gives one.
    for query in ["numofmessages=0", "numofmessages=many", "visibilitytimeout=soon"] {
        assert_eq!(raw.get(queue, query).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    for query in ["numofmessages=33", "visibilitytimeout=0", "visibilitytimeout=604801"] {
        let refused = raw.get(queue, query).await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "OutOfRangeQueryParameterValue"),
            "{query}"
        );
    }
    let oversize = raw.put(queue, "", &"x".repeat(64 * 1024 + 1)).await;
    assert_eq!(
        (oversize.status, oversize.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge")
    );
    assert_eq!(raw.put(queue, "", &"x".repeat(64 * 1024)).await.status, StatusCode::CREATED);
    let unknown = format!("{queue}/messages/{}", uuid::Uuid::new_v4());
    for (method, query) in
        [(Method::DELETE, "popreceipt=AAAA"), (Method::PUT, "popreceipt=AAAA&visibilitytimeout=1")]
    {
        let refused = raw.send(method, &unknown, query, "").await;
        assert_eq!((refused.status, refused.code()), (StatusCode::NOT_FOUND, "MessageNotFound"));
    }
    for (method, query) in [
        (Method::DELETE, ""),
        (Method::PUT, "popreceipt=AAAA"),
        (Method::PUT, "visibilitytimeout=1"),
    ] {
        let refused = raw.send(method, &unknown, query, "").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let no_queue = raw.put("no-such-queue", "", "x").await;
    assert_eq!((no_queue.status, no_queue.code()), (StatusCode::NOT_FOUND, "QueueNotFound"));
    assert!(no_queue.body.contains("<Code>QueueNotFound</Code>"), "{}", no_queue.body);
}

async fn only_who_has_the_key_gets_in(raw: &Raw, queue: &str) {
    let wrong_key = BASE64_STANDARD.encode("another key");
    for signature in [
        signature(&wrong_key, Duration::hours(1)),
        signature(DEVELOPMENT_KEY, -Duration::hours(1)),
        signature(DEVELOPMENT_KEY, Duration::hours(1)).replace("sp=rwdlacup", "sp=rwdlacu"),
    ] {
        let refused = raw.with_query(Method::GET, queue, "comp=metadata", &signature, "").await;
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
        let headers =
            BTreeMap::from([("x-ms-date", date.as_str()), ("x-ms-version", "2025-11-05")]);
        let canonical: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let text = format!(
            "GET\n\n\n\n\n\n\n\n\n\n\n\n{canonical}/{DEVELOPMENT_ACCOUNT}/{DEVELOPMENT_ACCOUNT}/{queue}\ncomp:metadata"
        );
        let mut request = raw.client.get(format!("{}/{queue}?comp=metadata", raw.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let authorization = format!("SharedKey {DEVELOPMENT_ACCOUNT}:{}", sign(&key, &text));
        let answer = request.header("authorization", authorization).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// A request with a body, a query and an escaped path, signed by both schemes.
async fn shared_key_covers_bodies_and_queries(raw: &Raw, queue: &str) {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = OffsetDateTime::now_utc().format(format).unwrap();
    let body = "<QueueMessage><MessageText>x</MessageText></QueueMessage>";
    let own = format!("x-ms-date:{date}\nx-ms-version:2025-11-05\n");
    let resource = format!("/{DEVELOPMENT_ACCOUNT}/{DEVELOPMENT_ACCOUNT}/{queue}/messages");
    let full = format!(
        "POST\n\n\n{}\n\napplication/xml\n\n\n\n\n\n\n{own}{resource}\nmessagettl:60\nvisibilitytimeout:1",
        body.len()
    );
    let lite = format!("POST\n\napplication/xml\n\n{own}{resource}");
    for (scheme, text) in [("SharedKey", full), ("SharedKeyLite", lite)] {
        for (messagettl, status) in [(60, StatusCode::CREATED), (61, StatusCode::FORBIDDEN)] {
            if scheme == "SharedKeyLite" && messagettl == 61 {
                continue; // The short form does not cover the query.
            }
            let url = format!(
                "{}/{queue}/messages?visibilitytimeout=1&messagettl={messagettl}",
                raw.base
            );
            let request = raw
                .client
                .post(url)
                .header("x-ms-date", &date)
                .header("x-ms-version", "2025-11-05")
                .header("content-type", "application/xml")
                .header(
                    "authorization",
                    format!("{scheme} {DEVELOPMENT_ACCOUNT}:{}", sign(DEVELOPMENT_KEY, &text)),
                )
                .body(body);
            assert_eq!(request.send().await.unwrap().status(), status, "{scheme} {messagettl}");
        }
    }
    let nobody = raw.client.get(format!("{}/{queue}/messages", raw.base));
    assert_eq!(nobody.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn azurite_conforms_to_the_suite() {
    conforms(&service("AZURITE_QUEUE_ENDPOINT")).await;
}

#[tokio::test]
async fn the_local_endpoint_conforms_to_the_suite() {
    let account =
        StorageAccount { name: DEVELOPMENT_ACCOUNT.to_owned(), key: DEVELOPMENT_KEY.to_owned() };
    let endpoint = Endpoint::start(
        "Storage Queues",
        0,
        router(StorageQueues::new(), account, Faults::default()),
    )
    .await
    .unwrap();
    conforms(&format!("http://{}/{DEVELOPMENT_ACCOUNT}", endpoint.address())).await;
}
