//! What the two transports share about messages set aside: those that were delivered as often as
//! their queue allows, and those that lastlight itself kept for a person.
//!
//! Three queues a path, known by the role of the queue that their messages came from.
//! [`QueueRole::Jobs`] and [`QueueRole::Tasks`] are where the host (Storage Queues:
//! `<queue>-poison`) or the service (Service Bus: `<queue>/$DeadLetterQueue`) puts what was
//! delivered too often; [`QueueRole::Poison`] is the review queue. It must not know what a message
//! means.

use std::fmt::Debug;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::sender::{MessageSender, QueueRole, SendError};

/// The most that one call shows or takes.
pub const MOST_AT_ONCE: usize = 32;

/// How many messages are looked at in search of one.
const MOST_SEARCHED: usize = 512;

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue service's id, or the sender's where the service keeps that. Names the message
    /// within its queue.
    pub id: String,
    /// Text, without the transport's encoding.
    pub body: String,
    /// When it came into this queue; a dead letter keeps the time of the queue that it came from.
    pub enqueued: Option<OffsetDateTime>,
    /// How often it was delivered. A dead letter's number goes on from the queue that it came from.
    pub delivery_count: u32,
    /// Why the service set it aside, if it says so.
    pub reason: Option<String>,
}

/// A message that nobody else gets for a while; complete or release it.
#[derive(Debug, Clone)]
pub struct TakenMessage {
    pub message: DeadLetter,
    /// What the transport settles it by.
    lock: String,
}

impl TakenMessage {
    /// `lock`: what the transport settles it by.
    pub fn new(message: DeadLetter, lock: String) -> Self {
        Self { message, lock }
    }

    /// What the transport settles it by.
    pub fn lock(&self) -> &str {
        &self.lock
    }
}

/// Whether a message was still the caller's when it was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// Its time had run out: it is in the queue again, or somebody else has dealt with it.
    LockLost,
}

/// Reads the queues of one path that hold messages set aside.
#[async_trait]
pub trait DeadLetterQueues: Debug + Send + Sync {
    /// The queue's name, as answers show it and as the service knows it.
    fn dead_letter_name(&self, role: QueueRole) -> &str;

    /// How many messages the queue holds, those that somebody has taken included. Changes nothing.
    ///
    /// # Errors
    /// The service cannot be reached or refused.
    async fn count(&self, role: QueueRole) -> Result<u64, SendError>;

    /// Up to `at_most` messages, oldest first, at most [`MOST_AT_ONCE`]; those that somebody has
    /// taken are not shown. They stay where they are. On Service Bus, whose REST protocol cannot
    /// browse, each one is delivered and given back: its delivery count grows.
    ///
    /// # Errors
    /// The service cannot be reached or refused.
    async fn peek(&self, role: QueueRole, at_most: usize) -> Result<Vec<DeadLetter>, SendError>;

    /// Takes up to `at_most` messages, oldest first, at most [`MOST_AT_ONCE`]: for about a minute
    /// nobody else gets them.
    ///
    /// # Errors
    /// The service cannot be reached or refused; nothing is lost, as what was taken comes back by
    /// itself.
    async fn take_some(
        &self,
        role: QueueRole,
        at_most: usize,
    ) -> Result<Vec<TakenMessage>, SendError>;

    /// Removes a message for good.
    ///
    /// # Errors
    /// The service cannot be reached or refused.
    async fn complete(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError>;

    /// Gives a message back: others can have it at once.
    ///
    /// # Errors
    /// The service cannot be reached or refused; the message comes back by itself.
    async fn release(&self, role: QueueRole, taken: &TakenMessage) -> Result<Settled, SendError>;
}

/// One transport whole: it sends, and shows what was set aside.
pub trait QueueService: MessageSender + DeadLetterQueues {}

impl<T: MessageSender + DeadLetterQueues> QueueService for T {}

/// Takes the message of this id, if it is among the first few hundred and nobody else has it. The
/// services have no way to ask for one message: those before it are taken too, and given back.
///
/// # Errors
/// The service cannot be reached or refused; nothing is lost.
pub async fn take(
    queues: &(impl DeadLetterQueues + ?Sized),
    role: QueueRole,
    id: &str,
) -> Result<Option<TakenMessage>, SendError> {
    let mut passed = Vec::new();
    let found = search(queues, role, id, &mut passed).await;
    for other in &passed {
        // What cannot be given back comes back by itself.
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
