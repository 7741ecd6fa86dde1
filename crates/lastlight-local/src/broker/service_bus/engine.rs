//! The engine's handle: what the local Functions host and the REST endpoint call.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;

use super::{
    super::{
        BrokerError, Clock,
        clock::later,
        registry::{Cell, Creation, Registry},
    },
    LockedMessage, NewMessage, QueueOptions, ServiceBusCounts, is_dead_letter_queue,
    message::DeadLetter,
    queue::{Queue, Side},
};

/// All queues of one namespace, in memory. Clones are handles to the same queues. Names are
/// compared without regard to case; `<queue>/$DeadLetterQueue` names a queue's dead letters.
#[derive(Debug, Clone, Default)]
pub struct ServiceBus {
    pub(super) registry: Arc<Registry<Queue>>,
    clock: Clock,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl ServiceBus {
    /// No queues yet, on the system's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// No queues yet, on this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Makes the queue; one that is there keeps its messages and gets these options.
    pub fn create_queue(&self, name: &str, options: QueueOptions) {
        let (cell, creation) = self.registry.get_or_create(&key(name), || Queue::new(options));
        if creation == Creation::Existed {
            cell.with(|queue| queue.options = options);
        }
    }

    /// Stores all messages or none. Duplicates of messages that duplicate detection remembers are
    /// dropped without an error; scheduled ones take part.
    ///
    /// # Errors
    /// The queue does not exist, or is a dead-letter queue; the messages are larger together than
    /// [`QueueOptions::max_message_bytes`].
    pub fn send(&self, queue: &str, messages: Vec<NewMessage>) -> Result<(), BrokerError> {
        let (cell, side) = self.find(queue)?;
        if side == Side::DeadLetter {
            return Err(BrokerError::QueueNotFound { queue: queue.to_owned() });
        }
        let now = self.clock.now();
        let count = messages.len() as u64;
        cell.with(|queue| queue.send(messages, now))?;
        self.sent.fetch_add(count, Ordering::Relaxed);
        cell.ring();
        Ok(())
    }

    /// How many messages were ever sent, to all queues; dropped duplicates too.
    pub fn messages_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Up to `max` available messages, oldest first, each under a lock of its own (peek-lock).
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn receive(&self, queue: &str, max: usize) -> Result<Vec<LockedMessage>, BrokerError> {
        let (cell, side) = self.find(queue)?;
        let now = self.clock.now();
        let received = cell.with(|queue| queue.receive(side, max, now));
        self.received.fetch_add(received.len() as u64, Ordering::Relaxed);
        Ok(received)
    }

    /// How many messages were ever received, from all queues; each as often as it was.
    pub fn messages_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The engine's time, by which locks run.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Removes a message for good.
    ///
    /// # Errors
    /// The queue does not exist; the lock is lost.
    pub fn complete(&self, queue: &str, lock_token: &str) -> Result<(), BrokerError> {
        let (cell, side) = self.find(queue)?;
        let now = self.clock.now();
        cell.with(|queue| queue.complete(side, lock_token, now))
    }

    /// Gives a message back: it is available again at once, or a dead letter if this was its last
    /// delivery.
    ///
    /// # Errors
    /// The queue does not exist; the lock is lost.
    pub fn abandon(&self, queue: &str, lock_token: &str) -> Result<(), BrokerError> {
        let (cell, side) = self.find(queue)?;
        let now = self.clock.now();
        cell.with(|queue| queue.abandon(side, lock_token, now))?;
        cell.ring();
        Ok(())
    }

    /// Starts the lock's time again; its new end.
    ///
    /// # Errors
    /// The queue does not exist; the lock is lost.
    pub fn renew(&self, queue: &str, lock_token: &str) -> Result<OffsetDateTime, BrokerError> {
        let (cell, side) = self.find(queue)?;
        let now = self.clock.now();
        cell.with(|queue| queue.renew(side, lock_token, now))
    }

    /// Moves a message to the dead letters. The real REST protocol cannot do this.
    ///
    /// # Errors
    /// The queue does not exist; the lock is lost.
    pub fn dead_letter(
        &self,
        queue: &str,
        lock_token: &str,
        reason: &str,
        description: &str,
    ) -> Result<(), BrokerError> {
        let (cell, side) = self.find(queue)?;
        let now = self.clock.now();
        let letter = DeadLetter { reason: reason.to_owned(), description: description.to_owned() };
        cell.with(|queue| queue.dead_letter(side, lock_token, letter, now))?;
        cell.ring();
        Ok(())
    }

    /// How many messages the queue holds, dead letters included.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn counts(&self, queue: &str) -> Result<ServiceBusCounts, BrokerError> {
        let (cell, _) = self.find(queue)?;
        let now = self.clock.now();
        Ok(cell.with(|queue| queue.counts(now)))
    }

    /// How many of the queue's messages ever became dead letters, whatever became of those.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn messages_dead_lettered(&self, queue: &str) -> Result<u64, BrokerError> {
        let (cell, _) = self.find(queue)?;
        let now = self.clock.now();
        Ok(cell.with(|queue| {
            queue.counts(now);
            queue.dead_lettered
        }))
    }

    /// The queue's rules.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn options(&self, queue: &str) -> Result<QueueOptions, BrokerError> {
        let (cell, _) = self.find(queue)?;
        Ok(cell.with(|queue| queue.options))
    }

    /// Removes every message, locked and scheduled ones too; of `<queue>/$DeadLetterQueue` the dead
    /// letters only, of `<queue>` all but those.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn purge(&self, queue: &str) -> Result<(), BrokerError> {
        let (cell, side) = self.find(queue)?;
        cell.with(|queue| queue.purge(side));
        Ok(())
    }

    /// The names of all queues, sorted, in lower case.
    pub fn queue_names(&self) -> Vec<String> {
        self.registry.all().into_iter().map(|(name, _)| name).collect()
    }

    /// Returns as soon as a message is or becomes available, after `at_most` otherwise; then
    /// receive, which may come too late, since others wait too. A queue that does not exist is
    /// waited for like an empty one.
    pub async fn wait_for_message(&self, queue: &str, at_most: Duration) {
        match self.find(queue) {
            Ok((cell, side)) => {
                cell.wait(&self.clock, at_most, |queue, now| queue.next_message(side, now)).await;
            }
            Err(_) => self.clock.sleep_until(later(self.clock.now(), at_most)).await,
        }
    }

    fn find(&self, path: &str) -> Result<(Arc<Cell<Queue>>, Side), BrokerError> {
        let (name, side) = match path.rsplit_once('/') {
            Some((name, _)) if is_dead_letter_queue(path) => (name, Side::DeadLetter),
            _ => (path, Side::Main),
        };
        Ok((self.registry.get(&key(name))?, side))
    }
}

/// The name under which a queue is kept.
fn key(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
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
        NewMessage { body: id.to_owned(), message_id: Some(id.to_owned()), ..NewMessage::default() }
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
        let (bus, _) = bus(QueueOptions { max_delivery_count: 3, ..QueueOptions::default() });
        bus.send("q", vec![message("bad"), message("good")]).unwrap();
        for _ in 0..3 {
            let bad = bus.receive("q", 1).unwrap().pop().unwrap();
            assert_eq!(bad.body, "bad", "an abandoned message keeps its place");
            bus.abandon("q", &bad.lock_token).unwrap();
        }
        assert_eq!(bus.receive("q", 1).unwrap()[0].body, "good");
        let dead = bus.receive("q/$DeadLetterQueue", 10).unwrap();
        assert_eq!(dead[0].dead_letter_reason.as_deref(), Some("MaxDeliveryCountExceeded"));
        assert_eq!(bus.counts("q").unwrap().dead_letter, 1);
        bus.complete("q/$DeadLetterQueue", &dead[0].lock_token).unwrap();
        assert_eq!(bus.counts("q").unwrap().dead_letter, 0);
        assert_eq!(bus.messages_dead_lettered("q"), Ok(1), "it is still known that there was one");
    }

    #[test]
    fn a_duplicate_within_the_window_vanishes_even_if_the_first_is_scheduled() {
        let window = Some(Duration::from_secs(600));
        let (bus, clock) =
            bus(QueueOptions { duplicate_detection: window, ..QueueOptions::default() });
        let due = datetime!(2026-11-23 19:05 UTC);
        bus.send("q", vec![NewMessage { scheduled: Some(due), ..message("a") }]).unwrap();
        bus.send("q", vec![message("a"), message("b")]).unwrap();
        let b = bus.receive("q", 10).unwrap().pop().unwrap();
        bus.complete("q", &b.lock_token).unwrap();
        clock.advance(Duration::from_secs(300));
        assert_eq!(bus.receive("q", 10).unwrap()[0].body, "a");
        clock.advance(Duration::from_secs(301));
        bus.send("q", vec![message("a")]).unwrap();
        assert_eq!(bus.counts("q").unwrap().active, 2);
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
