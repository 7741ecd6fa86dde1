//! Dead-lettered messages on Storage Queues: the host's `<queue>-poison`, and the review queue.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_storage_queue::{
    QueueClient,
    models::{
        PeekedMessage, QueueClientGetPropertiesResultHeaders, QueueClientPeekMessagesOptions,
        QueueClientReceiveMessagesOptions, ReceivedMessage,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{StorageQueueRepository, fault};
use crate::{
    config::QueueEncoding,
    transport::{
        dead_letters::{DeadLetter, DeadLetterQueues, MOST_AT_ONCE, Settled, TakenMessage},
        sender::{QueueRole, SendError},
    },
};

/// How long a taken message is invisible to other receivers, in seconds.
const TAKEN_FOR: i32 = 60;

impl StorageQueueRepository {
    fn dead_letter_client(&self, role: QueueRole) -> Result<Arc<QueueClient>, SendError> {
        let clients = self.clients()?;
        Ok(match role {
            QueueRole::Jobs => clients.dead_lettered_jobs,
            QueueRole::Tasks => clients.dead_lettered_tasks,
            QueueRole::Poison => clients.poison,
        })
    }

    /// The host creates a poison queue when it needs one: a missing queue has no messages.
    fn nothing_if_missing<T: Default>(
        &self,
        role: QueueRole,
        answer: Result<T, azure_core::Error>,
    ) -> Result<T, SendError> {
        answer.or_else(|error| match fault(self.dead_letter_name(role), &error) {
            SendError::QueueNotFound { .. } => Ok(T::default()),
            error => Err(error),
        })
    }

    fn settled(
        &self,
        role: QueueRole,
        answer: Result<(), azure_core::Error>,
    ) -> Result<Settled, SendError> {
        match answer {
            Ok(()) => Ok(Settled::Done),
            Err(error) if is_lost(&error) => Ok(Settled::LockLost),
            Err(error) => Err(fault(self.dead_letter_name(role), &error)),
        }
    }

    fn decoded(&self, text: Option<String>) -> String {
        let text = text.unwrap_or_default();
        match self.settings.encoding {
            QueueEncoding::None => text,
            // The sender may have omitted the encoding, which may be why the message is here.
            QueueEncoding::Base64 => BASE64_STANDARD
                .decode(text.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or(text),
        }
    }

    fn peeked(&self, message: PeekedMessage) -> DeadLetter {
        DeadLetter {
            id: message.message_id.unwrap_or_default(),
            body: self.decoded(message.message_text),
            enqueued: message.insertion_time,
            delivery_count: count_of(message.dequeue_count),
            reason: None,
        }
    }

    fn taken(&self, message: ReceivedMessage) -> TakenMessage {
        let lock = message.pop_receipt.unwrap_or_default();
        let message = DeadLetter {
            id: message.message_id.unwrap_or_default(),
            body: self.decoded(message.message_text),
            enqueued: message.insertion_time,
            delivery_count: count_of(message.dequeue_count),
            reason: None,
        };
        TakenMessage::new(message, lock)
    }
}

fn count_of(number: Option<i64>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// Whether the message was deleted, or received by another receiver, in the meantime.
fn is_lost(error: &azure_core::Error) -> bool {
    match error.kind() {
        ErrorKind::HttpResponse { error_code, .. } => {
            matches!(error_code.as_deref(), Some("MessageNotFound" | "PopReceiptMismatch"))
        }
        _ => false,
    }
}

/// Clamps to the number of messages that the service allows per request: 1 to 32.
fn at_once(at_most: usize) -> Option<i32> {
    i32::try_from(at_most.clamp(1, MOST_AT_ONCE)).ok()
}

#[async_trait]
impl DeadLetterQueues for StorageQueueRepository {
    fn dead_letter_name(&self, role: QueueRole) -> &str {
        match role {
            QueueRole::Jobs => &self.dead_letters.jobs,
            QueueRole::Tasks => &self.dead_letters.tasks,
            QueueRole::Poison => &self.settings.poison_queue,
        }
    }

    async fn count(&self, role: QueueRole) -> Result<u64, SendError> {
        let answer = self.dead_letter_client(role)?.get_properties(None).await;
        let count = answer.and_then(|answer| answer.approximate_messages_count());
        let count = self.nothing_if_missing(role, count)?.unwrap_or_default();
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError> {
        let options = QueueClientPeekMessagesOptions {
            number_of_messages: at_once(at_most),
            ..Default::default()
        };
        let answer = self.dead_letter_client(role)?.peek_messages(Some(options)).await;
        let messages = answer.and_then(|answer| answer.into_model());
        let messages = self.nothing_if_missing(role, messages)?.items.unwrap_or_default();
        Ok(messages.into_iter().map(|message| self.peeked(message)).collect())
    }

    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: at_once(at_most),
            visibility_timeout: Some(TAKEN_FOR),
            ..Default::default()
        };
        let answer = self.dead_letter_client(role)?.receive_messages(Some(options)).await;
        let messages = answer.and_then(|answer| answer.into_model());
        let messages = self.nothing_if_missing(role, messages)?.items.unwrap_or_default();
        Ok(messages.into_iter().map(|message| self.taken(message)).collect())
    }

    async fn complete(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        let client = self.dead_letter_client(role)?;
        let answer = client.delete_message(&taken.message.id, taken.lock(), None).await;
        self.settled(role, answer.map(drop))
    }

    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError> {
        let client = self.dead_letter_client(role)?;
        let answer = client.update_message(&taken.message.id, taken.lock(), 0, None).await;
        self.settled(role, answer.map(drop))
    }
}
