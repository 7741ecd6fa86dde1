//! Service Bus triggers: one message an invocation, up to `maxConcurrentCalls` at once, with lock renewal; or up to
//! `maxMessageBatchSize` messages an invocation, without. Success completes, failure abandons.
//!
//! The number of batches under way at once is not documented; here it is what `maxConcurrentCalls` messages fill.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{Cardinality, app::ServiceBusTriggerSettings, client::Handler, payload};
use crate::local::broker::{ServiceBus, service_bus::LockedMessage};

/// An idle trigger looks again after this; a message that arrives wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// Half of a queue's shortest usual lock.
const RENEW_EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub(super) struct ServiceBusTrigger {
    pub function: Arc<str>,
    pub binding: String,
    pub queue: String,
    pub settings: ServiceBusTriggerSettings,
    pub bus: ServiceBus,
    pub handler: Handler,
}

impl ServiceBusTrigger {
    pub(super) async fn run(self, cardinality: Cardinality) {
        let this = Arc::new(self);
        let ServiceBusTriggerSettings {
            max_concurrent_calls,
            max_message_batch_size,
            ..
        } = this.settings;
        let at_once = match cardinality {
            Cardinality::One => max_concurrent_calls,
            Cardinality::Many => max_concurrent_calls.div_ceil(max_message_batch_size.max(1)),
        };
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            while running.len() >= at_once.max(1) {
                running.join_next().await;
            }
            let wanted = match cardinality {
                Cardinality::One => at_once - running.len(),
                Cardinality::Many => max_message_batch_size,
            };
            let received = this.bus.receive(&this.queue, wanted).unwrap_or_default();
            if received.is_empty() {
                this.bus.wait_for_message(&this.queue, IDLE).await;
                continue;
            }
            match cardinality {
                Cardinality::One => {
                    for message in received {
                        running.spawn(Arc::clone(&this).deliver_one(message));
                    }
                }
                Cardinality::Many => {
                    running.spawn(Arc::clone(&this).deliver_many(received));
                }
            }
        }
    }

    async fn deliver_one(self: Arc<Self>, message: LockedMessage) {
        let payload = payload::service_bus_one(&self.function, &self.binding, &message);
        let began = Instant::now();
        let mut invocation = std::pin::pin!(self.handler.invoke(&self.function, payload));
        let result = loop {
            tokio::select! {
                result = &mut invocation => break result,
                () = tokio::time::sleep(RENEW_EVERY) => {
                    if began.elapsed() < self.settings.max_auto_lock_renewal_duration {
                        let _ = self.bus.renew(&self.queue, &message.lock_token);
                    }
                }
            }
        };
        self.settle(std::slice::from_ref(&message), result.is_ok());
        if let Err(error) = result {
            tracing::debug!(function = %self.function, id = message.message_id, %error, "invocation failed");
        }
    }

    async fn deliver_many(self: Arc<Self>, messages: Vec<LockedMessage>) {
        let payload = payload::service_bus_many(&self.function, &self.binding, &messages);
        let result = self.handler.invoke(&self.function, payload).await;
        self.settle(&messages, result.is_ok());
        if let Err(error) = result {
            tracing::debug!(function = %self.function, messages = messages.len(), %error, "invocation failed");
        }
    }

    fn settle(&self, messages: &[LockedMessage], succeeded: bool) {
        for message in messages {
            let settled = if succeeded {
                self.bus.complete(&self.queue, &message.lock_token)
            } else {
                self.bus.abandon(&self.queue, &message.lock_token)
            };
            if let Err(error) = settled {
                tracing::debug!(function = %self.function, id = message.message_id, %error, "a message could not be settled");
            }
        }
    }
}
