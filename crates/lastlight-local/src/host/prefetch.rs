//! A Service Bus queue's receiver with `prefetchCount`: it keeps so many messages locked in a
//! buffer, beside those that are under way, and hands them out first. Their locks run and nobody
//! renews them; each time that a message is locked counts as a delivery. One whose lock ran out in
//! the buffer is handed out all the same, as the real client does: it cannot be completed, and
//! comes again from its queue, or ends among the dead letters although nobody began it. Nothing
//! here invokes.

use std::{collections::VecDeque, time::Duration};

use crate::broker::{ServiceBus, service_bus::LockedMessage};

/// An idle receiver looks again after this; a message that arrives wakes it.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Receiver {
    bus: ServiceBus,
    queue: String,
    prefetch_count: usize,
    buffer: VecDeque<LockedMessage>,
}

impl Receiver {
    pub(super) fn new(bus: ServiceBus, queue: &str, prefetch_count: usize) -> Self {
        Self { bus, queue: queue.to_owned(), prefetch_count, buffer: VecDeque::new() }
    }

    /// Fills the buffer with what the queue has.
    pub(super) fn fill(&mut self) {
        let wanted = self.wanted();
        if wanted > 0 {
            self.buffer.extend(self.bus.receive(&self.queue, wanted).unwrap_or_default());
        }
    }

    /// Up to `max` messages: of the buffer, or of the queue where the buffer is empty.
    pub(super) fn take(&mut self, max: usize) -> Vec<LockedMessage> {
        if self.buffer.is_empty() {
            return self.bus.receive(&self.queue, max).unwrap_or_default();
        }
        self.buffer.drain(..max.min(self.buffer.len())).collect()
    }

    /// Returns when the queue may have messages, which others may take first.
    pub(super) async fn message(&self) {
        self.bus.wait_for_message(&self.queue, IDLE).await;
    }

    /// The same, for the buffer: never while that is full.
    pub(super) async fn message_to_prefetch(&self) {
        if self.wanted() == 0 {
            std::future::pending::<()>().await;
        }
        self.message().await;
    }

    fn wanted(&self) -> usize {
        self.prefetch_count.saturating_sub(self.buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::broker::{
        BrokerError, Clock,
        service_bus::{NewMessage, QueueOptions, ServiceBusCounts},
    };

    const PAST_A_LOCK: Duration = Duration::from_secs(61);

    fn queue(bodies: &[&str]) -> (ServiceBus, Clock) {
        let clock = Clock::manual(OffsetDateTime::UNIX_EPOCH);
        let bus = ServiceBus::with_clock(clock.clone());
        bus.create_queue("q", QueueOptions::default());
        let messages = bodies.iter().map(|body| NewMessage::new(*body)).collect();
        bus.send("q", messages).unwrap();
        (bus, clock)
    }

    fn bodies(messages: &[LockedMessage]) -> Vec<&str> {
        messages.iter().map(|message| message.body.as_str()).collect()
    }

    #[test]
    fn the_buffer_is_filled_up_and_handed_out_first() {
        let (bus, _) = queue(&["a", "b", "c", "d", "e"]);
        let mut receiver = Receiver::new(bus.clone(), "q", 3);
        receiver.fill();
        assert_eq!(bus.messages_received(), 3);
        assert_eq!(bodies(&receiver.take(2)), ["a", "b"]);
        receiver.fill();
        assert_eq!(bus.messages_received(), 5);
        assert_eq!(bodies(&receiver.take(10)), ["c", "d", "e"]);
        receiver.fill();
        assert!(receiver.take(10).is_empty());
    }

    #[test]
    fn without_prefetch_a_message_is_locked_when_it_is_taken() {
        let (bus, _) = queue(&["a", "b"]);
        let mut receiver = Receiver::new(bus.clone(), "q", 0);
        receiver.fill();
        assert_eq!(bus.messages_received(), 0);
        assert_eq!(bodies(&receiver.take(1)), ["a"]);
        assert_eq!(bus.messages_received(), 1);
    }

    #[test]
    fn a_message_whose_lock_ran_out_in_the_buffer_cannot_be_completed_and_comes_again() {
        let (bus, clock) = queue(&["a"]);
        let mut receiver = Receiver::new(bus.clone(), "q", 1);
        receiver.fill();
        clock.advance(PAST_A_LOCK);
        let late = receiver.take(1).remove(0);
        assert_eq!((late.body.as_str(), late.delivery_count), ("a", 1));
        assert_eq!(bus.complete("q", &late.lock_token), Err(BrokerError::LockLost));
        receiver.fill();
        let again = receiver.take(1).remove(0);
        assert_eq!(again.delivery_count, 2);
        assert_eq!(bus.complete("q", &again.lock_token), Ok(()));
    }

    #[test]
    fn a_message_that_only_waited_ends_among_the_dead_letters() {
        let (bus, clock) = queue(&["a"]);
        for delivery in 1..=10 {
            let mut receiver = Receiver::new(bus.clone(), "q", 20);
            receiver.fill();
            let waiting = receiver.take(1).remove(0);
            assert_eq!(waiting.delivery_count, delivery);
            clock.advance(PAST_A_LOCK);
        }
        let counts = ServiceBusCounts { dead_letter: 1, ..ServiceBusCounts::default() };
        assert_eq!(bus.counts("q").unwrap(), counts);
    }
}
