//! Task slots: how many tasks run at once in this process, and whether a task that comes now can
//! begin in time. The caller defers a task that cannot; nothing here knows messages or the
//! database.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, futures::Notified};

/// The weight of the newest duration in the mean: an eighth.
const NEWEST_COUNTS: u64 = 8;

#[derive(Debug)]
pub(super) struct Room {
    permits: Arc<Semaphore>,
    size: usize,
    /// Number of tasks that wait for a permit.
    waiting: AtomicUsize,
    /// Mean duration of a task in microseconds; 0 until one has ended.
    mean: AtomicU64,
    /// Set when a task that runs alone waited in vain: other tasks are not admitted until then.
    closed_until: Mutex<Option<Instant>>,
    freed: Notify,
    /// Deferred tasks were seen, and there may be more.
    knows_deferred: AtomicBool,
}

/// A task's slot, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _announced: Announced,
}

/// Wakes the sender of deferred tasks once the permit is released.
#[derive(Debug)]
struct Announced(Arc<Room>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.freed.notify_one();
    }
}

/// Counts a waiting task while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    /// Slots for `size` tasks, at least one.
    pub(super) fn new(size: usize) -> Self {
        let size = size.max(1);
        Self {
            permits: Arc::new(Semaphore::new(size)),
            size,
            waiting: AtomicUsize::new(0),
            mean: AtomicU64::new(0),
            closed_until: Mutex::new(None),
            freed: Notify::new(),
            knows_deferred: AtomicBool::new(false),
        }
    }

    /// A slot for one task, by `by` at the latest; `None` if there is none, returned at once if
    /// none will be free in time.
    pub(super) async fn enter(self: &Arc<Self>, by: Instant) -> Option<Place> {
        if self.is_closed() {
            return None;
        }
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(self.place(permit));
        }
        if self.fits(by) == 0 {
            return None;
        }
        self.wait(1, by).await
    }

    /// All slots, for a task that runs alone. If it waits in vain, other tasks are not admitted for
    /// `long`; otherwise tasks that come meanwhile would take the slots for ever.
    pub(super) async fn enter_alone(
        self: &Arc<Self>,
        by: Instant,
        long: Duration,
    ) -> Option<Place> {
        let place = self.wait(u32::try_from(self.size).unwrap_or(u32::MAX), by).await;
        *self.closed() = place.is_none().then(|| Instant::now() + long);
        place
    }

    async fn wait(self: &Arc<Self>, permits: u32, by: Instant) -> Option<Place> {
        let began = Instant::now();
        let waiting = Waiting::begin(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_many_owned(permits);
        let permit = tokio::time::timeout_at(by.into(), permit).await;
        drop(waiting);
        match permit {
            Ok(permit) => Some(self.place(permit.ok()?)),
            Err(_) => {
                // The running tasks take longer than this.
                let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.mean.fetch_max(waited, Ordering::Relaxed);
                None
            }
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        Place { _permit: permit, _announced: Announced(Arc::clone(self)) }
    }

    /// How many more tasks can begin by `by`, given the mean duration.
    pub(super) fn fits(&self, by: Instant) -> usize {
        if self.is_closed() {
            return 0;
        }
        let mean = self.mean.load(Ordering::Relaxed);
        let left = by.saturating_duration_since(Instant::now()).as_micros();
        let Some(rounds) = left.checked_div(u128::from(mean)) else {
            return usize::MAX;
        };
        // In fractions of a task: of ten that run for a minute, one ends every six seconds.
        let ending = (left * self.size as u128 / u128::from(mean)).max(rounds);
        let begin = usize::try_from(ending)
            .unwrap_or(usize::MAX)
            .saturating_add(self.permits.available_permits());
        begin.saturating_sub(self.waiting.load(Ordering::Relaxed))
    }

    /// Mean duration of a task.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_micros(self.mean.load(Ordering::Relaxed))
    }

    /// Adds the duration of a task to the mean.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let _ = self.mean.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |mean| {
            Some(match mean {
                0 => took,
                mean => (mean - mean / NEWEST_COUNTS).saturating_add(took / NEWEST_COUNTS).max(1),
            })
        });
    }

    /// Number of tasks that could begin now, for the sender of deferred tasks.
    pub(super) fn free(&self) -> usize {
        let free =
            self.permits.available_permits().saturating_sub(self.waiting.load(Ordering::Relaxed));
        // The task for which the slots are reserved begins when all of them are free.
        if self.is_closed() && free < self.size { 0 } else { free }
    }

    /// Number of tasks that run, or have begun to.
    pub(super) fn taken(&self) -> usize {
        self.size.saturating_sub(self.permits.available_permits())
    }

    /// Completes when a slot was freed since the last call.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Whether there may be deferred tasks.
    pub(super) fn knows_deferred(&self) -> bool {
        self.knows_deferred.load(Ordering::Relaxed)
    }

    /// Sets whether there may be deferred tasks.
    pub(super) fn know_deferred(&self, known: bool) {
        self.knows_deferred.store(known, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed().is_some_and(|until| until > Instant::now())
    }

    fn closed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_task_that_would_be_late_is_rejected_at_once() {
        let room = Arc::new(Room::new(2));
        room.note(Duration::from_secs(60));
        let places = [room.enter(in_seconds(0)).await, room.enter(in_seconds(0)).await];
        assert!(places.iter().all(Option::is_some));
        // In a quarter of a minute half a task ends; in an hour two of them end each minute.
        assert!(room.enter(in_seconds(15)).await.is_none());
        assert_eq!(room.fits(in_seconds(15)), 0);
        assert!((115..=120).contains(&room.fits(in_seconds(3600))));
        drop(places);
        assert!(room.enter(in_seconds(0)).await.is_some());
    }

    #[tokio::test]
    async fn an_unknown_duration_is_learned_by_waiting() {
        let room = Arc::new(Room::new(1));
        let place = room.enter(in_seconds(0)).await;
        assert_eq!(room.fits(in_seconds(1)), usize::MAX);
        let by = Instant::now() + Duration::from_millis(50);
        assert!(room.enter(by).await.is_none());
        assert!(room.mean() >= Duration::from_millis(40), "{:?}", room.mean());
        drop(place);
        assert_eq!(room.free(), 1);
    }

    #[tokio::test]
    async fn a_lone_task_is_not_starved_by_later_tasks() {
        let room = Arc::new(Room::new(2));
        let place = room.enter(in_seconds(0)).await;
        let soon = || Instant::now() + Duration::from_millis(20);
        let long = Duration::from_secs(3600);
        assert!(room.enter_alone(soon(), long).await.is_none());
        assert!(room.enter(soon()).await.is_none(), "the free permit is reserved");
        assert_eq!(room.free(), 0);
        drop(place);
        assert_eq!(room.free(), 2);
        let alone = room.enter_alone(soon(), long).await;
        assert!(alone.is_some());
        drop(alone);
        assert!(room.enter(soon()).await.is_some());
    }
}
