//! The named queues of one service: each behind a lock of its own, with a bell for those who wait
//! for it.
//!
//! Locks are held for single operations only and never across an await.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{BrokerError, Clock, clock::later};

/// When a queue has a message to give out.
pub(super) enum NextMessage {
    Ready,
    /// Then, unless something happens before: a delay or a lock ends.
    At(OffsetDateTime),
    /// Not before somebody sends one.
    NotInSight,
}

/// One queue's state and the bell that rings when a message may have become visible.
#[derive(Debug)]
pub(super) struct Cell<T> {
    state: Mutex<T>,
    bell: Notify,
}

impl<T> Cell<T> {
    fn new(state: T) -> Self {
        Self { state: Mutex::new(state), bell: Notify::new() }
    }

    /// Does something to the queue, alone.
    pub(super) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        // Nothing panics under this lock; should it ever, the state is still the best there is.
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes everybody who waits for a message of this queue.
    pub(super) fn ring(&self) {
        self.bell.notify_waiters();
    }

    /// Returns when `next` says that a message is ready, after `at_most` otherwise.
    pub(super) async fn wait(
        &self,
        clock: &Clock,
        at_most: Duration,
        next: impl Fn(&mut T, OffsetDateTime) -> NextMessage,
    ) {
        let give_up = later(clock.now(), at_most);
        loop {
            let mut rung = std::pin::pin!(self.bell.notified());
            // Listen before looking, or a message put in between would be slept through.
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

    /// The queue of this name, made by `make` if there is none; whether it was made now.
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

    /// Puts a restored queue in the place of whatever has its name; those who wait for it look
    /// again.
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

    /// Takes the queue away and gives it to the caller, if it was there.
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

/// Whether a queue was made by this call or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    Created,
    /// Was there before.
    Existed,
}
