//! An attempt: reads the inputs of a claimed task, runs its handler within limits, and determines
//! the task's outcome. Knows neither messages nor slots.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::{Controller, execute::Invocation, heartbeat::Beating, memory::Share};
use crate::{
    config::Timing,
    job::{
        Backoff, Checkpoints, Growth, TaskError, TaskPolicy,
        erased::{Attempt, JobType, Task},
        panics::said,
    },
    model::{DEEPEST_NESTING, nesting},
    store::{Claimed, Database, DatabaseError, Inputs, RunningTask, TaskInputs, TaskOutcome},
};

/// Maximum size of a result in bytes. A larger one fails its task: large data belongs into storage,
/// its address into the result.
const LARGEST_RESULT: usize = 1024 * 1024;

/// A handler's error message is cut at this many characters.
const LONGEST_REASON: usize = 8 * 1024;

/// How often the tasks of a type are tried, and the pauses between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) policy: TaskPolicy,
    /// Maximum number of attempts.
    pub(super) most: u16,
    backoff: Backoff,
    growth: Growth,
}

impl Limits {
    /// The outcome of attempt number `tries` (from 1) that ended in this way.
    pub(super) fn outcome(
        &self,
        tries: u16,
        attempt: Result<Box<RawValue>, TaskError>,
    ) -> TaskOutcome {
        let most = self.most;
        match attempt {
            Ok(result) => TaskOutcome::Completed(result),
            Err(TaskError::Permanent(reason)) => TaskOutcome::Failed(short(reason)),
            Err(TaskError::Transient(reason) | TaskError::Unavailable(reason)) if tries < most => {
                let pause = self.backoff.grown(tries, self.growth, fastrand::f64());
                TaskOutcome::Retry { reason: short(reason), pause }
            }
            Err(TaskError::Transient(reason) | TaskError::Unavailable(reason)) => {
                TaskOutcome::Failed(format!("{} (attempt {tries} of {most})", short(reason)))
            }
        }
    }
}

impl Controller {
    /// The limits of a task type; the app's own if the job type is not known.
    pub(super) fn limits(&self, definition: Option<&dyn JobType>, task_type: &str) -> Limits {
        let policy = definition.map_or_else(TaskPolicy::default, |job| job.task_policy(task_type));
        Limits {
            policy,
            most: self.most_attempts(&policy),
            backoff: policy.backoff.unwrap_or(self.0.timing.backoff),
            growth: definition.map_or(Growth::Doubled, |job| job.growth(task_type)),
        }
    }

    /// Maximum number of attempts before a task has failed for good.
    pub(super) fn most_attempts(&self, policy: &TaskPolicy) -> u16 {
        policy.most_attempts(self.0.timing.max_attempts)
    }

    /// Runs an attempt and returns the task's outcome. `None`: no memory for its inputs was free by
    /// `by`, and the attempt did not begin.
    pub(super) async fn outcome(
        &self,
        invocation: Invocation,
        running: &RunningTask,
        claimed: Claimed,
        by: Instant,
        beating: &Beating,
    ) -> Option<TaskOutcome> {
        let definition = self.job_type_of_task(&running.job_id, &claimed.job_type).await;
        let limits = self.limits(definition.as_deref().ok(), &claimed.task_type);
        let Timing { task_timeout, .. } = self.0.timing;
        let (policy, most) = (limits.policy, limits.most);
        let tries = claimed.tries;
        // Attempts count from their claim, so that a task that kills its process is not repeated
        // for ever.
        if tries > most {
            return Some(TaskOutcome::Failed(format!(
                "none of its {most} attempts finished: their processes died, or lost their leases; does the task \
                 exhaust the memory?"
            )));
        }
        let attempt = match definition {
            Ok(definition) => match self.inputs(running, claimed.inputs, by).await? {
                Ok((inputs, _share)) => {
                    let limit = policy
                        .timeout
                        .map_or(task_timeout, |timeout| timeout.min(task_timeout))
                        .min(invocation.left(&self.0.timing));
                    let attempt = Attempt {
                        job_id: running.job_id.to_string(),
                        task_id: running.task_id.to_string(),
                        number: u32::from(tries),
                        deadline: Instant::now() + limit,
                        // Of its own: it is cancelled also when the attempt ends, which is no loss.
                        cancellation: beating.token().child_token(),
                        predecessor: inputs.predecessor_result,
                        contexts: definition.contexts(),
                        notes: Arc::clone(beating.notes()),
                        checkpoints: Arc::new(StoredCheckpoint {
                            database: self.0.database.clone(),
                            task: running.clone(),
                        }),
                    };
                    let parameters = inputs.parameters;
                    let task = Task { task_type: claimed.task_type, parameters, attempt };
                    run(definition.as_ref(), task, limit).await
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(TaskError::Transient(error.to_string())),
        };
        Some(match attempt {
            Err(TaskError::Unavailable(reason)) => {
                let reason = short(reason);
                match self.0.database.tasks().forgive_attempt(running).await {
                    Ok(()) => TaskOutcome::Retry { reason, pause: unavailable_pause() },
                    Err(error) => TaskOutcome::Retry {
                        reason: format!("{reason}; the attempt counts, since {error}"),
                        pause: unavailable_pause(),
                    },
                }
            }
            attempt => limits.outcome(tries, attempt),
        })
    }

    /// The task's inputs, with a share of the memory if they are large; `None` if no share is free
    /// by `by`.
    pub(super) async fn inputs(
        &self,
        running: &RunningTask,
        inputs: Inputs,
        by: Instant,
    ) -> Option<Result<(TaskInputs, Option<Share>), TaskError>> {
        match inputs {
            Inputs::Here(inputs) => Some(Ok((inputs, None))),
            Inputs::Stored { bytes } => {
                let share = self.0.memory.for_inputs(bytes, by).await?;
                let inputs = self.stored_inputs(running).await;
                Some(inputs.map(|inputs| (inputs, Some(share))))
            }
        }
    }

    /// The task's inputs from the database. A short outage of the database does not cost the
    /// attempt.
    async fn stored_inputs(&self, running: &RunningTask) -> Result<TaskInputs, TaskError> {
        let began = Instant::now();
        loop {
            match self.0.database.tasks().inputs(running).await {
                Ok(Some(inputs)) => return Ok(inputs),
                Ok(None) => return Err(TaskError::transient("the task's row no longer exists")),
                Err(DatabaseError::Unavailable { .. }) if began.elapsed() < self.0.timing.lease => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => {
                    return Err(TaskError::transient(format!(
                        "the task's inputs cannot be read: {error}"
                    )));
                }
            }
        }
    }
}

/// The checkpoint of an attempt's task, in the database.
#[derive(Debug)]
struct StoredCheckpoint {
    database: Database,
    task: RunningTask,
}

#[async_trait]
impl Checkpoints for StoredCheckpoint {
    async fn load(&self) -> Result<Option<Box<RawValue>>, String> {
        let checkpoint = self.database.tasks().checkpoint(&self.task).await;
        let checkpoint =
            checkpoint.map_err(|error| format!("the checkpoint cannot be read: {error}"))?;
        Ok(checkpoint.map(Into::into))
    }

    async fn save(&self, checkpoint: &RawValue) -> Result<(), String> {
        match self.database.tasks().save_checkpoint(&self.task, checkpoint.get()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("another attempt has this task, or its job is finished".to_owned()),
            Err(error) => Err(format!("the checkpoint cannot be saved: {error}")),
        }
    }
}

/// How long a task waits for a value that could not be made.
fn unavailable_pause() -> Duration {
    Duration::from_secs(30).mul_f64(0.75 + fastrand::f64() / 2.0)
}

async fn run(
    definition: &dyn JobType,
    task: Task,
    limit: Duration,
) -> Result<Box<RawValue>, TaskError> {
    // Threads that the handler has started notice when nobody waits for them any more.
    let _cancel = task.attempt.cancellation.clone().drop_guard();
    // A handler that panics fails its attempt, but not the other tasks in this process.
    let running = AssertUnwindSafe(definition.run(task)).catch_unwind();
    let result = match tokio::time::timeout(limit, running).await {
        Ok(Ok(result)) => result?,
        Ok(Err(panic)) => {
            return Err(TaskError::Transient(format!("the handler panicked: {}", said(&*panic))));
        }
        Err(_) => {
            return Err(TaskError::Transient(format!(
                "the attempt took longer than {:.3} s: plan smaller tasks, or raise the task type's timeout, or \
                 FUNCTION_TIMEOUT_MINUTES, and functionTimeout in host.json with it",
                limit.as_secs_f64()
            )));
        }
    };
    storable(result)
}

/// A result, if it can be stored.
///
/// # Errors
/// It is too large, or nested too deep.
pub(super) fn storable(result: Box<RawValue>) -> Result<Box<RawValue>, TaskError> {
    if result.get().len() > LARGEST_RESULT {
        return Err(TaskError::Permanent(format!(
            "the result has {} bytes; at most {LARGEST_RESULT} are kept: store large data elsewhere and return \
             its address",
            result.get().len()
        )));
    }
    let depth = nesting(result.get());
    if depth > DEEPEST_NESTING {
        return Err(TaskError::Permanent(format!(
            "the result is nested {depth} deep; at most {DEEPEST_NESTING} are kept"
        )));
    }
    Ok(result)
}

/// A reason, cut if it is long.
pub(super) fn short(reason: String) -> String {
    match reason.char_indices().nth(LONGEST_REASON) {
        None => reason,
        Some((end, _)) => format!("{}… ({} bytes)", &reason[..end], reason.len()),
    }
}
