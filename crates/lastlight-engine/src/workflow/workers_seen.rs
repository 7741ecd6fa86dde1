//! Which workers this process has seen, and the handlers that they serve: kept in memory, and written
//! together every few seconds, so that a worker that asks often costs no more than one that waits.
//! For people only: no task depends on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Controller;
use crate::{
    model::WorkerHandler,
    store::{RunningTask, WorkerSeen},
};

/// Interval between writes.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// Maximum number of workers that are kept between two writes.
const MOST: usize = 2000;

/// A heartbeat's attempts are kept up to this number.
const MOST_RUNNING: usize = 100;

/// The workers that were seen since they were last written.
#[derive(Debug, Default)]
pub(super) struct WorkersSeen(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    workers: BTreeMap<String, WorkerSeen>,
    handlers: BTreeSet<WorkerHandler>,
    is_written: bool,
}

impl WorkersSeen {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller {
    /// Notes that a worker asks for tasks of these handlers.
    pub(super) fn worker_asks(&self, worker_id: &str, queue: &str, handlers: &[String]) {
        let mut seen = self.0.workers_seen.seen();
        for name in handlers {
            seen.handlers.insert(WorkerHandler { queue: queue.to_owned(), name: name.clone() });
        }
        if let Some(worker) = worker(&mut seen.workers, worker_id) {
            worker.asks = Some((queue.to_owned(), handlers.to_vec()));
        }
        self.write_seen(seen);
    }

    /// Notes what a worker's heartbeat names.
    pub(super) fn worker_beats(&self, worker_id: &str, running: &[RunningTask]) {
        let mut seen = self.0.workers_seen.seen();
        if let Some(worker) = worker(&mut seen.workers, worker_id) {
            worker.running = Some(running.iter().take(MOST_RUNNING).cloned().collect());
        }
        self.write_seen(seen);
    }

    /// Writes what was seen a little later, unless that is under way.
    fn write_seen(&self, mut seen: MutexGuard<'_, Seen>) {
        if std::mem::replace(&mut seen.is_written, true) {
            return;
        }
        drop(seen);
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            // The first one at once, so that a worker that was just started is seen.
            loop {
                let Some(shared) = shared.upgrade() else { return };
                let (workers, handlers) = {
                    let mut seen = shared.workers_seen.seen();
                    if seen.workers.is_empty() && seen.handlers.is_empty() {
                        seen.is_written = false;
                        return;
                    }
                    (std::mem::take(&mut seen.workers), std::mem::take(&mut seen.handlers))
                };
                let handlers: Vec<WorkerHandler> = handlers.into_iter().collect();
                let written = async {
                    shared.database.workers().note_served(&handlers).await?;
                    shared.database.workers().note_seen(&workers).await
                };
                if let Err(error) = written.await {
                    tracing::warn!(%error, "the workers that were seen could not be written");
                }
                drop(shared);
                tokio::time::sleep(WRITTEN_EVERY).await;
            }
        });
    }
}

fn worker<'a>(
    workers: &'a mut BTreeMap<String, WorkerSeen>,
    worker_id: &str,
) -> Option<&'a mut WorkerSeen> {
    if workers.len() >= MOST && !workers.contains_key(worker_id) {
        return None;
    }
    Some(workers.entry(worker_id.to_owned()).or_default())
}
