//! The current process of the handler as invocations see it: its port and its generation, so that
//! an invocation that takes too long ends the process that it runs in and no later one.
//! [`child`](super::child) starts and ends processes; this module does not depend on what an
//! invocation does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// How long an invocation waits for a process that is being restarted.
const HELD_BACK: Duration = Duration::from_secs(4 * 60);

/// The current process of a host.
#[derive(Debug, Default)]
pub(super) struct Process {
    current: watch::Sender<Current>,
    timeouts: AtomicU64,
}

#[derive(Debug, Default)]
struct Current {
    /// Number of the process, from 1.
    generation: u64,
    /// 0 before the process listens, and while none is running.
    port: u16,
    /// 0 if the process is not a child of this host.
    pid: u32,
    /// Why the process must be killed, if so.
    condemned: Option<Arc<str>>,
}

/// The generation and the port of a listening process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) generation: u64,
    pub(super) port: u16,
}

impl Process {
    /// Records that a process was started, which does not listen yet.
    pub(super) fn starts(&self, pid: u32) {
        self.current.send_modify(|current| {
            *current = Current { generation: current.generation + 1, pid, ..Current::default() };
        });
    }

    pub(super) fn listens(&self, port: u16) {
        self.current.send_modify(|current| current.port = port);
    }

    /// Records that the process ended; returns why it had to be killed, if so.
    pub(super) fn ended(&self) -> Option<Arc<str>> {
        let mut condemned = None;
        self.current.send_modify(|current| {
            (current.port, current.pid) = (0, 0);
            condemned = current.condemned.take();
        });
        condemned
    }

    /// Returns when a process listens: during a restart, the real host delays its invocations, for
    /// at most the time that all starts together may take. Otherwise a message would use up its
    /// deliveries within milliseconds.
    pub(super) async fn ready(&self) -> Listening {
        let mut current = self.current.subscribe();
        let listens = current.wait_for(|current| current.port != 0);
        // If no process listens within that time, the invocation fails at port 0.
        let _ = tokio::time::timeout(HELD_BACK, listens).await;
        let current = self.current.borrow();
        Listening { generation: current.generation, port: current.port }
    }

    /// Requests that process `generation` is killed because an invocation in it took too long. Does
    /// nothing if that was requested already, if the process has ended, or if it is not a child of
    /// this host. From then on, invocations wait for its successor.
    pub(super) fn took_too_long(&self, generation: u64, why: &str) {
        let is_condemned = self.current.send_if_modified(|current| {
            let is_meant = current.generation == generation && current.pid != 0;
            if !is_meant || current.condemned.is_some() {
                return false;
            }
            current.condemned = Some(Arc::from(why));
            current.port = 0;
            true
        });
        if is_condemned {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when the current process must be killed.
    pub(super) async fn condemned(&self) {
        let mut current = self.current.subscribe();
        // This cannot fail, because the sender lives in `self`.
        let _ = current.wait_for(|current| current.condemned.is_some()).await;
    }

    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.current.borrow().pid).filter(|pid| *pid != 0)
    }

    /// Number of processes that had to be killed for an invocation that took too long.
    pub(super) fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    /// Number of processes that were started after the first one.
    pub(super) fn restarts(&self) -> u64 {
        self.current.borrow().generation.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn timeouts_end_one_process_and_not_its_successor() {
        let process = Process::default();
        process.starts(7);
        process.listens(1000);
        let first = process.ready().await;
        process.took_too_long(first.generation, "a took too long");
        process.took_too_long(first.generation, "b took too long");
        process.condemned().await;
        assert_eq!((process.timeouts(), process.restarts()), (1, 0));
        assert_eq!(process.ended().as_deref(), Some("a took too long"));
        process.starts(8);
        process.listens(1001);
        process.took_too_long(first.generation, "c took too long");
        assert_eq!(process.ready().await, Listening { generation: 2, port: 1001 });
        assert_eq!((process.timeouts(), process.restarts()), (1, 1));
        assert_eq!(process.ended(), None);
    }

    #[tokio::test]
    async fn invocations_wait_for_the_successor_process() {
        let process = Arc::new(Process::default());
        process.starts(7);
        process.listens(1000);
        let first = process.ready().await;
        process.took_too_long(first.generation, "it took too long");
        let waiting = tokio::spawn({
            let process = Arc::clone(&process);
            async move { process.ready().await }
        });
        process.ended();
        process.starts(8);
        process.listens(1001);
        assert_eq!(waiting.await.unwrap().port, 1001);
    }

    #[tokio::test]
    async fn process_of_another_host_is_not_killed() {
        let process = Process::default();
        process.starts(0);
        process.listens(1000);
        let listening = process.ready().await;
        process.took_too_long(listening.generation, "it took too long");
        assert_eq!(process.ready().await, listening);
        assert_eq!(process.timeouts(), 0);
    }
}
