//! Sending to Storage Queues: against Azurite and against the local endpoint, which must behave the
//! same.

use std::{sync::Arc, time::Duration};

use lastlight_engine::{
    config::DEVELOPMENT_KEY,
    transport::{
        sender::{MessageSender, OutgoingMessage, QueueRole, SendError},
        storage_queue::StorageQueueRepository,
    },
};

use super::{local_storage, messages, repository};
use crate::{
    harness::{service, until_refused},
    local::storage_queue_conformance::Raw,
};

fn sender(endpoint: &str, key: &str, queue: &str) -> Arc<StorageQueueRepository> {
    repository(endpoint, key, &[("TASK_PROCESSING_QUEUE", queue)])
}

async fn sends_what_it_should(endpoint: &str) {
    let queue = format!("q{}", uuid::Uuid::new_v4().simple());
    let sender = sender(endpoint, DEVELOPMENT_KEY, &queue);
    assert!(matches!(sender.probe(QueueRole::Tasks).await, Err(SendError::QueueNotFound { .. })));
    sender.ensure_queues().await.unwrap();
    sender.ensure_queues().await.unwrap();
    sender.probe(QueueRole::Tasks).await.unwrap();
    let report = sender.batch_send_messages(QueueRole::Tasks, &messages(300)).await;
    assert!(report.success, "{:?}", report.errors);
    assert_eq!(report.messages_sent, 300);
    let mut delayed = messages(1);
    delayed[0].delay = Some(Duration::from_secs(600));
    assert!(sender.batch_send_messages(QueueRole::Tasks, &delayed).await.success);
    let raw = Raw::new(endpoint);
    assert_eq!(raw.count(&queue).await, 301);
    let texts = raw.receive_texts(&queue).await;
    assert_eq!(texts.len(), 300, "the delayed one is not visible");
    assert!(texts.contains(&messages(8)[7].body));

    let large = vec![OutgoingMessage { body: "x".repeat(60_000), ..messages(1).remove(0) }];
    let report = sender.batch_send_messages(QueueRole::Tasks, &large).await;
    assert!(
        matches!(&report.errors[..], [SendError::Oversize { limit: 65536, .. }]),
        "{:?}",
        report.errors
    );

    let wrong = self::sender(endpoint, "bm90IHRoZSBrZXk=", &queue);
    let report = wrong.batch_send_messages(QueueRole::Tasks, &messages(1)).await;
    assert!(matches!(&report.errors[..], [SendError::Unauthorized { .. }]), "{:?}", report.errors);
    assert!(!format!("{:?} {wrong:?}", report.errors).contains("sig="));
}

#[tokio::test]
async fn azurite_accepts_the_messages_of_the_sender() {
    sends_what_it_should(&service("AZURITE_QUEUE_ENDPOINT")).await;
}

#[tokio::test]
async fn the_local_endpoint_accepts_sent_messages() {
    let (_endpoint, url) = local_storage().await;
    sends_what_it_should(&url).await;
}

#[tokio::test]
async fn a_missing_queue_is_created_by_the_first_send() {
    let (_endpoint, url) = local_storage().await;
    let sender = sender(&url, DEVELOPMENT_KEY, "new-queue");
    let report = sender.batch_send_messages(QueueRole::Tasks, &messages(3)).await;
    assert!(report.success, "{:?}", report.errors);
    assert_eq!(Raw::new(&url).count("new-queue").await, 3);
}

#[tokio::test]
async fn a_service_that_is_down_is_unavailable() {
    let (endpoint, url) = local_storage().await;
    endpoint.stop();
    until_refused(endpoint.address()).await;
    let report = sender(&url, DEVELOPMENT_KEY, "queue")
        .batch_send_messages(QueueRole::Tasks, &messages(1))
        .await;
    assert!(matches!(&report.errors[..], [SendError::Unavailable { .. }]), "{:?}", report.errors);
}
