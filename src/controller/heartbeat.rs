//! Heartbeats: the leases of the attempts that run in this process are extended together, one statement a beat.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use crate::repositories::postgres::{Database, RunningTask};

type Running = Arc<Mutex<HashSet<RunningTask>>>;

/// The attempts that run in this process.
#[derive(Debug)]
pub(super) struct Heartbeat {
    running: Running,
}

/// While this lives, its attempt's lease is extended.
#[derive(Debug)]
pub(super) struct Beating {
    running: Running,
    task: RunningTask,
}

impl Heartbeat {
    /// Beats three times a lease.
    pub(super) fn start(database: Database, lease: Duration) -> Self {
        let running = Running::default();
        let watched = Arc::downgrade(&running);
        tokio::spawn(beat(database, lease, watched));
        Self { running }
    }

    /// Extends the attempt's lease until the guard is dropped.
    pub(super) fn keep(&self, task: RunningTask) -> Beating {
        let running = Arc::clone(&self.running);
        running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task.clone());
        Beating { running, task }
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.task);
    }
}

async fn beat(database: Database, lease: Duration, watched: Weak<Mutex<HashSet<RunningTask>>>) {
    let mut beats = tokio::time::interval(lease / 3);
    loop {
        beats.tick().await;
        let Some(running) = watched.upgrade() else { return };
        let tasks: Vec<RunningTask> = running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect();
        for some in tasks.chunks(1000) {
            if let Err(error) = database.extend_leases(some, lease.as_secs_f64()).await {
                tracing::warn!(%error, tasks = some.len(), "leases could not be extended");
            }
        }
    }
}
