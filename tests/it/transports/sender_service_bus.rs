//! Sending to Service Bus over its real protocol: batches, retries, throttling, lost answers, clear
//! errors.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use lastlight_engine::{
    config::{Env, ServiceBusSettings},
    model::TraceParent,
    transport::{
        sender::{MessageSender, OutgoingMessage, QueueRole, SendError},
        service_bus::{ServiceBusRepository, create_service_bus_repository},
    },
};
use lastlight_local::broker::{
    Clock, Endpoint, FaultPlan, Faults, ServiceBus,
    service_bus::{QueueOptions, ServiceBusAccess, router},
};

use crate::harness::until_refused;

struct Namespace {
    bus: ServiceBus,
    faults: Faults,
    endpoint: Endpoint,
}

impl Namespace {
    async fn start(options: QueueOptions) -> Self {
        Self::with(ServiceBus::new(), options).await
    }

    async fn with(bus: ServiceBus, options: QueueOptions) -> Self {
        let faults = Faults::with_seed(7);
        bus.create_queue("sb-tasks", options);
        let access = ServiceBusAccess { key_name: "Root".to_owned(), key: "s3cr3t+/=".to_owned() };
        let endpoint =
            Endpoint::start("Service Bus", 0, router(bus.clone(), access, faults.clone()))
                .await
                .unwrap();
        Self { bus, faults, endpoint }
    }

    fn sender(&self, key: &str, more: &[(&str, &str)]) -> Arc<ServiceBusRepository> {
        let connection = format!(
            "Endpoint=sb://{};SharedAccessKeyName=Root;SharedAccessKey={key};UseDevelopmentEmulator=true",
            self.endpoint.address()
        );
        let mut env = Env::from_pairs(
            [("SERVICE_BUS_CONNECTION_STRING", connection.as_str())].iter().chain(more).copied(),
        );
        let settings = ServiceBusSettings::from_env(&mut env).unwrap();
        env.finish().unwrap();
        create_service_bus_repository(settings).unwrap()
    }

    fn received(&self) -> Vec<lastlight_local::broker::service_bus::LockedMessage> {
        self.bus.receive("sb-tasks", usize::MAX).unwrap()
    }
}

const KEY: &str = "s3cr3t+/=";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn messages(count: usize) -> Vec<OutgoingMessage> {
    (0..count)
        .map(|number| OutgoingMessage {
            message_id: format!("m-{number}"),
            correlation_id: "the-job".to_owned(),
            body: format!("{{\"number\":{number},\"text\":\"ü\\\"\"}}"),
            delay: None,
            trace: TraceParent::read(TRACE),
        })
        .collect()
}

#[tokio::test]
async fn a_hundred_messages_are_sent_in_one_request() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let report =
        namespace.sender(KEY, &[]).batch_send_messages(QueueRole::Tasks, &messages(250)).await;
    assert!(report.success, "{:?}", report.errors);
    assert_eq!((report.messages_sent, report.batch_count), (250, 3));
    let received = namespace.received();
    assert_eq!(received.len(), 250);
    let first = received.iter().find(|message| message.message_id == "m-0").unwrap();
    assert_eq!(first.body, messages(1)[0].body);
    assert_eq!(first.correlation_id.as_deref(), Some("the-job"));
    assert_eq!(first.content_type.as_deref(), Some("application/json"));
    assert_eq!(first.application_properties["job_id"], "the-job");
    assert_eq!(first.application_properties["traceparent"], TRACE);
}

#[tokio::test]
async fn a_delayed_message_arrives_later() {
    let clock = Clock::manual(time::OffsetDateTime::now_utc());
    let bus = ServiceBus::with_clock(clock.clone());
    let namespace = Namespace::with(bus, QueueOptions::default()).await;
    let mut delayed = messages(1);
    delayed[0].delay = Some(Duration::from_secs(600));
    assert!(
        namespace.sender(KEY, &[]).batch_send_messages(QueueRole::Tasks, &delayed).await.success
    );
    assert_eq!(namespace.bus.counts("sb-tasks").unwrap().scheduled, 1);
    assert!(namespace.received().is_empty());
    // The sender's clock may be minutes ahead by now, but not hours.
    clock.advance(Duration::from_secs(3600));
    assert_eq!(namespace.received().len(), 1);
}

#[tokio::test]
async fn all_messages_arrive_despite_throttling() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.faults.set(FaultPlan { throttled: 0.1, unavailable: 0.05, ..FaultPlan::default() });
    let report =
        namespace.sender(KEY, &[]).batch_send_messages(QueueRole::Tasks, &messages(2000)).await;
    assert!(report.success, "{:?}", report.errors);
    let ids: HashSet<String> =
        namespace.received().into_iter().map(|message| message.message_id).collect();
    assert_eq!(ids.len(), 2000);
}

#[tokio::test]
async fn a_lost_answer_repeats_the_same_message_ids() {
    let faults = FaultPlan { lost_answers: 0.4, ..FaultPlan::default() };
    let plain = Namespace::start(QueueOptions::default()).await;
    plain.faults.set(faults);
    let more = [("SERVICE_BUS_RETRY_COUNT", "10")];
    assert!(
        plain
            .sender(KEY, &more)
            .batch_send_messages(QueueRole::Tasks, &messages(1000))
            .await
            .success
    );
    let received = plain.received();
    let ids: HashSet<&str> = received.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(received.len() > 1000, "no answer was lost");

    let window = Some(Duration::from_secs(600));
    let detecting =
        Namespace::start(QueueOptions { duplicate_detection: window, ..QueueOptions::default() })
            .await;
    detecting.faults.set(faults);
    assert!(
        detecting
            .sender(KEY, &more)
            .batch_send_messages(QueueRole::Tasks, &messages(1000))
            .await
            .success
    );
    assert_eq!(detecting.received().len(), 1000);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let namespace =
        Namespace::start(QueueOptions { max_message_bytes: 2000, ..QueueOptions::default() }).await;
    let report =
        namespace.sender(KEY, &[]).batch_send_messages(QueueRole::Tasks, &messages(100)).await;
    assert!(report.success, "{:?}", report.errors);
    assert_eq!(namespace.received().len(), 100);
}

#[tokio::test]
async fn the_pace_avoids_throttling_by_the_service() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    namespace.faults.set(FaultPlan { credits_per_second: Some(2000), ..FaultPlan::default() });
    let sender = namespace.sender(KEY, &[("SERVICE_BUS_CREDITS_PER_SECOND", "1900")]);
    let began = Instant::now();
    let report = sender.batch_send_messages(QueueRole::Tasks, &messages(4000)).await;
    assert!(report.success, "{:?}", report.errors);
    assert!(
        began.elapsed() > Duration::from_millis(1900),
        "faster than the pace: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn permanent_errors_are_reported_without_retries() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let report = namespace
        .sender("wrong-key", &[])
        .batch_send_messages(QueueRole::Tasks, &messages(1))
        .await;
    assert!(
        matches!(&report.errors[..], [SendError::Unauthorized { queue, .. }] if queue == "sb-tasks"),
        "{:?}",
        report.errors
    );
    let elsewhere = namespace.sender(KEY, &[("SERVICE_BUS_TASK_QUEUE", "nowhere")]);
    let report = elsewhere.batch_send_messages(QueueRole::Tasks, &messages(1)).await;
    assert!(
        matches!(&report.errors[..], [SendError::QueueNotFound { queue }] if queue == "nowhere"),
        "{:?}",
        report.errors
    );
    assert!(matches!(
        elsewhere.probe(QueueRole::Tasks).await,
        Err(SendError::QueueNotFound { .. })
    ));
    let sender = namespace.sender(KEY, &[]);
    assert!(sender.probe(QueueRole::Tasks).await.is_ok());
    for shown in [format!("{sender:?}"), format!("{:?}", report.errors)] {
        assert!(!shown.contains("s3cr3t") && !shown.contains("sig="), "{shown}");
    }
}

#[tokio::test]
async fn a_service_that_is_down_is_unavailable() {
    let namespace = Namespace::start(QueueOptions::default()).await;
    let sender = namespace.sender(KEY, &[]);
    namespace.endpoint.stop();
    until_refused(namespace.endpoint.address()).await;
    let report = sender.batch_send_messages(QueueRole::Tasks, &messages(1)).await;
    assert!(matches!(&report.errors[..], [SendError::Unavailable { .. }]), "{:?}", report.errors);
    assert!(report.errors[0].is_transient());
}
