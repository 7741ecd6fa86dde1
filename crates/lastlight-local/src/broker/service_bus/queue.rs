//! One Service Bus queue: the life cycle of its messages.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        BrokerError,
        clock::{NEVER, later},
        registry::NextMessage,
    },
    lane::Lane,
    message::{DeadLetter, LockedMessage, NewMessage, Stored},
};

/// The options of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueOptions {
    /// Duration of a lock; 60 s by default.
    pub lock_duration: Duration,
    /// Number of deliveries after which an uncompleted message is dead-lettered; 10 by default.
    pub max_delivery_count: u32,
    /// Window in which a second message with the same id is dropped; `None` switches duplicate
    /// detection off. The usual window is 10 minutes.
    pub duplicate_detection: Option<Duration>,
    /// Maximum size of one send, in bytes; 256 KiB by default, as in the Standard tier.
    pub max_message_bytes: usize,
    /// Maximum and default lifetime of a message; 14 days by default.
    pub default_time_to_live: Duration,
    /// What happens to an expired message.
    pub on_expiry: OnExpiry,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            duplicate_detection: None,
            max_message_bytes: 256 * 1024,
            default_time_to_live: Duration::from_secs(14 * 24 * 60 * 60),
            on_expiry: OnExpiry::Discard,
        }
    }
}

/// What happens to an expired message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It is deleted; the default of the service.
    Discard,
    /// It is dead-lettered with the reason `TTLExpiredException`.
    DeadLetter,
}

/// Numbers of messages in a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceBusCounts {
    /// Messages that are available or locked.
    pub active: usize,
    /// Messages that wait for their scheduled time.
    pub scheduled: usize,
    /// Messages in `$DeadLetterQueue`, available or locked.
    pub dead_letter: usize,
}

/// One of the two lanes of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Main,
    DeadLetter,
}

/// The state of a queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) options: QueueOptions,
    pub(super) main: Lane,
    pub(super) dead: Lane,
    /// Scheduled messages, by time and order of arrival.
    pub(super) scheduled: BTreeMap<(OffsetDateTime, u64), NewMessage>,
    pub(super) history: History,
    pub(super) last_sequence_number: i64,
    /// Number of messages dead-lettered so far.
    pub(super) dead_lettered: u64,
    scheduled_so_far: u64,
}

/// The message ids that duplicate detection remembers.
#[derive(Debug, Default)]
pub(super) struct History {
    ids: HashSet<Arc<str>>,
    /// In order of arrival: the oldest are forgotten first.
    pub(super) arrivals: VecDeque<(OffsetDateTime, Arc<str>)>,
}

impl History {
    /// Returns whether this id is new, and remembers it.
    pub(super) fn admit(&mut self, id: &str, now: OffsetDateTime) -> bool {
        if self.ids.contains(id) {
            return false;
        }
        let id: Arc<str> = id.into();
        self.ids.insert(id.clone());
        self.arrivals.push_back((now, id));
        true
    }

    fn forget_before(&mut self, moment: OffsetDateTime) {
        while let Some((_, id)) = self.arrivals.pop_front_if(|(arrival, _)| *arrival <= moment) {
            self.ids.remove(&id);
        }
    }
}

impl Queue {
    pub(super) fn new(options: QueueOptions) -> Self {
        Self { options, ..Self::default() }
    }

    pub(super) fn send(
        &mut self,
        messages: Vec<NewMessage>,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        let bytes = messages.iter().map(NewMessage::size).sum();
        let limit = self.options.max_message_bytes;
        if bytes > limit {
            return Err(BrokerError::TooLarge { bytes, limit });
        }
        self.catch_up(now);
        for mut message in messages {
            let id = message.message_id.get_or_insert_with(|| Uuid::new_v4().simple().to_string());
            if self.options.duplicate_detection.is_some() && !self.history.admit(id, now) {
                continue;
            }
            match message.scheduled {
                Some(moment) if moment > now => self.schedule(moment, message),
                _ => self.enqueue(message, now),
            }
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        side: Side,
        max: usize,
        now: OffsetDateTime,
    ) -> Vec<LockedMessage> {
        self.catch_up(now);
        let duration = self.options.lock_duration;
        self.lane(side).lock(max, duration, now)
    }

    pub(super) fn complete(
        &mut self,
        side: Side,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        self.catch_up(now);
        self.lane(side).unlock(token).map(|_| ())
    }

    pub(super) fn abandon(
        &mut self,
        side: Side,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        self.catch_up(now);
        let message = self.lane(side).unlock(token)?;
        match side {
            Side::Main => self.return_message(message),
            Side::DeadLetter => self.dead.push(message),
        }
        // The message may have expired while it was locked.
        self.catch_up(now);
        Ok(())
    }

    pub(super) fn renew(
        &mut self,
        side: Side,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, BrokerError> {
        self.catch_up(now);
        let duration = self.options.lock_duration;
        self.lane(side).renew(token, duration, now)
    }

    /// Dead-letters a locked message; a message that is dead-lettered already gets the new reason.
    pub(super) fn dead_letter(
        &mut self,
        side: Side,
        token: &str,
        letter: DeadLetter,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        self.catch_up(now);
        let message = self.lane(side).unlock(token)?;
        self.bury(message, letter);
        Ok(())
    }

    pub(super) fn counts(&mut self, now: OffsetDateTime) -> ServiceBusCounts {
        self.catch_up(now);
        ServiceBusCounts {
            active: self.main.len(),
            scheduled: self.scheduled.len(),
            dead_letter: self.dead.len(),
        }
    }

    pub(super) fn purge(&mut self, side: Side) {
        *self.lane(side) = Lane::default();
        if side == Side::Main {
            self.scheduled.clear();
        }
    }

    pub(super) fn next_message(&mut self, side: Side, now: OffsetDateTime) -> NextMessage {
        self.catch_up(now);
        if self.lane(side).has_ready() {
            return NextMessage::Ready;
        }
        // A lock that expires can fill either lane, also with a message that expired while locked.
        let scheduled = self.scheduled.keys().next().map(|(moment, _)| *moment);
        [scheduled, self.main.next_deadline(), self.dead.next_deadline()]
            .into_iter()
            .flatten()
            .min()
            .map_or(NextMessage::NotInSight, NextMessage::At)
    }

    /// Holds a message back until `moment`.
    pub(super) fn schedule(&mut self, moment: OffsetDateTime, message: NewMessage) {
        self.scheduled_so_far += 1;
        self.scheduled.insert((moment, self.scheduled_so_far), message);
    }

    /// Applies all changes that are due by `now`: scheduled messages arrive, and locks and messages
    /// expire.
    fn catch_up(&mut self, now: OffsetDateTime) {
        if let Some(window) = self.options.duplicate_detection {
            self.history.forget_before(
                now.checked_sub(window.try_into().unwrap_or(time::Duration::MAX))
                    .unwrap_or(OffsetDateTime::UNIX_EPOCH),
            );
        }
        while let Some(first) = self.scheduled.first_entry().filter(|first| first.key().0 <= now) {
            let ((moment, _), message) = first.remove_entry();
            self.enqueue(message, moment);
        }
        while let Some(message) = self.main.pop_overdue(now) {
            self.return_message(message);
        }
        while let Some(message) = self.dead.pop_overdue(now) {
            self.dead.push(message);
        }
        while let Some(message) = self.main.pop_expired(now) {
            if self.options.on_expiry == OnExpiry::DeadLetter {
                self.bury(
                    message,
                    DeadLetter {
                        reason: "TTLExpiredException".to_owned(),
                        description: "The message expired and was dead lettered.".to_owned(),
                    },
                );
            }
        }
    }

    fn enqueue(&mut self, content: NewMessage, moment: OffsetDateTime) {
        self.last_sequence_number += 1;
        let longest = self.options.default_time_to_live;
        let life = content.time_to_live.map_or(longest, |life| life.min(longest));
        self.main.push(Box::new(Stored {
            content,
            sequence_number: self.last_sequence_number,
            delivery_count: 0,
            enqueued: moment,
            expires: later(moment, life),
            dead_letter: None,
        }));
    }

    /// Returns a message whose lock ended without completion: it is available again, or
    /// dead-lettered after its last delivery.
    fn return_message(&mut self, message: Box<Stored>) {
        let deliveries = self.options.max_delivery_count;
        if message.delivery_count < deliveries {
            return self.main.push(message);
        }
        let letter = DeadLetter {
            reason: "MaxDeliveryCountExceeded".to_owned(),
            description: format!(
                "Message could not be consumed after {deliveries} delivery attempts."
            ),
        };
        self.bury(message, letter);
    }

    fn bury(&mut self, mut message: Box<Stored>, letter: DeadLetter) {
        self.dead_lettered += 1;
        message.dead_letter = Some(letter);
        // Dead letters do not expire.
        message.expires = NEVER;
        self.dead.push(message);
    }

    fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Main => &mut self.main,
            Side::DeadLetter => &mut self.dead,
        }
    }
}
