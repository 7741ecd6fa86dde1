//! How long tasks for workers waited and ran, by queue, since this process started. Knows neither
//! tasks nor the database.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Queues that are told apart; of more queues nothing is kept.
const MOST_QUEUES: usize = 1000;

/// Upper bounds of the classes of durations, in milliseconds: powers of two, up to three days.
const TIME_BOUNDS_MS: [u64; 18] = {
    let octaves = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28];
    let mut bounds = [0; 18];
    let mut place = 0;
    while place < bounds.len() {
        bounds[place] = 1 << octaves[place];
        place += 1;
    }
    bounds
};

/// Durations, counted by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// For each bound, the number of durations up to it and above the bound before.
    classes: [u64; TIME_BOUNDS_MS.len()],
    longer: u64,
    sum: Duration,
}

/// The attempts at tasks of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueTimes {
    /// From ready, for the first time or again, to claimed.
    pub wait: Times,
    /// From claimed to the outcome.
    pub run: Times,
}

impl Times {
    fn note(&mut self, time: Duration) {
        let milliseconds = time.as_millis();
        let class = TIME_BOUNDS_MS.iter().position(|bound| milliseconds <= u128::from(*bound));
        match class.and_then(|class| self.classes.get_mut(class)) {
            Some(count) => *count += 1,
            None => self.longer += 1,
        }
        self.sum = self.sum.saturating_add(time);
    }

    /// For each bound in seconds, the number of durations up to it.
    pub fn at_most(&self) -> Vec<(f64, u64)> {
        let mut count = 0;
        let classes = TIME_BOUNDS_MS.into_iter().zip(self.classes);
        classes
            .map(|(bound, more)| {
                count += more;
                (bound as f64 / 1000.0, count)
            })
            .collect()
    }

    pub fn count(&self) -> u64 {
        self.classes.iter().sum::<u64>() + self.longer
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The times of all queues.
#[derive(Debug, Default)]
pub(super) struct WorkerTimes(Mutex<BTreeMap<String, QueueTimes>>);

impl WorkerTimes {
    /// Notes how long tasks of a queue waited, in seconds.
    pub(super) fn note_waits(&self, queue: &str, seconds: impl IntoIterator<Item = f64>) {
        self.note(queue, seconds, |times| &mut times.wait);
    }

    /// Notes how long attempts at tasks of a queue ran, in seconds.
    pub(super) fn note_runs(&self, queue: &str, seconds: impl IntoIterator<Item = f64>) {
        self.note(queue, seconds, |times| &mut times.run);
    }

    fn note(
        &self,
        queue: &str,
        seconds: impl IntoIterator<Item = f64>,
        of: impl Fn(&mut QueueTimes) -> &mut Times,
    ) {
        let mut queues = self.queues();
        let mut times = queues.get_mut(queue);
        for seconds in seconds {
            if times.is_none() {
                if queues.len() >= MOST_QUEUES {
                    return;
                }
                times = Some(queues.entry(queue.to_owned()).or_default());
            }
            if let Some(times) = &mut times {
                // The database's clock may be set back.
                of(times).note(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default());
            }
        }
    }

    /// The times of each queue with a task.
    pub(super) fn all(&self) -> BTreeMap<String, QueueTimes> {
        self.queues().clone()
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<String, QueueTimes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_class_that_holds_it() {
        let times = WorkerTimes::default();
        times.note_waits("raster", [0.0, 0.008, 0.009, -3.0, 1e9, f64::NAN]);
        times.note_waits("empty", []);
        times.note_runs("raster", [60.0]);
        let all = times.all();
        assert_eq!(all.len(), 1, "a queue without a task is not told");
        let QueueTimes { wait, run } = &all["raster"];
        assert_eq!(wait.at_most()[..2], [(0.008, 4), (0.032, 5)]);
        assert_eq!(wait.at_most().last(), Some(&(268_435.456, 5)));
        assert_eq!((wait.count(), wait.sum().as_millis()), (6, 1_000_000_000_017));
        assert_eq!((run.count(), run.sum()), (1, Duration::from_secs(60)));
    }
}
