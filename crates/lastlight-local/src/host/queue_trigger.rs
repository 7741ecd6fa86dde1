//! Storage Queue triggers: they poll, keep up to `batchSize + newBatchThreshold` messages in
//! flight, delete a message on success, make it visible again on failure, and move it to
//! `<queue>-poison` after `maxDequeueCount` deliveries. A queue may have no poison queue, for
//! example because it is one itself: a message that fails there is left alone and becomes visible
//! again when its visibility timeout ends.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::task::JoinSet;

use super::{
    app::{MessageEncoding, QueueSettings},
    client::Handler,
    payload,
};
use crate::broker::{BrokerError, StorageQueues, storage_queue::QueueMessage};

/// Visibility timeout of a received message: ten minutes, renewed at half of it, as in the
/// extension.
const HIDDEN: Duration = Duration::from_secs(600);

/// Maximum length of a queue name.
const LONGEST_NAME: usize = 63;

/// The queue for messages that failed too often; `None` for a poison queue, and for a queue whose
/// poison queue would have too long a name.
pub(super) fn poison_queue(queue: &str) -> Option<String> {
    let poison = format!("{queue}-poison");
    (!queue.ends_with("-poison") && poison.len() <= LONGEST_NAME).then_some(poison)
}

#[derive(Debug, Clone)]
pub(super) struct QueueTrigger {
    pub function: Arc<str>,
    pub binding: String,
    pub queue: String,
    pub poison: Option<String>,
    pub settings: QueueSettings,
    pub storage: StorageQueues,
    pub handler: Handler,
}

impl QueueTrigger {
    pub(super) async fn run(self) {
        let this = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            while running.len() > this.settings.new_batch_threshold {
                running.join_next().await;
            }
            let received = this
                .storage
                .receive(&this.queue, this.settings.batch_size, HIDDEN)
                .unwrap_or_default();
            if received.is_empty() {
                this.storage
                    .wait_for_message(&this.queue, this.settings.max_polling_interval)
                    .await;
            }
            for message in received {
                running.spawn(Arc::clone(&this).deliver(message));
            }
        }
    }

    async fn deliver(self: Arc<Self>, mut message: QueueMessage) {
        let invoked = {
            let payload = match self.text(&message) {
                Some(text) => {
                    payload::queue_message(&self.function, &self.binding, &message, &text)
                }
                None => {
                    // A text that is not base64 is never delivered to the function.
                    let _ = self.dead_letters(&message);
                    return;
                }
            };
            let mut invocation = std::pin::pin!(self.handler.invoke(&self.function, payload));
            loop {
                tokio::select! {
                    result = &mut invocation => break result,
                    () = tokio::time::sleep(HIDDEN / 2) => {
                        if let Ok(renewed) =
                            self.storage.update(&self.queue, &message.id, &message.pop_receipt, HIDDEN, None)
                        {
                            message.pop_receipt = renewed.pop_receipt;
                        }
                    }
                }
            }
        };
        let settled = match invoked {
            Ok(()) => self.storage.delete(&self.queue, &message.id, &message.pop_receipt),
            Err(error) => {
                tracing::debug!(function = %self.function, id = message.id, %error, "invocation failed");
                if self.poison.is_none() {
                    // It stays hidden until its visibility timeout ends.
                    Ok(())
                } else if message.dequeue_count >= self.settings.max_dequeue_count {
                    self.dead_letters(&message)
                } else {
                    let hidden = self.settings.visibility_timeout;
                    self.storage
                        .update(&self.queue, &message.id, &message.pop_receipt, hidden, None)
                        .map(drop)
                }
            }
        };
        if let Err(error) = settled {
            tracing::debug!(function = %self.function, id = message.id, %error, "a message could not be settled");
        }
    }

    fn text(&self, message: &QueueMessage) -> Option<String> {
        match self.settings.message_encoding {
            MessageEncoding::None => Some(message.body.clone()),
            MessageEncoding::Base64 => {
                let bytes = BASE64_STANDARD.decode(message.body.trim()).ok()?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    fn dead_letters(&self, message: &QueueMessage) -> Result<(), BrokerError> {
        let Some(poison) = &self.poison else {
            return Ok(());
        };
        self.storage.put(poison, message.body.clone(), Duration::ZERO, None)?;
        self.storage.delete(&self.queue, &message.id, &message.pop_receipt)
    }
}
