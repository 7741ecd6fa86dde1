//! The engine, as the local Functions host and the REST endpoint call it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        BrokerError, Clock,
        registry::{Creation, Registry},
    },
    QueueMessage,
    queue::Queue,
};

/// All Storage Queues of one account, in memory. Clones share the same queues.
#[derive(Debug, Clone, Default)]
pub struct StorageQueues {
    pub(super) registry: Arc<Registry<Queue>>,
    pub(super) clock: Clock,
    put: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl StorageQueues {
    /// Creates an account without queues, on the system clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an account without queues, on this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Creates the queue if it does not exist.
    pub fn create_queue(&self, name: &str) {
        self.registry.get_or_create(name, Queue::new);
    }

    /// Adds a message that becomes visible after `visibility_delay` and expires after
    /// `time_to_live` (`None`: never). The returned pop receipt is valid for `delete` and `update`
    /// until the message is received.
    ///
    /// # Errors
    /// The queue does not exist; the body exceeds [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES).
    pub fn put(
        &self,
        queue: &str,
        body: String,
        visibility_delay: Duration,
        time_to_live: Option<Duration>,
    ) -> Result<QueueMessage, BrokerError> {
        let cell = self.registry.get(queue)?;
        let now = self.clock.now();
        let message = cell.with(|queue| queue.put(body, visibility_delay, time_to_live, now))?;
        self.put.fetch_add(1, Ordering::Relaxed);
        cell.ring();
        Ok(message)
    }

    /// Number of messages put into this queue so far.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn messages_put_into(&self, queue: &str) -> Result<u64, BrokerError> {
        let cell = self.registry.get(queue)?;
        // Messages are numbered from 1.
        Ok(cell.with(|queue| queue.next_number.saturating_sub(1)))
    }

    /// Number of messages put into all queues so far.
    pub fn messages_put(&self) -> u64 {
        self.put.load(Ordering::Relaxed)
    }

    /// Receives up to `max` visible messages, the longest visible first, and hides each from other
    /// receivers for `visibility`.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn receive(
        &self,
        queue: &str,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<QueueMessage>, BrokerError> {
        let now = self.clock.now();
        let cell = self.registry.get(queue)?;
        let received = cell.with(|queue| queue.receive(max, visibility, now));
        self.received.fetch_add(received.len() as u64, Ordering::Relaxed);
        Ok(received)
    }

    /// Number of messages received from all queues so far; every delivery counts.
    pub fn messages_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Removes a message that this receiver still owns.
    ///
    /// # Errors
    /// The queue or the message does not exist; the message was received again since.
    pub fn delete(&self, queue: &str, id: &str, pop_receipt: &str) -> Result<(), BrokerError> {
        let now = self.clock.now();
        self.registry.get(queue)?.with(|queue| queue.delete(id, pop_receipt, now))
    }

    /// Hides a message for `visibility` from now on (zero makes it visible), and replaces its body
    /// if one is given. Returns a new pop receipt; the old one becomes invalid.
    ///
    /// # Errors
    /// The queue or the message does not exist; the message was received again since; the body is
    /// too large.
    pub fn update(
        &self,
        queue: &str,
        id: &str,
        pop_receipt: &str,
        visibility: Duration,
        body: Option<String>,
    ) -> Result<QueueMessage, BrokerError> {
        let cell = self.registry.get(queue)?;
        let now = self.clock.now();
        let message = cell.with(|queue| queue.update(id, pop_receipt, visibility, body, now))?;
        cell.ring();
        Ok(message)
    }

    /// Up to `max` visible messages, which stay visible. They have no pop receipt.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn peek(&self, queue: &str, max: usize) -> Result<Vec<QueueMessage>, BrokerError> {
        let now = self.clock.now();
        Ok(self.registry.get(queue)?.with(|queue| queue.peek(max, now)))
    }

    /// Removes all messages, including received ones.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn clear(&self, queue: &str) -> Result<(), BrokerError> {
        self.registry.get(queue)?.with(Queue::clear);
        Ok(())
    }

    /// Number of messages in the queue, visible or not. In Azure it is approximate; here it is
    /// exact.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn counts(&self, queue: &str) -> Result<usize, BrokerError> {
        let now = self.clock.now();
        Ok(self.registry.get(queue)?.with(|queue| queue.count(now)))
    }

    /// The names of all queues, sorted.
    pub fn queue_names(&self) -> Vec<String> {
        self.registry.all().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns when a message is or becomes visible, or after `at_most`. A receive after that may
    /// find nothing, because other receivers wait as well. A missing queue counts as empty.
    pub async fn wait_for_message(&self, queue: &str, at_most: Duration) {
        match self.registry.get(queue) {
            Ok(cell) => cell.wait(&self.clock, at_most, Queue::next_message).await,
            Err(_) => {
                self.clock.sleep_until(super::super::clock::later(self.clock.now(), at_most)).await
            }
        }
    }

    /// Creates the queue with this metadata; an existing queue is not changed.
    pub(super) fn create_with_metadata(
        &self,
        name: &str,
        metadata: BTreeMap<String, String>,
    ) -> Created {
        let mut given = Some(metadata);
        let (cell, creation) = self.registry.get_or_create(name, || {
            let mut queue = Queue::new();
            queue.metadata = given.take().unwrap_or_default();
            queue
        });
        match (creation, given) {
            (Creation::Created, _) => Created::Now,
            (Creation::Existed, Some(metadata))
                if cell.with(|queue| queue.metadata != metadata) =>
            {
                Created::BeforeWithOtherMetadata
            }
            (Creation::Existed, _) => Created::Before,
        }
    }

    /// Removes the queue with all its messages.
    pub(super) fn delete_queue(&self, name: &str) -> Result<(), BrokerError> {
        let removed = self.registry.remove(name);
        removed.map(|_| ()).ok_or_else(|| BrokerError::QueueNotFound { queue: name.to_owned() })
    }

    pub(super) fn metadata(&self, queue: &str) -> Result<BTreeMap<String, String>, BrokerError> {
        Ok(self.registry.get(queue)?.with(|queue| queue.metadata.clone()))
    }

    pub(super) fn set_metadata(
        &self,
        queue: &str,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), BrokerError> {
        self.registry.get(queue)?.with(|queue| queue.metadata = metadata);
        Ok(())
    }
}

/// The result of creating a queue; Azure answers each case differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// The queue was created by this call.
    Now,
    /// The queue existed with the same metadata.
    Before,
    /// The queue existed with different metadata, which it keeps.
    BeforeWithOtherMetadata,
}
