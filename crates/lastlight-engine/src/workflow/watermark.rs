//! How far this process has worked through the queues: a sample of the tasks that began in it since
//! the last call. A queue delivers messages in the order in which they were sent, so messages sent
//! after the batches of these tasks may still wait behind them; the sweep, which looks for lost
//! messages, leaves those alone.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::store::RunningTask;

/// Maximum size of a sample: large enough to include a task whose batch was sent once.
const MOST: usize = 16;

/// Minimum interval between two tasks of a sample: for most tasks that begin, the clock is read and
/// nothing is stored.
const BETWEEN: Duration = Duration::from_millis(100);

/// A sample of the tasks that began.
#[derive(Debug, Default)]
pub(super) struct Watermark(Mutex<Sample>);

#[derive(Debug, Default)]
struct Sample {
    tasks: Vec<RunningTask>,
    newest: Option<Instant>,
}

impl Watermark {
    /// Notes that a task begins, if this is its first attempt: a later attempt comes when its pause
    /// has passed, wherever the queue is.
    pub(super) fn begins(&self, task: &RunningTask) {
        if task.attempt > 1 {
            return;
        }
        let mut sample = self.lock();
        let is_soon = sample.newest.is_some_and(|newest| newest.elapsed() < BETWEEN);
        if !is_soon && sample.tasks.len() < MOST {
            sample.newest = Some(Instant::now());
            sample.tasks.push(task.clone());
        }
    }

    /// The sample since the last call.
    pub(super) fn take(&self) -> Vec<RunningTask> {
        std::mem::take(&mut self.lock().tasks)
    }

    fn lock(&self) -> MutexGuard<'_, Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
