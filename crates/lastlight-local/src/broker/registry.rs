//! The named queues of one service. Each has its own lock, and a notification for waiting
//! receivers.
//!
//! A lock is held for a single operation and never across an await.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{BrokerError, Clock, clock::later};

/// When a queue has a message to deliver.
pub(super) enum NextMessage {
    Ready,
    /// At this time a delay or a lock ends, unless a message arrives earlier.
    At(OffsetDateTime),
    /// Only when a message is sent.
    NotInSight,
}

/// The state of one queue, and the notification that a message may have become visible.
#[derive(Debug)]
pub(super) struct Cell<T> {
    state: Mutex<T>,
    bell: Notify,
}

impl<T> Cell<T> {
    fn new(state: T) -> Self {
        Self { state: Mutex::new(state), bell: Notify::new() }
    }

    /// Runs `action` on the queue under its lock.
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        // Nothing panics under this lock; if something did, the state would still be usable.
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes all receivers that wait for a message of this queue.
    pub(super) fn ring(&self) {
        self.bell.notify_waiters();
    }

    /// Returns when `next` reports a ready message, or after `at_most`.
    pub(super) async fn wait(
        &self,
        clock: &Clock,
        at_most: Duration,
        next: impl Fn(&mut T, OffsetDateTime) -> NextMessage,
    ) {
        let give_up = later(clock.now(), at_most);
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            // Subscribe before checking, or a message that arrives in between would be missed.
            rung.as_mut().enable();
            let now = clock.now();
            let wake = match self.with(|state| next(state, now)) {
                NextMessage::Ready => return,
                NextMessage::At(moment) => moment.min(give_up),
                NextMessage::NotInSight => give_up,
            };
            if now >= give_up {
                return;
            }
            tokio::select! {
                () = rung => {}
                () = clock.sleep_until(wake) => {}
            }
        }
    }
}

/// All queues of one service by name.
#[derive(Debug)]
pub(super) struct Registry<T> {
    queues: RwLock<BTreeMap<String, Arc<Cell<T>>>>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { queues: RwLock::default() }
    }
}

impl<T> Registry<T> {
    /// The queue of this name.
    pub(super) fn get(&self, name: &str) -> Result<Arc<Cell<T>>, BrokerError> {
        self.queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
            .ok_or_else(|| BrokerError::QueueNotFound { queue: name.to_owned() })
    }

    /// The queue of this name, created with `make` if missing; and whether it was created now.
    pub(super) fn get_or_create(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> (Arc<Cell<T>>, Creation) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = queues.get(name) {
            return (cell.clone(), Creation::Existed);
        }
        let cell = Arc::new(Cell::new(make()));
        queues.insert(name.to_owned(), cell.clone());
        (cell, Creation::Created)
    }

    /// Replaces the queue of this name with a restored one and wakes the receivers that wait for
    /// it.
    pub(super) fn put(&self, name: &str, queue: T) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        match queues.get(name) {
            Some(cell) => {
                cell.with(|state| *state = queue);
                cell.ring();
            }
            None => {
                queues.insert(name.to_owned(), Arc::new(Cell::new(queue)));
            }
        }
    }

    /// Removes the queue and returns it, if it exists.
    pub(super) fn remove(&self, name: &str) -> Option<Arc<Cell<T>>> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.remove(name)
    }

    /// All queues, by name.
    pub(super) fn all(&self) -> Vec<(String, Arc<Cell<T>>)> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(|(name, cell)| (name.clone(), cell.clone())).collect()
    }
}

/// Whether a queue was created by this call or existed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    Created,
    Existed,
}
