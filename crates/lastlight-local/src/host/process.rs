//! The handler's current process as invocations see it: where it listens, and which process it is,
//! so that an invocation that takes too long ends the process that it runs in and no later one.
//! Starting and ending processes is [`child`](super::child)'s; nothing here knows what an
//! invocation is for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// How long an invocation waits for a process that is started again.
const HELD_BACK: Duration = Duration::from_secs(4 * 60);

/// The one process of a host, whichever it is at the moment.
#[derive(Debug, Default)]
pub(super) struct Process {
    current: watch::Sender<Current>,
    timeouts: AtomicU64,
}

#[derive(Debug, Default)]
struct Current {
    /// Counts the processes, from 1.
    generation: u64,
    /// 0 while it runs and does not listen yet, and while none runs.
    port: u16,
    /// 0 where it is no child of this host.
    pid: u32,
    /// Why it is to be killed.
    condemned: Option<Arc<str>>,
}

/// Where a process listens, and which one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) generation: u64,
    pub(super) port: u16,
}

impl Process {
    /// A process was started; it does not listen yet.
    pub(super) fn starts(&self, pid: u32) {
        self.current.send_modify(|current| {
            *current = Current { generation: current.generation + 1, pid, ..Current::default() };
        });
    }

    pub(super) fn listens(&self, port: u16) {
        self.current.send_modify(|current| current.port = port);
    }

    /// It ended. The answer says why it was to be killed, if it was.
    pub(super) fn ended(&self) -> Option<Arc<str>> {
        let mut condemned = None;
        self.current.send_modify(|current| {
            (current.port, current.pid) = (0, 0);
            condemned = current.condemned.take();
        });
        condemned
    }

    /// Returns when a process listens: while one is started again, the real host holds its
    /// invocations back, up to the time that all starts together may take. Without this a message
    /// would use up its deliveries within milliseconds.
    pub(super) async fn ready(&self) -> Listening {
        let mut current = self.current.subscribe();
        let listens = current.wait_for(|current| current.port != 0);
        // If none does in all that time, the invocation fails at port 0.
        let _ = tokio::time::timeout(HELD_BACK, listens).await;
        let current = self.current.borrow();
        Listening { generation: current.generation, port: current.port }
    }

    /// An invocation in process `generation` took too long: that process is to be killed. Nothing
    /// happens where it is condemned already, has ended, or is not this host's own. From now on
    /// invocations wait for its successor.
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

    /// Returns when the process that runs is to be killed.
    pub(super) async fn condemned(&self) {
        let mut current = self.current.subscribe();
        // It cannot fail: the sender is `self`.
        let _ = current.wait_for(|current| current.condemned.is_some()).await;
    }

    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.current.borrow().pid).filter(|pid| *pid != 0)
    }

    /// Processes that were condemned.
    pub(super) fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    /// Processes that were started after the first.
    pub(super) fn restarts(&self) -> u64 {
        self.current.borrow().generation.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn invocations_that_time_out_together_end_one_process_and_never_its_successor() {
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
    async fn an_invocation_waits_for_the_successor_of_a_process_that_is_to_be_killed() {
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
    async fn a_process_of_somebody_else_is_not_condemned() {
        let process = Process::default();
        process.starts(0);
        process.listens(1000);
        let listening = process.ready().await;
        process.took_too_long(listening.generation, "it took too long");
        assert_eq!(process.ready().await, listening);
        assert_eq!(process.timeouts(), 0);
    }
}
