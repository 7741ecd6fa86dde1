//! One Service Bus queue's messages, its dead letters among them. Every operation costs O(log n).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{BrokerError, clock::later, registry::NextMessage},
    LockedMessage, NewMessage, QueueOptions, ServiceBusCounts,
};

#[derive(Debug)]
struct Stored {
    message: NewMessage,
    message_id: String,
    enqueued: OffsetDateTime,
    expires: OffsetDateTime,
    delivery_count: u32,
    lock: Option<(Uuid, OffsetDateTime)>,
    dead_letter: Option<(String, String)>,
}

/// The state behind a queue's lock.
#[derive(Debug)]
pub(super) struct Queue {
    options: QueueOptions,
    messages: HashMap<i64, Stored>,
    next_number: i64,
    ready: BTreeSet<i64>,
    scheduled: BTreeSet<(OffsetDateTime, i64)>,
    locks: BTreeSet<(OffsetDateTime, i64)>,
    by_token: HashMap<Uuid, i64>,
    seen: HashMap<String, OffsetDateTime>,
    seen_in_order: VecDeque<(OffsetDateTime, String)>,
    /// Dead letters have none of their own.
    dead: Option<Box<Queue>>,
}

/// Which half of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Live,
    Dead,
}

impl Queue {
    pub(super) fn new(options: QueueOptions) -> Self {
        Self {
            dead: Some(Box::new(Self::without_dead_letters(options))),
            ..Self::without_dead_letters(options)
        }
    }

    fn without_dead_letters(options: QueueOptions) -> Self {
        Self {
            options,
            messages: HashMap::new(),
            next_number: 1,
            ready: BTreeSet::new(),
            scheduled: BTreeSet::new(),
            locks: BTreeSet::new(),
            by_token: HashMap::new(),
            seen: HashMap::new(),
            seen_in_order: VecDeque::new(),
            dead: None,
        }
    }

    pub(super) fn half(&mut self, half: Half) -> &mut Self {
        match half {
            Half::Dead if self.dead.is_some() => match &mut self.dead {
                Some(dead) => dead,
                None => unreachable!("just looked"),
            },
            _ => self,
        }
    }

    /// All or nothing. A message whose id was seen within the window is swallowed.
    pub(super) fn send(&mut self, messages: Vec<NewMessage>, now: OffsetDateTime) -> Result<(), BrokerError> {
        let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
        if bytes > self.options.max_message_bytes {
            return Err(BrokerError::TooLarge {
                bytes,
                limit: self.options.max_message_bytes,
            });
        }
        for message in messages {
            if !self.is_duplicate(&message, now) {
                self.enqueue(message, now);
            }
        }
        Ok(())
    }

    fn is_duplicate(&mut self, message: &NewMessage, now: OffsetDateTime) -> bool {
        let (Some(window), Some(id)) = (self.options.duplicate_detection, &message.message_id) else {
            return false;
        };
        while self.seen_in_order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((until, id)) = self.seen_in_order.pop_front()
                && self.seen.get(&id) == Some(&until)
            {
                self.seen.remove(&id);
            }
        }
        if self.seen.contains_key(id) {
            return true;
        }
        let until = later(now, window);
        self.seen.insert(id.clone(), until);
        self.seen_in_order.push_back((until, id.clone()));
        false
    }

    fn enqueue(&mut self, message: NewMessage, now: OffsetDateTime) {
        let number = self.next_number;
        self.next_number += 1;
        let due = message.scheduled.filter(|due| *due > now);
        let lives = message.time_to_live.unwrap_or(self.options.default_time_to_live);
        let stored = Stored {
            message_id: message
                .message_id
                .clone()
                .unwrap_or_else(|| Uuid::new_v4().simple().to_string()),
            enqueued: due.unwrap_or(now),
            expires: later(due.unwrap_or(now), lives),
            delivery_count: 0,
            lock: None,
            dead_letter: None,
            message,
        };
        match due {
            Some(due) => self.scheduled.insert((due, number)),
            None => self.ready.insert(number),
        };
        self.messages.insert(number, stored);
    }

    pub(super) fn receive(&mut self, max: usize, now: OffsetDateTime) -> Vec<LockedMessage> {
        self.settle_time(now);
        let mut received = Vec::with_capacity(max.min(self.ready.len()));
        while received.len() < max {
            let Some(number) = self.ready.pop_first() else {
                break;
            };
            let until = later(now, self.options.lock_duration);
            let Some(stored) = self.messages.get_mut(&number) else {
                continue;
            };
            if stored.expires <= now {
                self.messages.remove(&number);
                continue;
            }
            let token = Uuid::new_v4();
            stored.delivery_count += 1;
            stored.lock = Some((token, until));
            self.locks.insert((until, number));
            self.by_token.insert(token, number);
            received.push(show(number, stored, token, until));
        }
        received
    }

    pub(super) fn complete(&mut self, token: &str, now: OffsetDateTime) -> Result<(), BrokerError> {
        let number = self.unlock(token, now)?;
        self.messages.remove(&number);
        Ok(())
    }

    pub(super) fn abandon(&mut self, token: &str, now: OffsetDateTime) -> Result<(), BrokerError> {
        let number = self.unlock(token, now)?;
        self.give_back(number);
        Ok(())
    }

    pub(super) fn renew(&mut self, token: &str, now: OffsetDateTime) -> Result<OffsetDateTime, BrokerError> {
        self.settle_time(now);
        let until = later(now, self.options.lock_duration);
        let token = Uuid::try_parse(token).map_err(|_| BrokerError::LockLost)?;
        let number = *self.by_token.get(&token).ok_or(BrokerError::LockLost)?;
        let stored = self.messages.get_mut(&number).ok_or(BrokerError::LockLost)?;
        if let Some((_, old)) = stored.lock.replace((token, until)) {
            self.locks.remove(&(old, number));
        }
        self.locks.insert((until, number));
        Ok(until)
    }

    pub(super) fn dead_letter(
        &mut self,
        token: &str,
        reason: &str,
        description: &str,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        let number = self.unlock(token, now)?;
        self.bury(number, reason, description);
        Ok(())
    }

    pub(super) fn counts(&mut self, now: OffsetDateTime) -> ServiceBusCounts {
        self.settle_time(now);
        ServiceBusCounts {
            active: self.messages.len() - self.scheduled.len(),
            scheduled: self.scheduled.len(),
            dead_letter: self.dead.as_ref().map_or(0, |dead| dead.messages.len()),
        }
    }

    pub(super) fn purge(&mut self) {
        self.messages.clear();
        self.ready.clear();
        self.scheduled.clear();
        self.locks.clear();
        self.by_token.clear();
    }

    pub(super) fn next_message(&mut self, now: OffsetDateTime) -> NextMessage {
        self.settle_time(now);
        if !self.ready.is_empty() {
            return NextMessage::Ready;
        }
        let scheduled = self.scheduled.first().map(|(due, _)| *due);
        let unlocked = self.locks.first().map(|(until, _)| *until);
        match scheduled.into_iter().chain(unlocked).min() {
            Some(moment) => NextMessage::At(moment),
            None => NextMessage::NotInSight,
        }
    }

    /// Messages and what their delivery counts are, for a snapshot.
    pub(super) fn export(&self) -> BTreeMap<i64, (NewMessage, u32)> {
        self.messages
            .iter()
            .map(|(number, stored)| {
                let message = NewMessage {
                    message_id: Some(stored.message_id.clone()),
                    ..stored.message.clone()
                };
                (*number, (message, stored.delivery_count))
            })
            .collect()
    }

    /// Takes a message in from a snapshot; whoever had locked it is gone.
    pub(super) fn import(&mut self, message: NewMessage, delivery_count: u32, now: OffsetDateTime) {
        let number = self.next_number;
        self.enqueue(message, now);
        if let Some(stored) = self.messages.get_mut(&number) {
            stored.delivery_count = delivery_count;
        }
    }

    /// What time alone does: scheduled messages fall due, locks end.
    fn settle_time(&mut self, now: OffsetDateTime) {
        while let Some(&(due, number)) = self.scheduled.first().filter(|(due, _)| *due <= now) {
            self.scheduled.remove(&(due, number));
            self.ready.insert(number);
        }
        while let Some(&(until, number)) = self.locks.first().filter(|(until, _)| *until <= now) {
            self.locks.remove(&(until, number));
            if let Some((token, _)) = self
                .messages
                .get_mut(&number)
                .and_then(|stored| stored.lock.take())
            {
                self.by_token.remove(&token);
                self.give_back(number);
            }
        }
    }

    fn unlock(&mut self, token: &str, now: OffsetDateTime) -> Result<i64, BrokerError> {
        self.settle_time(now);
        let token = Uuid::try_parse(token).map_err(|_| BrokerError::LockLost)?;
        let number = self.by_token.remove(&token).ok_or(BrokerError::LockLost)?;
        if let Some((_, until)) = self
            .messages
            .get_mut(&number)
            .and_then(|stored| stored.lock.take())
        {
            self.locks.remove(&(until, number));
        }
        Ok(number)
    }

    /// Back to its place in the order, or to the dead letters if it was delivered too often.
    fn give_back(&mut self, number: i64) {
        let deliveries = self
            .messages
            .get(&number)
            .map_or(0, |stored| stored.delivery_count);
        if self.dead.is_some() && deliveries >= self.options.max_delivery_count {
            let description = format!("Message could not be consumed after {deliveries} delivery attempts.");
            self.bury(number, "MaxDeliveryCountExceeded", &description);
        } else {
            self.ready.insert(number);
        }
    }

    fn bury(&mut self, number: i64, reason: &str, description: &str) {
        let (Some(mut stored), Some(dead)) = (self.messages.remove(&number), &mut self.dead) else {
            return;
        };
        stored.dead_letter = Some((reason.to_owned(), description.to_owned()));
        stored.lock = None;
        let number = dead.next_number;
        dead.next_number += 1;
        dead.ready.insert(number);
        dead.messages.insert(number, stored);
    }
}

fn show(number: i64, stored: &Stored, token: Uuid, until: OffsetDateTime) -> LockedMessage {
    let NewMessage {
        body,
        correlation_id,
        content_type,
        label,
        application_properties,
        ..
    } = &stored.message;
    LockedMessage {
        body: body.clone(),
        message_id: stored.message_id.clone(),
        correlation_id: correlation_id.clone(),
        content_type: content_type.clone(),
        label: label.clone(),
        application_properties: application_properties.clone(),
        sequence_number: number,
        delivery_count: stored.delivery_count,
        lock_token: token.to_string(),
        locked_until: until,
        enqueued_time: stored.enqueued,
        expires_at: stored.expires,
        dead_letter_reason: stored.dead_letter.as_ref().map(|(reason, _)| reason.clone()),
        dead_letter_description: stored
            .dead_letter
            .as_ref()
            .map(|(_, description)| description.clone()),
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::new(QueueOptions {
            lock_duration: Duration::from_secs(60),
            ..QueueOptions::default()
        })
    }
}
