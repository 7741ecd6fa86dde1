//! Service Bus triggers, as in the real extension: one message per invocation, up to
//! `maxConcurrentCalls` at once, with lock renewal; or up to `maxMessageBatchSize` messages per
//! invocation, one invocation at a time, without renewal. Success completes the messages, failure
//! abandons them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Cardinality, app::ServiceBusTriggerSettings, client::Handler, payload, prefetch::Receiver,
};
use crate::broker::{ServiceBus, service_bus::LockedMessage};

/// A lock is renewed when half of its remaining time has passed, within these bounds.
const RENEW_AFTER: Duration = Duration::from_secs(15);
const RENEW_SOONEST: Duration = Duration::from_millis(100);

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
            prefetch_count,
            max_concurrent_calls,
            max_message_batch_size,
            ..
        } = this.settings;
        let at_once = match cardinality {
            Cardinality::One => max_concurrent_calls.max(1),
            Cardinality::Many => 1,
        };
        let mut receiver = Receiver::new(this.bus.clone(), &this.queue, prefetch_count);
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            receiver.fill();
            if running.len() >= at_once {
                tokio::select! {
                    _ = running.join_next() => {}
                    () = receiver.message_to_prefetch() => {}
                }
                continue;
            }
            let received = receiver.take(match cardinality {
                Cardinality::One => at_once - running.len(),
                Cardinality::Many => max_message_batch_size.max(1),
            });
            if received.is_empty() {
                receiver.message().await;
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
        let result = tokio::select! {
            result = self.handler.invoke(&self.function, payload) => result,
            never = self.keep_locked(&message) => match never {},
        };
        self.settle(std::slice::from_ref(&message), result.is_ok());
        if let Err(error) = result {
            tracing::debug!(function = %self.function, id = message.message_id, %error, "invocation failed");
        }
    }

    /// Renews a lock each time that half of its remaining time has passed, until it is lost or
    /// `maxAutoLockRenewalDuration` has passed. Never returns.
    async fn keep_locked(&self, message: &LockedMessage) -> Infallible {
        let began = Instant::now();
        let mut until = message.locked_until;
        loop {
            let left = Duration::try_from(until - self.bus.now()).unwrap_or_default();
            tokio::time::sleep((left / 2).clamp(RENEW_SOONEST, RENEW_AFTER)).await;
            if began.elapsed() >= self.settings.max_auto_lock_renewal_duration {
                return std::future::pending().await;
            }
            match self.bus.renew(&self.queue, &message.lock_token) {
                Ok(renewed) => until = renewed,
                Err(_) => return std::future::pending().await,
            }
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
