//! Dead-lettered messages on both transports: messages that reached the maximum delivery count of
//! their queue, and messages that lastlight itself kept for review by an operator.
//!
//! There are three queues per path, identified by the role of the queue from which their messages
//! came. For [`QueueRole::Jobs`] and [`QueueRole::Tasks`], the host (Storage Queues:
//! `<queue>-poison`) or the service (Service Bus: `<queue>/$DeadLetterQueue`) puts messages there
//! that were delivered too often; [`QueueRole::Poison`] is the review queue. This module must not
//! depend on the meaning of a message.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::sender::{MessageSender, QueueRole, SendError};

/// Maximum number of messages that one call shows or takes.
pub const MOST_AT_ONCE: usize = 32;

/// Maximum number of messages searched for one message.
const MOST_SEARCHED: usize = 512;

/// A dead-lettered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue service's id, or the sender's if the service keeps that. Identifies the message
    /// within its queue.
    pub id: String,
    /// The text, without the transport's encoding.
    pub body: String,
    /// When it was enqueued here; a message in a dead-letter queue keeps the time of its original
    /// queue.
    pub enqueued: Option<OffsetDateTime>,
    /// Delivery count. In a dead-letter queue it continues from the original queue.
    pub delivery_count: u32,
    /// Why the service dead-lettered it, if it gives a reason.
    pub reason: Option<String>,
}

/// A message that is locked for a while; complete or release it.
#[derive(Debug, Clone)]
pub struct TakenMessage {
    pub message: DeadLetter,
    /// The transport's handle for settling it.
    lock: String,
}

impl TakenMessage {
    /// `lock` is the transport's handle for settling the message.
    pub fn new(message: DeadLetter, lock: String) -> Self {
        Self { message, lock }
    }

    /// The transport's handle for settling the message.
    pub fn lock(&self) -> &str {
        &self.lock
    }
}

/// Whether the caller still held the lock when the message was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// The lock had expired: the message is in the queue again, or another receiver settled it.
    LockLost,
}

/// Access to the queues of one path that hold dead-lettered messages.
#[async_trait]
pub trait DeadLetterQueues: Debug + Send + Sync {
    /// The queue's name, as shown in responses and used by the service.
    fn dead_letter_name(&self, role: QueueRole) -> &str;

    /// Number of messages in the queue, including locked ones. Changes nothing.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request.
    async fn count(&self, role: QueueRole) -> Result<u64, SendError>;

    /// Shows up to `at_most` messages, oldest first, at most [`MOST_AT_ONCE`], without locked ones.
    /// They stay in the queue. On Service Bus, whose REST protocol cannot browse, each one is
    /// delivered and released, which raises its delivery count.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request.
    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError>;

    /// Takes up to `at_most` messages, oldest first, at most [`MOST_AT_ONCE`]: they are locked for
    /// about a minute.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request; nothing is lost, since the locks
    /// expire.
    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError>;

    /// Deletes a message.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request.
    async fn complete(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError>;

    /// Releases a message: it can be received again at once.
    ///
    /// # Errors
    /// The service cannot be reached, or it rejects the request; the lock expires later.
    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError>;
}

/// A complete transport: it sends messages and gives access to dead-lettered ones.
pub trait QueueService: MessageSender + DeadLetterQueues {}

impl<T: MessageSender + DeadLetterQueues> QueueService for T {}

/// Takes the message with this id, if it is among the first few hundred messages and not locked.
/// The services cannot select a message by id: those before it are taken too, and released.
///
/// # Errors
/// The service cannot be reached, or it rejects the request; nothing is lost.
pub async fn take(
    queues: &(impl DeadLetterQueues + ?Sized),
    role: QueueRole,
    id: &str,
) -> Result<Option<TakenMessage>, SendError> {
    let mut passed = Vec::new();
    let found = search(queues, role, id, &mut passed).await;
    for other in &passed {
        // If it cannot be released, its lock expires.
        let _ = queues.release(role, other).await;
    }
    found
}

async fn search(
    queues: &(impl DeadLetterQueues + ?Sized),
    role: QueueRole,
    id: &str,
    passed: &mut Vec<TakenMessage>,
) -> Result<Option<TakenMessage>, SendError> {
    while passed.len() < MOST_SEARCHED {
        let mut some = queues.take_some(role, MOST_AT_ONCE).await?;
        if some.is_empty() {
            break;
        }
        let place = some.iter().position(|taken| taken.message.id == id);
        let found = place.map(|place| some.remove(place));
        passed.append(&mut some);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
