//! The messages of one Storage Queue. Every operation is O(log n).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        BrokerError,
        clock::{NEVER, later},
        registry::NextMessage,
    },
    MAX_MESSAGE_BYTES, QueueMessage,
};

/// Number of a message in the order of arrival; the lower half of its id.
pub(super) type Number = u64;

/// A message in the queue.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Stored {
    pub(super) body: String,
    pub(super) dequeue_count: u32,
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub(super) inserted: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub(super) expires: OffsetDateTime,
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub(super) visible: OffsetDateTime,
    /// The latest receipt of the message, from a counter of the queue.
    #[serde(skip)]
    pub(super) receipt: u64,
}

/// The state of a queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) messages: HashMap<Number, Stored>,
    /// The upper half of ids and receipts, so that those of another or a deleted queue do not
    /// match.
    pub(super) epoch: u64,
    pub(super) next_number: Number,
    next_receipt: u64,
    /// All messages by the time when they become visible: the first ones are received first.
    by_visibility: BTreeSet<(OffsetDateTime, Number)>,
    /// The messages that expire.
    by_expiry: BTreeSet<(OffsetDateTime, Number)>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::with_epoch(Uuid::new_v4().as_u64_pair().0, 1)
    }

    /// An empty queue that continues the numbers of another one.
    pub(super) fn with_epoch(epoch: u64, next_number: Number) -> Self {
        Self {
            metadata: BTreeMap::new(),
            messages: HashMap::new(),
            epoch,
            next_number,
            next_receipt: 1,
            by_visibility: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
        }
    }

    pub(super) fn put(
        &mut self,
        body: String,
        visibility_delay: Duration,
        time_to_live: Option<Duration>,
        now: OffsetDateTime,
    ) -> Result<QueueMessage, BrokerError> {
        check_size(&body)?;
        self.drop_expired(now);
        let number = self.next_number;
        let stored = Stored {
            body,
            dequeue_count: 0,
            inserted: now,
            expires: time_to_live.map_or(NEVER, |time_to_live| later(now, time_to_live)),
            visible: later(now, visibility_delay),
            receipt: self.new_receipt(),
        };
        let message = self.show(number, &stored);
        self.insert(number, stored);
        Ok(message)
    }

    /// Inserts a new or restored message under its number.
    pub(super) fn insert(&mut self, number: Number, stored: Stored) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.by_visibility.insert((stored.visible, number));
        if stored.expires < NEVER {
            self.by_expiry.insert((stored.expires, number));
        }
        self.messages.insert(number, stored);
    }

    pub(super) fn receive(
        &mut self,
        max: usize,
        visibility: Duration,
        now: OffsetDateTime,
    ) -> Vec<QueueMessage> {
        self.drop_expired(now);
        let mut received = Vec::with_capacity(max.min(self.messages.len()).min(32));
        let until = later(now, visibility);
        let mut hidden = Vec::new();
        while received.len() < max {
            let Some(&first) = self.by_visibility.first().filter(|(visible, _)| *visible <= now)
            else {
                break;
            };
            self.by_visibility.remove(&first);
            let number = first.1;
            let receipt = self.new_receipt();
            let Some(stored) = self.messages.get_mut(&number) else {
                continue;
            };
            stored.dequeue_count = stored.dequeue_count.saturating_add(1);
            stored.visible = until;
            stored.receipt = receipt;
            hidden.push((until, number));
            received.push(show(self.epoch, number, stored));
        }
        // Only now; otherwise a visibility of zero would deliver the same message again in this
        // call.
        self.by_visibility.extend(hidden);
        received
    }

    pub(super) fn peek(&mut self, max: usize, now: OffsetDateTime) -> Vec<QueueMessage> {
        self.drop_expired(now);
        self.by_visibility
            .iter()
            .take_while(|(visible, _)| *visible <= now)
            .take(max)
            .filter_map(|(_, number)| {
                let mut message = show(self.epoch, *number, self.messages.get(number)?);
                message.pop_receipt.clear();
                Some(message)
            })
            .collect()
    }

    pub(super) fn delete(
        &mut self,
        id: &str,
        pop_receipt: &str,
        now: OffsetDateTime,
    ) -> Result<(), BrokerError> {
        self.drop_expired(now);
        let number = self.find(id, pop_receipt)?;
        self.remove(number);
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        id: &str,
        pop_receipt: &str,
        visibility: Duration,
        body: Option<String>,
        now: OffsetDateTime,
    ) -> Result<QueueMessage, BrokerError> {
        if let Some(body) = &body {
            check_size(body)?;
        }
        self.drop_expired(now);
        let number = self.find(id, pop_receipt)?;
        let receipt = self.new_receipt();
        let Some(stored) = self.messages.get_mut(&number) else {
            return Err(BrokerError::MessageNotFound { id: id.to_owned() });
        };
        self.by_visibility.remove(&(stored.visible, number));
        stored.visible = later(now, visibility);
        stored.receipt = receipt;
        if let Some(body) = body {
            stored.body = body;
        }
        self.by_visibility.insert((stored.visible, number));
        Ok(show(self.epoch, number, stored))
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.by_visibility.clear();
        self.by_expiry.clear();
    }

    /// Number of messages in the queue, visible or not.
    pub(super) fn count(&mut self, now: OffsetDateTime) -> usize {
        self.drop_expired(now);
        self.messages.len()
    }

    pub(super) fn next_message(&mut self, now: OffsetDateTime) -> NextMessage {
        self.drop_expired(now);
        match self.by_visibility.first() {
            Some((visible, _)) if *visible <= now => NextMessage::Ready,
            Some((visible, _)) => NextMessage::At(*visible),
            None => NextMessage::NotInSight,
        }
    }

    fn drop_expired(&mut self, now: OffsetDateTime) {
        while let Some(&(expires, number)) = self.by_expiry.first() {
            if expires > now {
                break;
            }
            self.remove(number);
            self.by_expiry.remove(&(expires, number));
        }
    }

    fn remove(&mut self, number: Number) {
        if let Some(stored) = self.messages.remove(&number) {
            self.by_visibility.remove(&(stored.visible, number));
            self.by_expiry.remove(&(stored.expires, number));
        }
    }

    /// The number of the message with this id, if this receipt is its latest one.
    fn find(&self, id: &str, pop_receipt: &str) -> Result<Number, BrokerError> {
        let not_found = || BrokerError::MessageNotFound { id: id.to_owned() };
        let (epoch, number) = Uuid::try_parse(id).map_err(|_| not_found())?.as_u64_pair();
        let stored =
            self.messages.get(&number).filter(|_| epoch == self.epoch).ok_or_else(not_found)?;
        if receipt_text(self.epoch, stored.receipt) == pop_receipt {
            Ok(number)
        } else {
            Err(BrokerError::PopReceiptMismatch)
        }
    }

    fn new_receipt(&mut self) -> u64 {
        let receipt = self.next_receipt;
        self.next_receipt += 1;
        receipt
    }

    fn show(&self, number: Number, stored: &Stored) -> QueueMessage {
        show(self.epoch, number, stored)
    }
}

fn show(epoch: u64, number: Number, stored: &Stored) -> QueueMessage {
    QueueMessage {
        id: Uuid::from_u64_pair(epoch, number).to_string(),
        pop_receipt: receipt_text(epoch, stored.receipt),
        body: stored.body.clone(),
        dequeue_count: stored.dequeue_count,
        insertion_time: stored.inserted,
        expiration_time: stored.expires,
        next_visible_time: stored.visible,
    }
}

/// A receipt in base64 with padding, as in Azure: clients must escape it in a query.
fn receipt_text(epoch: u64, receipt: u64) -> String {
    BASE64_STANDARD.encode(Uuid::from_u64_pair(epoch, receipt).as_bytes())
}

fn check_size(body: &str) -> Result<(), BrokerError> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(BrokerError::TooLarge { bytes: body.len(), limit: MAX_MESSAGE_BYTES });
    }
    Ok(())
}
