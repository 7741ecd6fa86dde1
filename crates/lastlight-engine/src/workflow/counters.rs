//! This process's own counters, for `GET /api/metrics`. Must not know how metrics are presented.
//!
//! Sending uses atomics; only the end of a sweep, once a minute, takes a lock. Nothing here is
//! persisted: a process that starts counts from zero, as Prometheus expects of a counter.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    ArchiveCounts, Controller, NotificationSends, ReconcileReport, memory::MemoryUse,
    worker_times::QueueTimes,
};
use crate::{
    model::{ProcessingPath, clock},
    store::{GroupSizes, PoolUse},
    transport::sender::{BatchSendReport, SendError},
};

/// The counters of a process.
#[derive(Debug)]
pub(super) struct Counters {
    process: String,
    sends: [SendCounters; ProcessingPath::ALL.len()],
    deferred: AtomicU64,
    sweeps: Mutex<Sweeps>,
}

#[derive(Debug, Default)]
struct SendCounters {
    messages: AtomicU64,
    throttled: AtomicU64,
    unavailable: AtomicU64,
    refused: AtomicU64,
}

/// The results of sends on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sends {
    pub path: ProcessingPath,
    /// Messages that the queue accepted.
    pub messages: u64,
    /// Requests that the queue throttled.
    pub throttled: u64,
    /// Requests that the queue did not answer.
    pub unavailable: u64,
    /// Requests that the queue rejected for good.
    pub refused: u64,
}

/// The sweeps that this process finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweeps {
    pub ended: u64,
    /// When the last one ended.
    pub last: Option<OffsetDateTime>,
    /// What they found, by the names of [`ReconcileReport`].
    pub found: BTreeMap<String, u64>,
}

/// The metrics of a process about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessMetrics {
    /// The process's id; a new one after each start.
    pub process: String,
    pub sends: Vec<Sends>,
    /// Tasks that it deferred because no slot was free.
    pub tasks_deferred: u64,
    pub sweeps: Sweeps,
    pub claims: GroupSizes,
    pub completions: GroupSizes,
    /// Tasks between their claim and their outcome.
    pub tasks_running: usize,
    /// Maximum number of such tasks.
    pub tasks_at_most: usize,
    /// Memory that it holds for parameters and results.
    pub memory: MemoryUse,
    /// How long tasks for workers waited and ran, by queue.
    pub worker_times: BTreeMap<String, QueueTimes>,
    /// Connections to the database.
    pub pool: PoolUse,
    /// Attempts at notifications.
    pub notifications: NotificationSends,
    /// What it archived; `None`: there is no archive.
    pub archive: Option<ArchiveCounts>,
}

impl Counters {
    /// All zero, with a new id for the process.
    pub(super) fn new() -> Self {
        let mut process = Uuid::new_v4().simple().to_string();
        process.truncate(8);
        Self {
            process,
            sends: Default::default(),
            deferred: AtomicU64::new(0),
            // All names exist from the start, with zero: a series that begins with what the first
            // sweep found shows no increase.
            sweeps: Mutex::new(Sweeps {
                found: counts(&ReconcileReport::default()).collect(),
                ..Sweeps::default()
            }),
        }
    }

    pub(super) fn note_send(&self, path: ProcessingPath, report: &BatchSendReport) {
        let counters = &self.sends[path as usize];
        let messages = report.messages_sent as u64;
        counters.messages.fetch_add(messages, Ordering::Relaxed);
        for error in &report.errors {
            let counter = match error {
                SendError::Throttled { .. } => &counters.throttled,
                SendError::Unavailable { .. } => &counters.unavailable,
                SendError::Unauthorized { .. }
                | SendError::QueueNotFound { .. }
                | SendError::Oversize { .. }
                | SendError::Refused { .. } => &counters.refused,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn note_deferred(&self) {
        self.deferred.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_sweep(&self, report: &ReconcileReport) {
        let mut sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        sweeps.ended += 1;
        sweeps.last = Some(clock::now());
        for (name, count) in counts(report) {
            *sweeps.found.entry(name).or_default() += count;
        }
    }
}

/// What a sweep found, by name.
fn counts(report: &ReconcileReport) -> impl Iterator<Item = (String, u64)> {
    let found = match serde_json::to_value(report) {
        Ok(Value::Object(found)) => found,
        _ => serde_json::Map::new(),
    };
    found.into_iter().map(|(name, count)| (name, count.as_u64().unwrap_or_default()))
}

impl Controller {
    /// The metrics of this process since it started. Queries no other service.
    pub fn process_metrics(&self) -> ProcessMetrics {
        let shared = &self.0;
        let sends = ProcessingPath::ALL.into_iter().map(|path| {
            let counters = &shared.counters.sends[path as usize];
            Sends {
                path,
                messages: counters.messages.load(Ordering::Relaxed),
                throttled: counters.throttled.load(Ordering::Relaxed),
                unavailable: counters.unavailable.load(Ordering::Relaxed),
                refused: counters.refused.load(Ordering::Relaxed),
            }
        });
        let sweeps = shared.counters.sweeps.lock();
        let tasks_at_most = shared.timing.tasks_in_flight;
        ProcessMetrics {
            process: shared.counters.process.clone(),
            sends: sends.collect(),
            tasks_deferred: shared.counters.deferred.load(Ordering::Relaxed),
            sweeps: sweeps.unwrap_or_else(PoisonError::into_inner).clone(),
            claims: shared.claims.group_sizes(),
            completions: shared.completions.group_sizes(),
            tasks_running: shared.room.taken(),
            tasks_at_most,
            memory: shared.memory.in_use(),
            worker_times: shared.worker_times.all(),
            pool: shared.database.pool_use(),
            notifications: shared.notification_counters.read(),
            archive: self.archive().map(|_| self.archive_counts()),
        }
    }
}
