//! One Service Bus queue: what happens to a message between its arrival and its end.

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

/// What is set when a queue is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueOptions {
    /// How long a receiver has a message for itself; 60 s.
    pub lock_duration: Duration,
    /// After so many deliveries a message that is not completed becomes a dead letter; 10.
    pub max_delivery_count: u32,
    /// For how long a second message with the same id is dropped; `None`: never. The usual window
    /// is 10 minutes.
    pub duplicate_detection: Option<Duration>,
    /// The most that one send may carry, bytes; 256 KiB, as in the Standard tier.
    pub max_message_bytes: usize,
    /// The longest life of a message, and that of one which says nothing about it; 14 days.
    pub default_time_to_live: Duration,
    /// What becomes of a message at the end of its life.
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

/// What becomes of a message at the end of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It vanishes; the service's default.
    Discard,
    /// It becomes a dead letter with the reason `TTLExpiredException`.
    DeadLetter,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceBusCounts {
    /// Available or locked.
    pub active: usize,
    /// Waiting for their time.
    pub scheduled: usize,
    /// In `$DeadLetterQueue`, available or locked.
    pub dead_letter: usize,
}

/// Which of a queue's two lanes a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Main,
    DeadLetter,
}

/// The state behind a queue's lock.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) options: QueueOptions,
    pub(super) main: Lane,
    pub(super) dead: Lane,
    /// By time and order of arrival.
    pub(super) scheduled: BTreeMap<(OffsetDateTime, u64), NewMessage>,
    pub(super) history: History,
    pub(super) last_sequence_number: i64,
    /// Messages that became dead letters, ever.
    pub(super) dead_lettered: u64,
    scheduled_so_far: u64,
}

/// The message ids that duplicate detection remembers.
#[derive(Debug, Default)]
pub(super) struct History {
    ids: HashSet<Arc<str>>,
    /// In the order of their arrival: the first ones are forgotten first.
    pub(super) arrivals: VecDeque<(OffsetDateTime, Arc<str>)>,
}

impl History {
    /// Whether this id is new; if so, it is remembered.
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
        // Its life may have ended under the lock.
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

    /// Moves a locked message to the dead letters; one that is there already gets the new reason.
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
        // A lock that runs out, or a life that ends under one, can fill either lane.
        let scheduled = self.scheduled.keys().next().map(|(moment, _)| *moment);
        [scheduled, self.main.next_deadline(), self.dead.next_deadline()]
            .into_iter()
            .flatten()
            .min()
            .map_or(NextMessage::NotInSight, NextMessage::At)
    }

    /// Puts a message aside until `moment`.
    pub(super) fn schedule(&mut self, moment: OffsetDateTime, message: NewMessage) {
        self.scheduled_so_far += 1;
        self.scheduled.insert((moment, self.scheduled_so_far), message);
    }

    /// Everything that time alone does: scheduled messages arrive, locks run out, lives end.
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

    /// A message whose lock ended without completion: available again, unless it had all its
    /// deliveries.
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
