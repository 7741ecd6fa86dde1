//! The local Service Bus endpoint against the documented protocol: raw REST requests with tokens
//! that are created here, without any code of the product.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use lastlight_local::broker::{
    Clock, Endpoint, FaultPlan, Faults, LostAnswer, ServiceBus,
    service_bus::{QueueOptions, ServiceBusAccess, ServiceBusCounts, router},
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::Sha256;
use time::{OffsetDateTime, macros::datetime};
use tokio::sync::Notify;

use crate::harness::{LIMIT, until_refused};

const KEY_NAME: &str = "RootManageSharedAccessKey";
/// This key looks like base64 and must not be decoded.
const KEY: &str = "c2VjcmV0+/8=";
const BATCH: &str = "application/vnd.microsoft.servicebus.json";

/// A namespace with the queue `q`, on a clock that the test moves, and a client that knows only the
/// protocol.
struct Namespace {
    bus: ServiceBus,
    clock: Clock,
    faults: Faults,
    endpoint: Endpoint,
    client: reqwest::Client,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn broker_properties(&self) -> Value {
        serde_json::from_slice(self.headers["brokerproperties"].as_bytes()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn token(resource: &str, key_name: &str, key: &str, expires: i64) -> String {
    let resource = encoded(resource);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{resource}\n{expires}").as_bytes());
    let signature = encoded(&BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn={key_name}")
}

fn in_an_hour() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp() + 3600
}

impl Namespace {
    async fn start(options: QueueOptions) -> Self {
        let clock = Clock::manual(datetime!(2026-11-23 19:00 UTC));
        let (bus, faults) = (ServiceBus::with_clock(clock.clone()), Faults::with_seed(1));
        bus.create_queue("q", options);
        let access = ServiceBusAccess { key_name: KEY_NAME.to_owned(), key: KEY.to_owned() };
        let endpoint =
            Endpoint::start("Service Bus", 0, router(bus.clone(), access, faults.clone()))
                .await
                .unwrap();
        Self {
            bus,
            clock,
            faults,
            endpoint,
            client: reqwest::Client::new(),
            token: token("sb://somewhere.servicebus.windows.net/q", KEY_NAME, KEY, in_an_hour()),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}/{path}", self.endpoint.address());
        self.client.request(method, url).header("authorization", &self.token)
    }

    async fn call(&self, method: Method, path: &str) -> Answer {
        answer(self.request(method, path)).await
    }

    async fn send(&self, body: &str, broker_properties: Value) -> Answer {
        let request = self
            .request(Method::POST, "q/messages")
            .header("brokerproperties", broker_properties.to_string());
        answer(request.body(body.to_owned())).await
    }

    async fn send_batch(&self, batch: &Value) -> Answer {
        let request = self.request(Method::POST, "q/messages").header("content-type", BATCH);
        answer(request.body(batch.to_string())).await
    }

    async fn peek_lock(&self) -> Answer {
        self.call(Method::POST, "q/messages/head?timeout=0").await
    }

    /// The path at which the answer's message is settled.
    fn location(&self, answer: &Answer) -> String {
        let base = format!("http://{}/", self.endpoint.address());
        answer.header("location").strip_prefix(&base).unwrap().to_owned()
    }

    fn counts(&self) -> ServiceBusCounts {
        self.bus.counts("q").unwrap()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

fn batch(ids: impl IntoIterator<Item = u32>) -> Value {
    ids.into_iter()
        .map(|id| json!({"Body": format!("body {id}"), "BrokerProperties": {"MessageId": format!("m{id}")}}))
        .collect()
}

#[tokio::test]
async fn a_single_message_arrives_with_its_properties() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let sent = answer(
        namespace
            .request(Method::POST, "q/messages")
            .header("content-type", "application/json")
            .header(
                "brokerproperties",
                r#"{"MessageId": "m1", "CorrelationId": "c1", "Label": "gr\u00fc\u00dfe \ud83d\ude00", "PartitionKey": "p"}"#,
            )
            .header("priority", "\"high\"")
            .header("customer", "12")
            .header("urgent", "true")
            .body("{\"a\": \"ü\"}"),
    )
    .await;
    assert_eq!((sent.status, sent.body.as_str()), (StatusCode::CREATED, ""));

    let received = namespace.peek_lock().await;
    assert_eq!(received.status, StatusCode::CREATED);
    assert_eq!(received.body, "{\"a\": \"ü\"}");
    assert_eq!(received.header("content-type"), "application/json");
    let properties = received.broker_properties();
    for (name, value) in [
        ("MessageId", json!("m1")),
        ("CorrelationId", json!("c1")),
        ("Label", json!("grüße 😀")),
        ("DeliveryCount", json!(1)),
        ("SequenceNumber", json!(1)),
        ("EnqueuedTimeUtc", json!("Mon, 23 Nov 2026 19:00:00 GMT")),
        ("LockedUntilUtc", json!("Mon, 23 Nov 2026 19:01:00 GMT")),
        ("State", json!("Active")),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    assert_eq!(
        (received.header("priority"), received.header("customer"), received.header("urgent")),
        ("\"high\"", "12", "true")
    );
    let token = properties["LockToken"].as_str().unwrap();
    assert_eq!(namespace.location(&received), format!("q/messages/1/{token}"));
}

#[tokio::test]
async fn a_batch_arrives_in_order_with_its_properties() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let batch = json!([
        {"Body": "one", "BrokerProperties": {"MessageId": "m1", "ContentType": "text/plain"},
         "UserProperties": {"job_id": "j", "attempt": 2, "last": false, "Content-Length": 7}},
        {"Body": "two"},
    ]);
    assert_eq!(namespace.send_batch(&batch).await.status, StatusCode::CREATED);
    let first = namespace.peek_lock().await;
    assert_eq!((first.body.as_str(), first.header("content-type")), ("one", "text/plain"));
    assert_eq!(
        (first.header("job_id"), first.header("attempt"), first.header("last")),
        ("\"j\"", "2", "false")
    );
    let second = namespace.peek_lock().await;
    assert_eq!(second.body, "two");
    assert_ne!(second.broker_properties()["MessageId"], "", "a message without an id gets one");
}

#[tokio::test]
async fn only_the_exact_content_type_makes_a_batch() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let request = namespace
        .request(Method::POST, "q/messages")
        .header("content-type", format!("{BATCH}; charset=utf-8"));
    assert_eq!(answer(request.body(batch(1..=2).to_string())).await.status, StatusCode::CREATED);
    assert_eq!(namespace.counts().active, 1);
    assert_eq!(namespace.peek_lock().await.body, batch(1..=2).to_string());
}

#[tokio::test]
async fn completing_a_message_removes_it_and_its_lock() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({})).await;
    let location = namespace.location(&namespace.peek_lock().await);
    assert_eq!(
        namespace.peek_lock().await.status,
        StatusCode::NO_CONTENT,
        "a locked message is hidden"
    );
    assert_eq!(namespace.call(Method::DELETE, &location).await.status, StatusCode::OK);
    assert_eq!(namespace.counts(), ServiceBusCounts::default());
    for method in [Method::DELETE, Method::PUT, Method::POST] {
        let lost = namespace.call(method, &location).await;
        assert_eq!(lost.status, StatusCode::NOT_FOUND);
        assert!(lost.body.contains("<Code>404</Code>"), "{}", lost.body);
    }
}

#[tokio::test]
async fn a_message_can_be_settled_by_its_id() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({"MessageId": "job/1"})).await;
    let properties = namespace.peek_lock().await.broker_properties();
    let path = format!("q/messages/job%2F1/{}", properties["LockToken"].as_str().unwrap());
    assert_eq!(namespace.call(Method::DELETE, &path).await.status, StatusCode::OK);
    assert_eq!(namespace.counts().active, 0);
}

#[tokio::test]
async fn an_unlocked_message_is_redelivered() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({})).await;
    let location = namespace.location(&namespace.peek_lock().await);
    assert_eq!(namespace.call(Method::PUT, &location).await.status, StatusCode::OK);
    assert_eq!(namespace.peek_lock().await.broker_properties()["DeliveryCount"], 2);
}

#[tokio::test]
async fn a_lock_can_be_renewed_until_it_expires() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({})).await;
    let location = namespace.location(&namespace.peek_lock().await);
    namespace.clock.advance(Duration::from_secs(50));
    assert_eq!(namespace.call(Method::POST, &location).await.status, StatusCode::OK);
    namespace.clock.advance(Duration::from_secs(50));
    assert_eq!(namespace.peek_lock().await.status, StatusCode::NO_CONTENT);
    namespace.clock.advance(Duration::from_secs(11));
    assert_eq!(namespace.peek_lock().await.broker_properties()["DeliveryCount"], 2);
    assert_eq!(namespace.call(Method::DELETE, &location).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn receive_and_delete_removes_the_message() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({})).await;
    let received = namespace.call(Method::DELETE, "q/messages/head?timeout=0").await;
    assert_eq!((received.status, received.body.as_str()), (StatusCode::OK, "x"));
    assert_eq!(received.broker_properties()["LockToken"], Value::Null);
    assert_eq!(namespace.counts(), ServiceBusCounts::default());
    let empty = namespace.call(Method::DELETE, "q/messages/head?timeout=0").await;
    assert_eq!(empty.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_receiver_waits_for_the_next_message() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let began = Instant::now();
    let (received, ()) =
        tokio::join!(namespace.call(Method::POST, "q/messages/head?timeout=30"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            namespace.send("x", json!({})).await;
        });
    assert_eq!(received.status, StatusCode::CREATED);
    assert!(began.elapsed() < Duration::from_secs(25), "it waited for the end of its time");
}

#[tokio::test]
async fn abandoned_messages_are_dead_lettered() {
    let namespace =
        Namespace::start(QueueOptions { max_delivery_count: 2, ..QueueOptions::default() }).await;
    namespace.send("bad", json!({"MessageId": "m1"})).await;
    for _ in 0..2 {
        let location = namespace.location(&namespace.peek_lock().await);
        namespace.call(Method::PUT, &location).await;
    }
    assert_eq!(namespace.peek_lock().await.status, StatusCode::NO_CONTENT);
    let dead = namespace.call(Method::POST, "q/$DeadLetterQueue/messages/head?timeout=0").await;
    assert_eq!((dead.status, dead.body.as_str()), (StatusCode::CREATED, "bad"));
    assert_eq!(dead.broker_properties()["MessageId"], "m1");
    assert_eq!(dead.header("deadletterreason"), "\"MaxDeliveryCountExceeded\"");
    let location = namespace.location(&dead);
    assert_eq!(namespace.call(Method::DELETE, &location).await.status, StatusCode::OK);
    assert_eq!(namespace.counts(), ServiceBusCounts::default());
}

#[tokio::test]
async fn schedules_and_time_to_live_are_respected() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let later = json!({"ScheduledEnqueueTimeUtc": "Mon, 23 Nov 2026 19:05:00 GMT"});
    assert_eq!(namespace.send("later", later).await.status, StatusCode::CREATED);
    namespace.send("one minute", json!({"TimeToLive": 60})).await;
    let entry =
        json!([{"Body": "two minutes", "BrokerProperties": {"TimeToLiveTimeSpan": "00:02:00"}}]);
    namespace.send_batch(&entry).await;
    assert_eq!((namespace.counts().active, namespace.counts().scheduled), (2, 1));
    namespace.clock.advance(Duration::from_secs(61));
    assert_eq!(namespace.peek_lock().await.body, "two minutes");
    assert_eq!(namespace.peek_lock().await.status, StatusCode::NO_CONTENT);
    namespace.clock.advance(Duration::from_secs(240));
    let bodies = [namespace.peek_lock().await.body, namespace.peek_lock().await.body];
    assert!(bodies.contains(&"later".to_owned()), "{bodies:?}");
}

#[tokio::test]
async fn a_duplicate_is_accepted_and_discarded() {
    let namespace = Namespace::start(QueueOptions {
        duplicate_detection: Some(Duration::from_secs(600)),
        ..QueueOptions::default()
    })
    .await;
    assert_eq!(namespace.send_batch(&batch([1, 2, 1])).await.status, StatusCode::CREATED);
    assert_eq!(namespace.send_batch(&batch([2, 3])).await.status, StatusCode::CREATED);
    assert_eq!(namespace.counts().active, 3);
}

#[tokio::test]
async fn the_queue_description_counts_messages() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send_batch(&batch(0..5)).await;
    let later = json!({"ScheduledEnqueueTimeUtc": "Mon, 23 Nov 2026 19:05:00 GMT"});
    namespace.send("later", later).await;
    let lock = namespace.bus.receive("q", 1).unwrap().remove(0).lock_token;
    namespace.bus.dead_letter("q", &lock, "Unreadable", "not JSON").unwrap();
    let described = namespace.call(Method::GET, "q?api-version=2021-05").await;
    assert_eq!(described.status, StatusCode::OK);
    for element in [
        "MessageCount>6<",
        "ActiveMessageCount>4<",
        "DeadLetterMessageCount>1<",
        "ScheduledMessageCount>1<",
    ] {
        assert!(described.body.contains(element), "{element} in {}", described.body);
    }
}

#[tokio::test]
async fn only_signatures_by_the_key_are_accepted() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    for resource in ["http://127.0.0.1/q", "https://other.example/", "sb://x/q"] {
        let good = token(resource, KEY_NAME, KEY, in_an_hour());
        let request = namespace.request(Method::GET, "q").header("authorization", "");
        let request = request.headers(
            [("authorization".parse().unwrap(), good.parse().unwrap())].into_iter().collect(),
        );
        assert_eq!(answer(request).await.status, StatusCode::OK, "{resource}");
    }
    let url = format!("http://{}/q/messages", namespace.endpoint.address());
    let no_token = answer(namespace.client.post(&url).body("x")).await;
    assert_eq!(no_token.status, StatusCode::UNAUTHORIZED);
    let right = token("sb://x/q", KEY_NAME, KEY, in_an_hour());
    for wrong in [
        token("sb://x/q", KEY_NAME, "another key", in_an_hour()),
        token("sb://x/q", "AnotherName", KEY, in_an_hour()),
        token("sb://x/q", KEY_NAME, KEY, in_an_hour() - 7200),
        right.replace("sr=sb", "sr=http"),
        right.replace("&se=", "&se=9"),
        right.replace("sig=", "sig=%"),
        "SharedAccessSignature".to_owned(),
        "SharedAccessSignature sr&sig&se&skn".to_owned(),
        "Bearer abc".to_owned(),
    ] {
        let refused =
            answer(namespace.client.post(&url).header("authorization", &wrong).body("x")).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(!refused.body.contains(KEY));
    }
    assert_eq!(namespace.counts().active, 0);
}

#[tokio::test]
async fn invalid_requests_store_nothing() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    for properties in [
        json!({"ScheduledEnqueueTimeUtc": "tomorrow"}),
        json!({"TimeToLive": -1}),
        json!({"TimeToLive": 1e300}),
        json!({"TimeToLiveTimeSpan": "99999999999999.00:00:00"}),
        json!({"TimeToLiveTimeSpan": "soon"}),
        json!({"MessageId": "x".repeat(129)}),
        json!(["not", "an", "object"]),
    ] {
        let refused = namespace.send("x", properties.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{properties}");
    }
    for batch in
        [json!({"Body": "x"}), json!([{"Body": "good"}, {"Text": "bad"}]), json!([{"Body": 1}])]
    {
        assert_eq!(namespace.send_batch(&batch).await.status, StatusCode::BAD_REQUEST, "{batch}");
    }
    let not_text = namespace.request(Method::POST, "q/messages").body(vec![0xff, 0xfe]);
    assert_eq!(answer(not_text).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        namespace.call(Method::POST, "q/messages/head?timeout=soon").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(namespace.counts(), ServiceBusCounts::default());
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused_as_a_whole() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let large = json!([{"Body": "x".repeat(200 * 1024)}, {"Body": "y".repeat(100 * 1024)}]);
    assert_eq!(namespace.send_batch(&large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(namespace.counts().active, 0);
    let huge = namespace.request(Method::POST, "q/messages").body(vec![b'x'; 3 * 1024 * 1024]);
    assert_eq!(answer(huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let fits = namespace.send(&"x".repeat(250 * 1024), json!({})).await;
    assert_eq!(fits.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_missing_queue_is_answered_with_410() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    for (method, path) in [
        (Method::POST, "nowhere/messages"),
        (Method::POST, "nowhere/messages/head?timeout=0"),
        (Method::DELETE, "nowhere/messages/head?timeout=0"),
        (Method::POST, "q/$DeadLetterQueue/messages"),
    ] {
        assert_eq!(namespace.call(method, path).await.status, StatusCode::GONE, "{path}");
    }
    // The management API of the real service answers with success and an empty list.
    let description = namespace.call(Method::GET, "nowhere?api-version=2021-05").await;
    assert_eq!(description.status, StatusCode::OK);
    assert!(description.body.starts_with("<feed"), "{}", description.body);
    assert_eq!(
        namespace.call(Method::GET, "q/messages/head").await.status,
        StatusCode::NOT_FOUND,
        "REST cannot browse"
    );
}

#[tokio::test]
async fn queue_names_are_case_insensitive() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.send("x", json!({})).await;
    let received = namespace.call(Method::POST, "Q/messages/head?timeout=0").await;
    assert_eq!(received.status, StatusCode::CREATED);
    let dead = namespace.call(Method::POST, "q/$deadletterqueue/messages/head?timeout=0").await;
    assert_eq!(dead.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_namespace_out_of_credits_throttles_clients() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.faults.set(FaultPlan { credits_per_second: Some(10), ..FaultPlan::default() });
    assert_eq!(namespace.send_batch(&batch(0..10)).await.status, StatusCode::CREATED);
    assert_eq!(namespace.send_batch(&batch(0..10)).await.status, StatusCode::TOO_MANY_REQUESTS);
    namespace.faults.set(FaultPlan { credits_per_second: Some(1), ..FaultPlan::default() });
    assert_eq!(namespace.peek_lock().await.status, StatusCode::CREATED);
    assert_eq!(namespace.peek_lock().await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(namespace.counts().active, 10);
}

#[tokio::test]
async fn a_lost_answer_still_stores_the_message() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let plan = FaultPlan { lost_answers: 1.0, ..FaultPlan::default() };
    namespace.faults.set(plan);
    assert_eq!(namespace.send("a", json!({})).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    namespace.faults.set(FaultPlan { lost_answer: LostAnswer::ClosedConnection, ..plan });
    let error = namespace.request(Method::POST, "q/messages").body("b").send().await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    assert_eq!(namespace.counts().active, 2);
    namespace.faults.set(FaultPlan::default());
    assert_eq!(namespace.send("c", json!({})).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn injected_faults_repeat_with_their_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let namespace = Namespace::start(QueueOptions::default()).await;
        namespace.faults.set(FaultPlan {
            throttled: 0.3,
            unavailable: 0.3,
            ..FaultPlan::default()
        });
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(namespace.send("x", json!({})).await.status.as_u16());
        }
        let stored = statuses.iter().filter(|status| **status == 201).count();
        assert_eq!(namespace.counts().active, stored);
        assert!(statuses.contains(&429) && statuses.contains(&503) && stored > 0);
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn faults_drop_duplicate_or_delay_messages() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let stored = async |plan: FaultPlan| {
        namespace.faults.set(plan);
        let before = namespace.counts();
        let answer = namespace.send_batch(&batch(0..100)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "the sender is told nothing");
        let after = namespace.counts();
        (after.active - before.active, after.scheduled - before.scheduled)
    };
    let vanished = FaultPlan { dropped: 1.0, ..FaultPlan::default() };
    assert_eq!(stored(vanished).await, (0, 0));
    let doubled = FaultPlan { doubled: 1.0, copies: 5, ..FaultPlan::default() };
    let (active, scheduled) = stored(doubled).await;
    assert!((200..=500).contains(&active) && scheduled == 0, "{active}");
    let late = FaultPlan { late: 1.0, late_by: Duration::from_secs(600), ..FaultPlan::default() };
    let (active, scheduled) = stored(late).await;
    assert_eq!(active + scheduled, 100);
    assert!(scheduled >= 95, "{scheduled} of 100 come later than now");
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_its_number() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let port = namespace.endpoint.address().port();
    let error = Endpoint::start("Service Bus", port, axum::Router::new()).await.unwrap_err();
    assert_eq!(error.error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn running_requests_are_answered_before_a_stop() {
    let Namespace { bus, client, token, faults, .. } =
        Namespace::start(QueueOptions::default()).await;
    let access = ServiceBusAccess { key_name: KEY_NAME.to_owned(), key: KEY.to_owned() };
    let arrived = Arc::new(Notify::new());
    let arrives = Arc::clone(&arrived);
    let router = router(bus.clone(), access, faults).layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            arrives.notify_one();
            next.run(request)
        },
    ));
    let endpoint = Endpoint::start("Service Bus", 0, router).await.unwrap();
    let address = endpoint.address();
    let url = format!("http://{address}/q/messages/head?timeout=30");
    let receiver = tokio::spawn(client.post(url).header("authorization", token).send());
    arrived.notified().await;
    let stopping = tokio::spawn(endpoint.shutdown(LIMIT));
    until_refused(address).await;
    bus.send("q", vec![Default::default()]).unwrap();
    assert_eq!(receiver.await.unwrap().unwrap().status(), StatusCode::CREATED);
    stopping.await.unwrap();
    assert!(tokio::net::TcpListener::bind(address).await.is_ok(), "the port is free again");
}
