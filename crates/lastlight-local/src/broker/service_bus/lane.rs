//! Available and locked messages: a queue has one lane for its messages and one for its dead
//! letters. Every operation is O(log n).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        BrokerError,
        clock::{NEVER, later},
    },
    message::{LockedMessage, Stored},
};

/// One lane. Messages are boxed, so that moving one between the maps moves only a pointer.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// By sequence number: first in, first out; an abandoned message returns to its old position.
    ready: BTreeMap<i64, Box<Stored>>,
    locked: HashMap<Uuid, Locked>,
    deadlines: BTreeSet<(OffsetDateTime, Uuid)>,
    /// Ready messages that expire. A locked message does not expire.
    expiries: BTreeSet<(OffsetDateTime, i64)>,
}

#[derive(Debug)]
struct Locked {
    message: Box<Stored>,
    until: OffsetDateTime,
}

impl Lane {
    /// Makes a new or returned message available.
    pub(super) fn push(&mut self, message: Box<Stored>) {
        if message.expires < NEVER {
            self.expiries.insert((message.expires, message.sequence_number));
        }
        self.ready.insert(message.sequence_number, message);
    }

    /// Locks and returns the oldest available messages, each under its own lock.
    pub(super) fn lock(
        &mut self,
        max: usize,
        duration: Duration,
        now: OffsetDateTime,
    ) -> Vec<LockedMessage> {
        let until = later(now, duration);
        let mut received = Vec::with_capacity(max.min(self.ready.len()));
        while received.len() < max {
            let Some((_, mut message)) = self.ready.pop_first() else {
                break;
            };
            self.expiries.remove(&(message.expires, message.sequence_number));
            message.delivery_count = message.delivery_count.saturating_add(1);
            let token = Uuid::new_v4();
            received.push(message.show(token, until));
            self.deadlines.insert((until, token));
            self.locked.insert(token, Locked { message, until });
        }
        received
    }

    /// Ends a lock and returns its message.
    pub(super) fn unlock(&mut self, token: &str) -> Result<Box<Stored>, BrokerError> {
        let token = Uuid::try_parse(token).map_err(|_| BrokerError::LockLost)?;
        let locked = self.locked.remove(&token).ok_or(BrokerError::LockLost)?;
        self.deadlines.remove(&(locked.until, token));
        Ok(locked.message)
    }

    /// Extends a lock to `duration` from now.
    pub(super) fn renew(
        &mut self,
        token: &str,
        duration: Duration,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, BrokerError> {
        let token = Uuid::try_parse(token).map_err(|_| BrokerError::LockLost)?;
        let locked = self.locked.get_mut(&token).ok_or(BrokerError::LockLost)?;
        self.deadlines.remove(&(locked.until, token));
        locked.until = later(now, duration);
        self.deadlines.insert((locked.until, token));
        Ok(locked.until)
    }

    /// Removes and returns one message whose lock expired by `now`.
    pub(super) fn pop_overdue(&mut self, now: OffsetDateTime) -> Option<Box<Stored>> {
        let &(until, token) = self.deadlines.first().filter(|(until, _)| *until <= now)?;
        self.deadlines.remove(&(until, token));
        self.locked.remove(&token).map(|locked| locked.message)
    }

    /// Removes and returns one available message that expired by `now`.
    pub(super) fn pop_expired(&mut self, now: OffsetDateTime) -> Option<Box<Stored>> {
        let &(expires, sequence_number) =
            self.expiries.first().filter(|(expires, _)| *expires <= now)?;
        self.expiries.remove(&(expires, sequence_number));
        self.ready.remove(&sequence_number)
    }

    /// Whether a message can be received now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next lock expires.
    pub(super) fn next_deadline(&self) -> Option<OffsetDateTime> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Number of messages in the lane, locked or not.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.locked.len()
    }

    /// All messages, locked or not, in any order.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Stored> {
        let locked = self.locked.values().map(|locked| &*locked.message);
        self.ready.values().map(|message| &**message).chain(locked)
    }
}
