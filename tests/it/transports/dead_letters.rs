//! Reading dead-letter queues: Storage Queues against Azurite and against the local endpoint, which
//! must behave the same, and Service Bus against the local endpoint.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use lastlight_engine::{
    config::{DEVELOPMENT_KEY, Env, ServiceBusSettings},
    transport::{
        dead_letters::{DeadLetterQueues, Settled, take},
        sender::{MessageSender, QueueRole, SendError},
        service_bus::{ServiceBusRepository, create_service_bus_repository},
        storage_queue::StorageQueueRepository,
    },
};
use lastlight_local::broker::{
    Endpoint, Faults, ServiceBus,
    service_bus::{self, NewMessage, QueueOptions, ServiceBusAccess},
};
use time::OffsetDateTime;

use super::{local_storage, messages, repository};
use crate::{
    harness::{service, until_refused},
    local::storage_queue_conformance::Raw,
};

/// A repository with its own queues: `<name>`, and `<name>-poison` for its tasks.
fn storage(endpoint: &str, key: &str, name: &str) -> Arc<StorageQueueRepository> {
    let review = format!("{name}-review");
    repository(endpoint, key, &[("TASK_PROCESSING_QUEUE", name), ("POISON_QUEUE", &review)])
}

async fn storage_shows_takes_and_gives_back(endpoint: &str) {
    let name = format!("q{}", uuid::Uuid::new_v4().simple());
    let queues = storage(endpoint, DEVELOPMENT_KEY, &name);
    let role = QueueRole::Tasks;
    assert_eq!(queues.dead_letter_name(role), format!("{name}-poison"));
    // The host creates the queue when it needs it; until then the queue is empty.
    assert_eq!(queues.count(role).await, Ok(0));
    assert_eq!(queues.peek(role, 32).await, Ok(Vec::new()));
    assert!(queues.take_some(role, 32).await.unwrap().is_empty());

    // The host puts poison messages there; one of them is not even base64.
    let host = storage(endpoint, DEVELOPMENT_KEY, &format!("{name}-poison"));
    assert!(host.batch_send_messages(role, &messages(40)).await.success);
    let raw = Raw::new(endpoint);
    raw.put_text(&format!("{name}-poison"), "not base64 <&>").await;
    assert_eq!(queues.count(role).await, Ok(41));
    let seen = queues.peek(role, 32).await.unwrap();
    assert_eq!(seen.len(), 32);
    assert!(seen.iter().all(|message| message.delivery_count == 0 && !message.id.is_empty()));
    let age = OffsetDateTime::now_utc() - seen[0].enqueued.unwrap();
    assert!(age < time::Duration::minutes(1), "{age}");

    // A message after the first page is found, and the others stay where they were.
    let mut last = None;
    while let Some(taken) = queues.take_some(role, 32).await.unwrap().pop() {
        last = Some(taken);
    }
    let last = last.unwrap();
    assert_eq!(queues.count(role).await, Ok(41), "what is taken counts");
    assert_eq!(queues.peek(role, 32).await, Ok(Vec::new()), "and is not shown");
    assert_eq!(queues.release(role, &last).await, Ok(Settled::Done));
    assert_eq!(
        queues.release(role, &last).await,
        Ok(Settled::LockLost),
        "it has another receipt now"
    );
    let found = take(&*queues, role, &last.message.id).await.unwrap().unwrap();
    assert_eq!((&found.message.body, found.message.delivery_count), (&last.message.body, 2));
    assert!(take(&*queues, role, &last.message.id).await.unwrap().is_none(), "it is taken");
    assert_eq!(queues.complete(role, &found).await, Ok(Settled::Done));
    assert_eq!(queues.complete(role, &found).await, Ok(Settled::LockLost));
    assert_eq!(queues.count(role).await, Ok(40));

    let other = storage(endpoint, DEVELOPMENT_KEY, &format!("{name}-2"));
    other.ensure_queues().await.unwrap();
    assert!(other.batch_send_messages(QueueRole::Poison, &messages(70)).await.success);
    let review = QueueRole::Poison;
    let everything = other.peek(review, 32).await.unwrap();
    let wanted = everything.last().unwrap();
    let found = take(&*other, review, &wanted.id).await.unwrap().unwrap();
    assert_eq!(found.message.body, wanted.body);
    assert_eq!(other.release(review, &found).await, Ok(Settled::Done));
    assert!(take(&*other, review, "nobody").await.unwrap().is_none());
    assert_eq!(other.peek(review, 32).await.unwrap().len(), 32, "all were released");
    let texts: Vec<String> = messages(70).into_iter().map(|message| message.body).collect();
    assert!(everything.iter().all(|message| texts.contains(&message.body)));

    let raw_queue = storage(endpoint, DEVELOPMENT_KEY, &format!("{name}-3"));
    raw_queue.ensure_queues().await.unwrap();
    raw.put_text(&format!("{name}-3-review"), "not base64 <&>").await;
    raw.put_text(&format!("{name}-3-review"), &BASE64_STANDARD.encode([0xff, 0xfe])).await;
    let shown: Vec<String> =
        raw_queue.peek(review, 32).await.unwrap().into_iter().map(|message| message.body).collect();
    assert_eq!(shown, ["not base64 <&>", "//4="], "what is not text in base64 is shown as it is");

    let wrong = storage(endpoint, "bm90IHRoZSBrZXk=", &name);
    for refused in [
        wrong.count(role).await.unwrap_err(),
        wrong.peek(role, 1).await.unwrap_err(),
        wrong.complete(role, &last).await.unwrap_err(),
    ] {
        assert!(matches!(&refused, SendError::Unauthorized { .. }), "{refused:?}");
        assert!(!format!("{refused:?}").contains("sig="));
    }
}

#[tokio::test]
async fn dead_letters_of_azurite_are_read() {
    storage_shows_takes_and_gives_back(&service("AZURITE_QUEUE_ENDPOINT")).await;
}

#[tokio::test]
async fn dead_letters_of_the_local_endpoint_are_read() {
    let (_endpoint, url) = local_storage().await;
    storage_shows_takes_and_gives_back(&url).await;
}

struct Namespace {
    bus: ServiceBus,
    endpoint: Endpoint,
}

const KEY: &str = "s3cr3t+/=";

impl Namespace {
    async fn start() -> Self {
        let bus = ServiceBus::new();
        for queue in ["sb-jobs", "sb-tasks", "sb-poison"] {
            let window = Some(Duration::from_secs(600));
            bus.create_queue(
                queue,
                QueueOptions {
                    max_delivery_count: 10,
                    duplicate_detection: window,
                    ..QueueOptions::default()
                },
            );
        }
        let access = ServiceBusAccess { key_name: "Root".to_owned(), key: KEY.to_owned() };
        let router = service_bus::router(bus.clone(), access, Faults::default());
        let endpoint = Endpoint::start("Service Bus", 0, router).await.unwrap();
        Self { bus, endpoint }
    }

    fn queues(&self, key: &str, more: &[(&str, &str)]) -> Arc<ServiceBusRepository> {
        let connection = format!(
            "Endpoint=sb://{};SharedAccessKeyName=Root;SharedAccessKey={key};UseDevelopmentEmulator=true",
            self.endpoint.address()
        );
        let pairs = [("SERVICE_BUS_CONNECTION_STRING", connection.as_str())];
        let mut env = Env::from_pairs(pairs.iter().chain(more).copied());
        let settings = ServiceBusSettings::from_env(&mut env).unwrap();
        env.finish().unwrap();
        create_service_bus_repository(settings).unwrap()
    }

    /// Sends messages and abandons them until the queue dead-letters them.
    fn bury(&self, queue: &str, count: usize) {
        let messages = (0..count).map(|number| {
            NewMessage::new(format!("body ü {number}")).with_id(format!("m-{number}"))
        });
        self.bus.send(queue, messages.collect()).unwrap();
        for _ in 0..10 {
            for message in self.bus.receive(queue, usize::MAX).unwrap() {
                self.bus.abandon(queue, &message.lock_token).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn dead_letters_of_service_bus_are_read() {
    let namespace = Namespace::start().await;
    let queues = namespace.queues(KEY, &[]);
    let role = QueueRole::Tasks;
    assert_eq!(queues.dead_letter_name(role), "sb-tasks/$DeadLetterQueue");
    namespace.bury("sb-tasks", 5);
    namespace.bus.send("sb-tasks", vec![NewMessage::new("alive")]).unwrap();
    assert_eq!(queues.count(role).await, Ok(5));
    assert_eq!(queues.count(QueueRole::Jobs).await, Ok(0));

    let seen = queues.peek(role, 3).await.unwrap();
    let first: Vec<(&str, &str, u32)> = seen
        .iter()
        .map(|message| (message.id.as_str(), message.body.as_str(), message.delivery_count))
        .collect();
    assert_eq!(first, [("m-0", "body ü 0", 11), ("m-1", "body ü 1", 11), ("m-2", "body ü 2", 11)]);
    assert!(
        seen.iter().all(|message| message.reason.as_deref() == Some("MaxDeliveryCountExceeded"))
    );
    let age = OffsetDateTime::now_utc() - seen[0].enqueued.unwrap();
    assert!(age < time::Duration::minutes(1), "{age}");
    // Reading does not remove them, however often it happens.
    for round in 2..=15 {
        assert_eq!(queues.peek(role, 1).await.unwrap()[0].delivery_count, 10 + round);
    }
    assert_eq!(queues.peek(role, 32).await.unwrap().len(), 5);

    let taken = take(&*queues, role, "m-3").await.unwrap().unwrap();
    assert_eq!(taken.message.body, "body ü 3");
    assert!(take(&*queues, role, "m-3").await.unwrap().is_none(), "it is taken");
    assert_eq!(queues.complete(role, &taken).await, Ok(Settled::Done));
    assert_eq!(queues.complete(role, &taken).await, Ok(Settled::LockLost));
    assert_eq!(queues.release(role, &taken).await, Ok(Settled::LockLost));
    assert_eq!(queues.count(role).await, Ok(4));
    assert_eq!(namespace.bus.counts("sb-tasks").unwrap().active, 1);
}

#[tokio::test]
async fn reading_the_review_queue_dead_letters_nothing() {
    let namespace = Namespace::start().await;
    let queues = namespace.queues(KEY, &[]);
    let role = QueueRole::Poison;
    assert_eq!(queues.dead_letter_name(role), "sb-poison");
    assert!(queues.batch_send_messages(role, &messages(2)).await.success);
    assert_eq!(queues.count(role).await, Ok(2));
    for _ in 0..25 {
        let mut seen: Vec<String> =
            queues.peek(role, 2).await.unwrap().into_iter().map(|message| message.body).collect();
        seen.sort();
        assert_eq!(seen, [messages(2)[0].body.clone(), messages(2)[1].body.clone()]);
    }
    let counts = namespace.bus.counts("sb-poison").unwrap();
    assert_eq!((counts.active, counts.dead_letter), (2, 0));
    // The id that was shown is the id of the message.
    let shown = queues.peek(role, 1).await.unwrap().remove(0);
    let taken = take(&*queues, role, &shown.id).await.unwrap().unwrap();
    assert_eq!(taken.message.body, shown.body);
}

#[tokio::test]
async fn a_refusing_or_absent_namespace_is_reported() {
    let namespace = Namespace::start().await;
    let wrong = namespace.queues("wrong", &[]);
    for refused in [
        wrong.count(QueueRole::Tasks).await.unwrap_err(),
        wrong.peek(QueueRole::Tasks, 1).await.unwrap_err(),
    ] {
        assert!(matches!(&refused, SendError::Unauthorized { .. }), "{refused:?}");
    }
    let elsewhere = namespace.queues(KEY, &[("SERVICE_BUS_TASK_QUEUE", "nowhere")]);
    for missing in [
        elsewhere.count(QueueRole::Tasks).await.unwrap_err(),
        elsewhere.peek(QueueRole::Tasks, 1).await.unwrap_err(),
    ] {
        assert!(matches!(&missing, SendError::QueueNotFound { .. }), "{missing:?}");
    }
    let queues = namespace.queues(KEY, &[]);
    namespace.endpoint.stop();
    until_refused(namespace.endpoint.address()).await;
    let away = queues.count(QueueRole::Tasks).await.unwrap_err();
    assert!(matches!(&away, SendError::Unavailable { .. }), "{away:?}");
}
