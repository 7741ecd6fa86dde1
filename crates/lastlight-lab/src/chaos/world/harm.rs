//! Faults: processes are killed, sessions terminated, databases restarted, messages deleted. Each
//! fault is counted, and its time is recorded.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{BUS_QUEUES, HandlerNumber, POISON_QUEUES, World};
use crate::chaos::{ChaosError, postgres::Restart};
use lastlight_local::{
    broker::{FaultPlan, delete_all_messages},
    host::RunningHost,
};
use lastlight_testing::ledger;

impl World {
    pub(in crate::chaos) fn handler_pid(&self, handler: HandlerNumber) -> Option<u32> {
        match handler.checked_sub(1).and_then(|other| self.others.get(other)) {
            Some(other) => other.handler_pid(),
            None => self.cloud.handler_pid(),
        }
    }

    /// Sends a signal to a handler's process; returns whether there was one.
    pub(in crate::chaos) fn signal(&mut self, handler: HandlerNumber, signal: Signal) -> bool {
        let pid = self.handler_pid(handler).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else { return false };
        if signal != Signal::CONT {
            self.fault();
        }
        let sent = kill_process(pid, signal).is_ok();
        self.metrics.kills += u64::from(sent && signal != Signal::CONT);
        sent
    }

    /// Kills a handler and waits until its successor is ready.
    pub(in crate::chaos) async fn kill(
        &mut self,
        handler: HandlerNumber,
    ) -> Result<(), ChaosError> {
        let before = self.handler_pid(handler);
        self.signal(handler, Signal::KILL);
        self.until("a handler's successor", Duration::from_secs(60), async || {
            let now = self.handler_pid(handler);
            now.is_some() && now != before
        })
        .await
    }

    pub(in crate::chaos) async fn restart_database(
        &mut self,
        how: Restart,
    ) -> Result<(), ChaosError> {
        self.fault();
        self.metrics.restarts += 1;
        self.run.shared.cluster.restart(how).await?;
        // The fault lasts until now.
        self.fault();
        Ok(())
    }

    /// Terminates the sessions of all handlers; returns their number.
    pub(in crate::chaos) async fn terminate_connections(&mut self) -> Result<i64, ChaosError> {
        self.fault();
        let ended = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'lastlight' AND datname = current_database()",
        )
        .fetch_one(self.recorder.pool())
        .await?;
        Ok(ended)
    }

    /// Number of processes that their hosts killed because an invocation took too long.
    pub(in crate::chaos) fn timeouts(&self) -> u64 {
        self.hosts().map(RunningHost::timeouts).sum()
    }

    /// Number of processes that were started to replace others.
    pub(in crate::chaos) fn handler_restarts(&self) -> u64 {
        self.hosts().map(RunningHost::restarts).sum()
    }

    fn hosts(&self) -> impl Iterator<Item = &RunningHost> {
        std::iter::once(self.cloud.host()).chain(&self.others)
    }

    /// Number of messages that were delivered as often as their queue allows, whatever happened to
    /// them afterwards.
    pub(in crate::chaos) fn dead_lettered(&self) -> u64 {
        let (bus, storage) = (&self.cloud.service_bus, &self.cloud.storage);
        let of_bus = BUS_QUEUES.map(|queue| bus.messages_dead_lettered(queue).unwrap_or_default());
        let of_storage =
            POISON_QUEUES.map(|queue| storage.messages_put_into(queue).unwrap_or_default());
        of_bus.into_iter().chain(of_storage).sum()
    }

    /// Records a fault now.
    pub(in crate::chaos) fn fault(&mut self) {
        self.fault_at(ledger::now());
    }

    /// Records a fault at a time, microseconds since 1970.
    pub(in crate::chaos) fn fault_at(&mut self, at: i64) {
        self.faults.push(at);
    }

    /// Counts a handler that a fail point ended.
    pub(in crate::chaos) fn count_kill(&mut self) {
        self.metrics.kills += 1;
    }

    /// Sets the same plan for both queue services.
    pub(in crate::chaos) fn set_faults(&self, plan: FaultPlan) {
        self.cloud.storage_faults.set(plan);
        self.cloud.service_bus_faults.set(plan);
    }

    pub(in crate::chaos) fn purge(&mut self) {
        self.fault();
        delete_all_messages(&self.cloud.storage, &self.cloud.service_bus);
    }
}
