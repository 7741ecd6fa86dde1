//! The engine's handle: what the local Functions host and the REST endpoint call.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    super::{
        BrokerError, Clock, SnapshotError, lines,
        registry::{Cell, Registry},
    },
    DEAD_LETTER, LockedMessage, NewMessage, QueueOptions, ServiceBusCounts,
    queue::{Half, Queue},
};

/// All queues of one namespace, in memory. Clones are handles to the same queues.
#[derive(Debug, Clone, Default)]
pub struct ServiceBus {
    registry: Arc<Registry<Queue>>,
    clock: Clock,
    sent: Arc<AtomicU64>,
}

/// One line of a snapshot.
#[derive(Serialize, Deserialize)]
struct Record {
    queue: String,
    delivery_count: u32,
    message: NewMessage,
}

impl ServiceBus {
    /// No queues yet, on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// No queues yet, on this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Makes the queue unless it is there.
    pub fn create_queue(&self, name: &str, options: QueueOptions) {
        self.registry.get_or_create(name, || Queue::new(options));
    }

    /// Stores all messages, or none.
    ///
    /// # Errors
    /// The queue does not exist; together they are too large.
    pub fn send(&self, queue: &str, messages: Vec<NewMessage>) -> Result<(), BrokerError> {
        let cell = self.registry.get(queue)?;
        let now = self.clock.now();
        let count = messages.len() as u64;
        cell.with(|queue| queue.send(messages, now))?;
        self.sent.fetch_add(count, Ordering::Relaxed);
        cell.ring();
        Ok(())
    }

    /// How many messages were ever sent, to all queues; swallowed duplicates too.
    pub fn messages_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Locks up to `max` messages, in the order of arrival. `queue` may be a queue's dead letters.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn receive(&self, queue: &str, max: usize) -> Result<Vec<LockedMessage>, BrokerError> {
        self.with(queue, |queue, now| queue.receive(max, now))
    }

    /// The message is done with.
    ///
    /// # Errors
    /// The queue does not exist; the lock ended.
    pub fn complete(&self, queue: &str, lock_token: &str) -> Result<(), BrokerError> {
        self.with(queue, |queue, now| queue.complete(lock_token, now))?
    }

    /// The message is to be delivered again, to the dead letters if that was too often.
    ///
    /// # Errors
    /// The queue does not exist; the lock ended.
    pub fn abandon(&self, queue: &str, lock_token: &str) -> Result<(), BrokerError> {
        let result = self.with(queue, |queue, now| queue.abandon(lock_token, now))?;
        self.cell(queue)?.0.ring();
        result
    }

    /// Holds the message for another lock duration; when the lock then ends.
    ///
    /// # Errors
    /// The queue does not exist; the lock ended.
    pub fn renew(&self, queue: &str, lock_token: &str) -> Result<OffsetDateTime, BrokerError> {
        self.with(queue, |queue, now| queue.renew(lock_token, now))?
    }

    /// Puts the message among the dead letters.
    ///
    /// # Errors
    /// The queue does not exist; the lock ended.
    pub fn dead_letter(
        &self,
        queue: &str,
        lock_token: &str,
        reason: &str,
        description: &str,
    ) -> Result<(), BrokerError> {
        let result = self.with(queue, |queue, now| {
            queue.dead_letter(lock_token, reason, description, now)
        })?;
        self.cell(queue)?.0.ring();
        result
    }

    /// How many messages there are.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn counts(&self, queue: &str) -> Result<ServiceBusCounts, BrokerError> {
        self.with(queue, Queue::counts)
    }

    /// Removes every message, locked ones too.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn purge(&self, queue: &str) -> Result<(), BrokerError> {
        self.with(queue, |queue, _| queue.purge())
    }

    /// The names of all queues, sorted.
    pub fn queue_names(&self) -> Vec<String> {
        self.registry.all().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns as soon as a message is or becomes ready, after `at_most` otherwise; then receive, which may come
    /// too late, since others wait too.
    pub async fn wait_for_message(&self, queue: &str, at_most: Duration) {
        match self.cell(queue) {
            Ok((cell, half)) => {
                cell.wait(&self.clock, at_most, |queue, now| {
                    queue.half(half).next_message(now)
                })
                .await
            }
            Err(_) => tokio::time::sleep(at_most).await,
        }
    }

    /// Writes all messages, dead letters too, so that [`ServiceBus::restore`] finds them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn snapshot(&self, path: &Path) -> Result<(), SnapshotError> {
        let queues = self.registry.all().into_iter().flat_map(|(name, cell)| {
            let dead = format!("{name}{DEAD_LETTER}");
            [
                (name, cell.with(|queue| queue.export())),
                (dead, cell.with(|queue| queue.half(Half::Dead).export())),
            ]
        });
        let parts = queues.map(|(queue, messages)| {
            let mut text = Vec::new();
            for (message, delivery_count) in messages.into_values() {
                lines::push_record(
                    &mut text,
                    &Record {
                        queue: queue.clone(),
                        delivery_count,
                        message,
                    },
                )?;
            }
            Ok(text)
        });
        lines::write(path, parts)
    }

    /// Takes in what a snapshot holds, for queues that exist; a file that is not there holds nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn restore(&self, path: &Path) -> Result<(), SnapshotError> {
        lines::read(
            path,
            |Record {
                 queue,
                 delivery_count,
                 message,
             }: Record| {
                // A queue that the settings no longer name has nobody to read it.
                let _ = self.with(&queue, |queue, now| queue.import(message, delivery_count, now));
            },
        )
    }

    fn with<R>(
        &self,
        queue: &str,
        action: impl FnOnce(&mut Queue, OffsetDateTime) -> R,
    ) -> Result<R, BrokerError> {
        let now = self.clock.now();
        let (cell, half) = self.cell(queue)?;
        Ok(cell.with(|queue| action(queue.half(half), now)))
    }

    fn cell(&self, name: &str) -> Result<(Arc<Cell<Queue>>, Half), BrokerError> {
        match name
            .strip_suffix(DEAD_LETTER)
            .or_else(|| name.strip_suffix(&DEAD_LETTER.to_lowercase()))
        {
            Some(live) => Ok((self.registry.get(live)?, Half::Dead)),
            None => Ok((self.registry.get(name)?, Half::Live)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn bus(options: QueueOptions) -> (ServiceBus, Clock) {
        let clock = Clock::manual(datetime!(2026-11-23 19:00 UTC));
        let bus = ServiceBus::with_clock(clock.clone());
        bus.create_queue("q", options);
        (bus, clock)
    }

    fn message(id: &str) -> NewMessage {
        NewMessage {
            body: id.to_owned(),
            message_id: Some(id.to_owned()),
            ..NewMessage::default()
        }
    }

    #[test]
    fn a_message_whose_lock_ended_comes_again_and_its_old_lock_is_void() {
        let (bus, clock) = bus(QueueOptions::default());
        bus.send("q", vec![message("a")]).unwrap();
        let first = bus.receive("q", 10).unwrap().pop().unwrap();
        assert!(bus.receive("q", 10).unwrap().is_empty());
        clock.advance(Duration::from_secs(61));
        assert_eq!(bus.complete("q", &first.lock_token), Err(BrokerError::LockLost));
        assert_eq!(bus.receive("q", 10).unwrap()[0].delivery_count, 2);
    }

    #[test]
    fn a_renewed_lock_holds() {
        let (bus, clock) = bus(QueueOptions::default());
        bus.send("q", vec![message("a")]).unwrap();
        let locked = bus.receive("q", 1).unwrap().pop().unwrap();
        clock.advance(Duration::from_secs(50));
        bus.renew("q", &locked.lock_token).unwrap();
        clock.advance(Duration::from_secs(50));
        assert_eq!(bus.complete("q", &locked.lock_token), Ok(()));
        assert_eq!(bus.counts("q").unwrap(), ServiceBusCounts::default());
    }

    #[test]
    fn a_message_that_nobody_can_process_ends_among_the_dead_letters() {
        let (bus, _) = bus(QueueOptions {
            max_delivery_count: 3,
            ..QueueOptions::default()
        });
        bus.send("q", vec![message("bad"), message("good")]).unwrap();
        for _ in 0..3 {
            let bad = bus.receive("q", 1).unwrap().pop().unwrap();
            assert_eq!(bad.body, "bad", "an abandoned message keeps its place");
            bus.abandon("q", &bad.lock_token).unwrap();
        }
        assert_eq!(bus.receive("q", 1).unwrap()[0].body, "good");
        let dead = bus.receive("q/$DeadLetterQueue", 10).unwrap();
        assert_eq!(
            dead[0].dead_letter_reason.as_deref(),
            Some("MaxDeliveryCountExceeded")
        );
        assert_eq!(bus.counts("q").unwrap().dead_letter, 1);
    }

    #[test]
    fn a_duplicate_within_the_window_vanishes_even_if_the_first_is_scheduled() {
        let window = Some(Duration::from_secs(600));
        let (bus, clock) = bus(QueueOptions {
            duplicate_detection: window,
            ..QueueOptions::default()
        });
        let due = datetime!(2026-11-23 19:05 UTC);
        bus.send(
            "q",
            vec![NewMessage {
                scheduled: Some(due),
                ..message("a")
            }],
        )
        .unwrap();
        bus.send("q", vec![message("a"), message("b")]).unwrap();
        assert_eq!(bus.receive("q", 10).unwrap().len(), 1);
        clock.advance(Duration::from_secs(300));
        assert_eq!(bus.receive("q", 10).unwrap()[0].body, "a");
        clock.advance(Duration::from_secs(301));
        bus.send("q", vec![message("a")]).unwrap();
        assert_eq!(bus.counts("q").unwrap().active, 3);
    }

    #[test]
    fn messages_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus");
        let (before, _) = bus(QueueOptions::default());
        before.send("q", vec![message("a"), message("b")]).unwrap();
        before.receive("q", 1).unwrap();
        before.snapshot(&path).unwrap();
        let (after, _) = bus(QueueOptions::default());
        after.restore(&path).unwrap();
        let bodies: Vec<_> = after
            .receive("q", 10)
            .unwrap()
            .into_iter()
            .map(|m| (m.body, m.delivery_count))
            .collect();
        assert_eq!(bodies, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }
}
