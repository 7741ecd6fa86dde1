//! Heartbeats: the leases of the attempts that run in this process are extended together, with one
//! statement per beat. An attempt that no longer holds its task is told so: another attempt runs
//! it, or its job was cancelled.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::job::Notes;
use crate::model::{JobId, Stage};
use crate::store::{Database, RunningTask, StageKey};

type Running = Mutex<HashMap<RunningTask, Attempt>>;

/// How often what attempts say about themselves is stored.
const NOTES_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Default)]
struct Attempt {
    lost: CancellationToken,
    notes: Arc<Notes>,
}

/// The attempts that run in this process.
#[derive(Debug)]
pub(super) struct Heartbeat {
    running: Arc<Running>,
}

/// Extends the lease of its attempt until it is dropped.
#[derive(Debug)]
pub(super) struct Beating {
    running: Arc<Running>,
    task: RunningTask,
    attempt: Attempt,
}

impl Beating {
    /// Cancelled when the attempt no longer holds its task.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.attempt.lost
    }

    /// Returns when the attempt no longer holds its task, so that its outcome would be discarded.
    pub(super) async fn lost(&self) {
        self.attempt.lost.cancelled().await;
    }

    /// What the attempt says about itself.
    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.attempt.notes
    }
}

impl Heartbeat {
    /// Beats three times per lease.
    pub(super) fn start(database: Database, lease: Duration) -> Self {
        let running = Arc::<Running>::default();
        let watched = Arc::downgrade(&running);
        tokio::spawn(beat(database.clone(), lease, watched.clone()));
        tokio::spawn(store_notes(database, watched));
        Self { running }
    }

    /// Number of attempts that run in this process, by job and stage.
    pub(super) fn running(&self) -> Vec<(StageKey, i32)> {
        let mut counts = HashMap::<(JobId, Stage), i32>::new();
        for task in lock(&self.running).keys() {
            *counts.entry((task.job_id, task.stage)).or_default() += 1;
        }
        let count = |((job_id, stage), tasks)| (StageKey { job_id, stage }, tasks);
        let mut running: Vec<_> = counts.into_iter().map(count).collect();
        running.sort_unstable_by_key(|(key, _)| (key.job_id, key.stage));
        running
    }

    /// Extends the attempt's lease until the guard is dropped.
    pub(super) fn keep(&self, task: RunningTask) -> Beating {
        let running = Arc::clone(&self.running);
        let attempt = Attempt::default();
        lock(&running).insert(task.clone(), attempt.clone());
        Beating { running, task, attempt }
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.task);
    }
}

async fn beat(database: Database, lease: Duration, watched: Weak<Running>) {
    let mut beats = tokio::time::interval(lease / 3);
    loop {
        beats.tick().await;
        let Some(running) = watched.upgrade() else {
            return;
        };
        let tasks: Vec<RunningTask> = lock(&running).keys().cloned().collect();
        for some in tasks.chunks(1000) {
            match database.tasks().extend_leases(some, lease.as_secs_f64()).await {
                Ok(held) => {
                    let running = lock(&running);
                    // An attempt that ended in the meantime is not in the map any more.
                    let lost = some.iter().zip(held).filter(|(_, is_held)| !is_held);
                    for attempt in lost.filter_map(|(task, _)| running.get(task)) {
                        attempt.lost.cancel();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, tasks = some.len(), "leases could not be extended")
                }
            }
        }
    }
}

/// Stores what running attempts say about themselves, until the heartbeat is dropped.
async fn store_notes(database: Database, watched: Weak<Running>) {
    let mut looks = tokio::time::interval(NOTES_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(running) = watched.upgrade() else {
            return;
        };
        let changed: Vec<_> = lock(&running)
            .iter()
            .filter_map(|(task, attempt)| Some((task.clone(), attempt.notes.take_changed()?)))
            .collect();
        // A note of 64 KiB each: a few at a time.
        for some in changed.chunks(32) {
            if let Err(error) = database.tasks().write_notes(some).await {
                tracing::warn!(%error, tasks = some.len(), "progress of tasks could not be stored");
            }
        }
    }
}

fn lock(running: &Running) -> MutexGuard<'_, HashMap<RunningTask, Attempt>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
