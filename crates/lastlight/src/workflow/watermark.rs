//! How far this process has worked off the queues: a sample of the tasks that began in it since it
//! was last asked. A queue hands out what was sent first, so what was sent after their batches may
//! still wait behind them; the sweep, which looks for what got lost, leaves that alone.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::store::RunningTask;

/// Tasks of a sample: enough that one is among them whose batch was sent once.
const MOST: usize = 16;

/// Between two of a sample: a task that begins costs a look at a clock, not an entry.
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
    /// A task begins, in its first attempt: a later one comes when its pause is over, wherever the
    /// queue is.
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
