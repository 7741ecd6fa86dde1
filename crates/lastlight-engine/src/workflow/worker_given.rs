//! What this process gave to workers, so that an outcome that comes back to it is recorded without
//! reading its task first. It is a guess: the statement that records an outcome decides whether it
//! counts. Knows nothing of the database.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{
    model::{JobStatus, TaskStatus},
    store::{AttemptStanding, BatchClaim, RunningTask},
};

/// Attempts in a generation; two generations are kept. An attempt takes about 300 bytes.
const MOST: usize = 10_000;

/// What is known of an attempt since it was claimed.
#[derive(Debug, Clone)]
pub(super) struct Gave {
    pub(super) job_type: String,
    pub(super) task_type: String,
    pub(super) queue: String,
    pub(super) tries: u16,
    pub(super) claim: Option<BatchClaim>,
    pub(super) at: Instant,
}

/// The attempts that this process gave last, and whose outcomes have not come back to it.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<[HashMap<RunningTask, Gave>; 2]>);

impl Given {
    pub(super) fn note(&self, attempts: impl IntoIterator<Item = (RunningTask, Gave)>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (task, gave) in attempts {
            let [new, old] = &mut *generations;
            if new.len() >= MOST {
                *old = std::mem::take(new);
            }
            new.insert(task, gave);
        }
    }

    /// The standing of an attempt if nothing happened since this process gave it to a worker. It is
    /// told once.
    pub(super) fn take(&self, task: &RunningTask) -> Option<AttemptStanding> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gave = generations.iter_mut().find_map(|generation| generation.remove(task))?;
        drop(generations);
        let seconds = gave.at.elapsed().as_secs_f64();
        Some(AttemptStanding {
            job_status: Some(JobStatus::Processing),
            task_status: TaskStatus::Processing,
            job_type: gave.job_type,
            task_type: gave.task_type,
            tries: gave.tries,
            is_newest: true,
            is_postponed: false,
            is_short: false,
            queue: gave.queue,
            seconds,
            claimed_by: gave.claim.map(|claim| claim.worker_id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, Stage, TaskId};

    fn attempt(number: usize) -> RunningTask {
        let serde_json::Value::Object(parameters) = serde_json::json!({}) else { unreachable!() };
        RunningTask {
            job_id: JobId::derive("a", &parameters),
            stage: Stage::FIRST,
            task_id: TaskId::try_from(format!("task-{number}").as_str()).unwrap(),
            attempt: 1,
        }
    }

    #[test]
    fn the_attempts_given_last_are_known_once() {
        let gave = Gave {
            job_type: "a".into(),
            task_type: "b".into(),
            queue: "q".into(),
            tries: 1,
            claim: None,
            at: Instant::now(),
        };
        let given = Given::default();
        given.note((0..3 * MOST).map(|number| (attempt(number), gave.clone())));
        assert_eq!(given.take(&attempt(0)), None, "the memory for them is bounded");
        let newest = attempt(3 * MOST - 1);
        assert!(given.take(&newest).is_some_and(|standing| standing.holds()));
        assert_eq!(given.take(&newest), None);
        let again = RunningTask { attempt: 2, ..attempt(3 * MOST - 2) };
        assert_eq!(given.take(&again), None, "another attempt was not given");
    }
}
