//! Waiting workers: claims that found no task wait here. All that wait in this process for the same
//! handlers of a queue share one look at the database, at growing intervals while nothing comes; a
//! task that becomes ready in this process ends the wait at once. Knows neither tasks nor the
//! database.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};

/// Interval between looks at first.
const SOON: Duration = Duration::from_millis(250);

/// Until this time after work was last seen, looks come at the first interval; it then grows with the time
/// that has passed.
const EAGER: Duration = Duration::from_secs(60);

/// Largest interval between looks.
const IDLE: Duration = Duration::from_secs(2);

/// Claims of a group that run at the same time.
const CLAIMS_AT_ONCE: usize = 2;

/// What a group of workers asks for: a queue, and handlers in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) queue: String,
    pub(super) handlers: Vec<String>,
}

/// The groups of waiting workers.
#[derive(Debug, Default)]
pub(super) struct WorkerWaits(Mutex<BTreeMap<Wanted, Arc<Group>>>);

/// The workers that wait for the same.
#[derive(Debug)]
pub(super) struct Group {
    state: Mutex<State>,
    changed: Notify,
    /// Claims pass over batches that another claim has locked: with more at a time, some find nothing
    /// although there is enough for all.
    claims: Semaphore,
}

#[derive(Debug)]
struct State {
    /// Each with the number of tasks that it takes.
    waiting: VecDeque<(u16, oneshot::Sender<()>)>,
    /// When a look found nothing, unless a task became ready since.
    empty_since: Option<Instant>,
    /// When a look or a claim last found a task.
    work_seen: Instant,
    /// Whether the last claim found as many tasks as it asked for.
    has_more: bool,
    /// Whether a claim is under way that will tell whether there is work.
    is_tried: bool,
    /// How often tasks became ready in this process.
    readied: u64,
    /// Whether somebody looks.
    is_watched: bool,
}

impl State {
    fn interval(&self) -> Duration {
        let idle = self.work_seen.elapsed();
        if idle < EAGER { SOON } else { (SOON * 2).max(idle / 240).min(IDLE) }
    }

    fn knows_empty(&self) -> bool {
        self.empty_since.is_some_and(|since| since.elapsed() < self.interval())
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                empty_since: None,
                work_seen: Instant::now(),
                has_more: false,
                is_tried: false,
                readied: 0,
                is_watched: false,
            }),
            changed: Notify::new(),
            claims: Semaphore::new(CLAIMS_AT_ONCE),
        }
    }
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a claim that just came had better wait: nothing was ready a moment ago, or another
    /// claim is about to tell. Otherwise the caller claims.
    pub(super) fn had_better_wait(&self) -> bool {
        let mut state = self.state();
        if state.has_more {
            return false;
        }
        state.knows_empty() || std::mem::replace(&mut state.is_tried, true)
    }

    /// The turn to claim; `None` is never returned, as nobody closes the semaphore.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.claims.acquire().await.ok()
    }

    /// Call it before a claim or a look, and give the number to [`Self::note`].
    pub(super) fn begins(&self) -> u64 {
        self.state().readied
    }

    /// Notes that a claim failed, and tells nothing.
    pub(super) fn failed(&self) {
        self.state().is_tried = false;
    }

    /// Notes that a claim or a look found `found` tasks; `is_empty`: there are no more, as far as it is
    /// known.
    pub(super) fn note(&self, began: u64, found: usize, is_empty: bool) {
        let mut state = self.state();
        // What became ready meanwhile may not have been seen.
        let is_sure = state.readied == began;
        if found > 0 {
            state.work_seen = Instant::now();
        }
        state.empty_since = (is_empty && is_sure).then(Instant::now);
        state.has_more = !is_empty;
        state.is_tried = false;
        drop(state);
        if !is_empty || !is_sure {
            self.changed.notify_one();
        }
    }

    /// Joins the workers that wait. The receiver completes when the worker is to claim; `bool`: the
    /// caller is to watch for the group.
    pub(super) fn wait(&self, wanted: u16) -> (oneshot::Receiver<()>, bool) {
        let (wake, woken) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push_back((wanted, wake));
        let is_to_watch = !std::mem::replace(&mut state.is_watched, true);
        (woken, is_to_watch)
    }

    /// Sleeps until a look is due; returns the number of tasks that the waiting workers take, or
    /// `None` if nobody waits any more, and the watch ends.
    pub(super) async fn next_look(&self) -> Option<usize> {
        loop {
            let pause = {
                let mut state = self.state();
                state.waiting.retain(|(_, wake)| !wake.is_closed());
                if state.waiting.is_empty() {
                    state.is_watched = false;
                    return None;
                }
                match state.empty_since {
                    Some(since) => state.interval().saturating_sub(since.elapsed()),
                    // The claim that is under way tells whether there is work.
                    None if state.is_tried => SOON,
                    None => Duration::ZERO,
                }
            };
            if pause.is_zero() {
                let state = self.state();
                return Some(state.waiting.iter().map(|(wanted, _)| usize::from(*wanted)).sum());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Wakes as many workers as take `ready` tasks, the one that waits longest first.
    pub(super) fn wake(&self, mut ready: usize) {
        let mut state = self.state();
        while ready > 0
            && let Some((wanted, wake)) = state.waiting.pop_front()
        {
            if wake.send(()).is_ok() {
                ready = ready.saturating_sub(wanted.into());
            }
        }
    }
}

impl WorkerWaits {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<Wanted, Arc<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group of those that want this.
    pub(super) fn group(&self, wanted: &Wanted) -> Arc<Group> {
        let mut groups = self.groups();
        if let Some(group) = groups.get(wanted) {
            return Arc::clone(group);
        }
        // Those that nobody has, and that are not watched, are made again when they are needed.
        if groups.len() >= 256 {
            groups.retain(|_, group| Arc::strong_count(group) > 1 || group.state().is_watched);
        }
        Arc::clone(groups.entry(wanted.clone()).or_default())
    }

    /// Notes that tasks became ready: in this queue, or in any one.
    pub(super) fn ready(&self, queue: Option<&str>) {
        for (wanted, group) in &*self.groups() {
            if queue.is_none_or(|queue| queue == wanted.queue) {
                let mut state = group.state();
                state.empty_since = None;
                state.readied += 1;
                drop(state);
                group.changed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_wait_longest_are_woken_for_as_many_tasks_as_there_are() {
        let group = Group::default();
        let (mut first, is_to_watch) = group.wait(10);
        let (mut second, again) = group.wait(10);
        let (mut third, _) = group.wait(10);
        assert!(is_to_watch && !again);
        assert_eq!(group.next_look().await, Some(30));
        group.wake(11);
        assert_eq!(first.try_recv(), Ok(()));
        assert_eq!(second.try_recv(), Ok(()));
        assert!(third.try_recv().is_err());
        drop(third);
        assert_eq!(group.next_look().await, None);
        assert!(group.wait(1).1, "the next one watches again");
    }

    #[tokio::test]
    async fn a_look_waits_until_a_task_becomes_ready() {
        let waits = WorkerWaits::default();
        let wanted = Wanted { queue: "q".into(), handlers: vec!["h".into()] };
        let group = waits.group(&wanted);
        let (_woken, _) = group.wait(1);
        let began = group.begins();
        group.note(began, 0, true);
        assert!(group.had_better_wait());
        let look = tokio::spawn({
            let group = Arc::clone(&group);
            async move { group.next_look().await }
        });
        waits.ready(Some("another"));
        assert!(group.had_better_wait());
        waits.ready(Some("q"));
        assert_eq!(look.await.unwrap(), Some(1));
        assert!(!group.had_better_wait(), "somebody finds out");
        assert!(group.had_better_wait(), "and nobody else");
        group.note(began, 1, false);
        assert!(!group.had_better_wait(), "there is more");
    }
}
