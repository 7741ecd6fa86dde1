//! Reports this process to the others: every two seconds while tasks run or begin in it, every
//! thirty while none does, it writes what runs and how far it has worked through the queues.
//! Operators read it; so does the sweep, which leaves alone messages that may still wait in a
//! queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Controller, ReconcileReport};
use crate::store::StageKey;

/// Interval between checks of what runs.
const LOOK: Duration = Duration::from_secs(2);

/// Interval between reports of a process in which nothing runs.
const IDLE: Duration = Duration::from_secs(30);

/// The identity of this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThisInstance {
    /// A random id, created when the process started.
    pub(super) id: Uuid,
    pub(super) started: Instant,
}

impl ThisInstance {
    pub(super) fn new() -> Self {
        Self { id: Uuid::new_v4(), started: Instant::now() }
    }
}

impl Controller {
    /// Reports this process until the controller is dropped.
    pub fn report_in_background(&self) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut reported: Option<(Instant, Vec<(StageKey, i32)>)> = None;
            loop {
                looks.tick().await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let running = shared.heartbeat.running();
                let begun = shared.watermark.take();
                let may_wait = running.is_empty()
                    && begun.is_empty()
                    && reported
                        .as_ref()
                        .is_some_and(|(when, said)| said.is_empty() && when.elapsed() < IDLE);
                if may_wait {
                    continue;
                }
                let ThisInstance { id, started } = shared.instance;
                match shared
                    .database
                    .diagnostics()
                    .report_instance(
                        id,
                        started.elapsed(),
                        &running,
                        &begun,
                        shared.archiving.first().0,
                    )
                    .await
                {
                    Ok(()) => reported = Some((Instant::now(), running)),
                    // The next check reports again; health shows the error of the database.
                    Err(error) => {
                        tracing::debug!(%error, "this process could not be reported");
                        reported = None;
                    }
                }
            }
        });
    }

    /// Records that a sweep ended, and removes processes that are gone. An error here does not fail
    /// the sweep, whose work is done.
    pub(super) async fn note_sweep(&self, report: &ReconcileReport, took: Duration) {
        let database = &self.0.database;
        let found = serde_json::to_value(report).unwrap_or_default();
        let noted = async {
            database.diagnostics().record_sweep(self.0.instance.id, took, &found).await?;
            database.diagnostics().forget_instances().await?;
            database.workers().forget().await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "a sweep could not be recorded");
        }
    }
}
