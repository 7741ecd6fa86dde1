//! The number of Service Bus messages that the local Functions host locks, and the number of
//! invocations that it runs at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State};
use lastlight_local::{
    broker::{
        Endpoint, ServiceBus, StorageQueues,
        service_bus::{NewMessage, QueueOptions},
    },
    host::{self, HandlerCommand, HostOptions, LogSink, RunningHost},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::local::host::Files;

/// A handler whose invocations end when the test releases them.
#[derive(Clone)]
struct Handler {
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    let_go: Arc<Semaphore>,
}

impl Handler {
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

async fn invoked(State(handler): State<Handler>) -> axum::Json<Value> {
    let now = handler.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    handler.most.fetch_max(now, Ordering::SeqCst);
    handler.let_go.acquire().await.unwrap().forget();
    handler.under_way.fetch_sub(1, Ordering::SeqCst);
    axum::Json(json!({ "Outputs": {}, "Logs": [], "ReturnValue": null }))
}

struct Bed {
    handler: Handler,
    _endpoint: Endpoint,
    _files: Files,
    bus: ServiceBus,
    host: RunningHost,
}

impl Bed {
    /// A host on a queue with `messages` messages.
    async fn start(cardinality: &str, settings: Value, messages: usize) -> Self {
        let handler = Handler {
            under_way: Arc::default(),
            most: Arc::default(),
            let_go: Arc::new(Semaphore::new(0)),
        };
        let router = Router::new().fallback(invoked).with_state(handler.clone());
        let endpoint = Endpoint::start("test handler", 0, router).await.unwrap();
        let trigger = json!({
            "type": "serviceBusTrigger", "name": "msg", "queueName": "q", "connection": "c", "cardinality": cardinality,
        });
        let host_json = json!({
            "version": "2.0",
            "customHandler": { "description": { "defaultExecutablePath": "handler" }, "enableForwardingHttpRequest": true },
            "extensions": { "serviceBus": settings },
        });
        let files = Files::new(&host_json, &[("work", trigger)]);
        let bus = ServiceBus::new();
        bus.create_queue("q", QueueOptions::default());
        bus.send("q", vec![NewMessage::new("{}"); messages]).unwrap();
        let host = host::start(HostOptions {
            app_root: files.path().to_owned(),
            known_functions: BTreeMap::new(),
            port: 0,
            settings: BTreeMap::new(),
            handler: HandlerCommand::Running { port: endpoint.address().port() },
            storage: StorageQueues::new(),
            service_bus: bus.clone(),
            log: LogSink::new(|_| ()),
        })
        .await
        .unwrap();
        Self { handler, _endpoint: endpoint, _files: files, bus, host }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..2400 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within a minute: {what}");
    }

    fn left(&self) -> usize {
        self.bus.counts("q").unwrap().active
    }
}

#[tokio::test]
async fn batches_of_one_function_run_one_at_a_time() {
    let settings = json!({ "maxMessageBatchSize": 2, "maxConcurrentCalls": 200 });
    let bed = Bed::start("many", settings, 10).await;
    for left in [10, 8, 6, 4, 2] {
        bed.until("a batch is running", |bed| bed.handler.under_way() == 1).await;
        assert_eq!(bed.left(), left);
        bed.handler.let_go.add_permits(1);
        bed.until("it is done", |bed| bed.left() == left - 2).await;
    }
    assert_eq!(bed.handler.most.load(Ordering::SeqCst), 1);
    assert_eq!(bed.bus.messages_received(), 10, "each message was delivered once");
    bed.host.stop().await;
}

#[tokio::test]
async fn prefetch_locks_messages_beside_running_ones() {
    for (cardinality, prefetched, locked) in [("one", 4, 2 + 4), ("one", 0, 2), ("many", 4, 4 + 4)]
    {
        let settings = json!({
            "prefetchCount": prefetched, "maxConcurrentCalls": 2, "maxMessageBatchSize": 4,
        });
        let bed = Bed::start(cardinality, settings, 20).await;
        let under_way = if cardinality == "one" { 2 } else { 1 };
        bed.until("the calls are running", |bed| bed.handler.under_way() == under_way).await;
        bed.until("the others are locked", |bed| bed.bus.messages_received() == locked).await;
        // Other receivers do not get locked messages.
        let others = bed.bus.receive("q", 100).unwrap();
        assert_eq!(others.len() as u64, 20 - locked, "{cardinality}, prefetch {prefetched}");
        for message in &others {
            bed.bus.complete("q", &message.lock_token).unwrap();
        }
        bed.handler.let_go.add_permits(100);
        bed.until("all are done", |bed| bed.left() == 0).await;
        bed.host.stop().await;
    }
}
