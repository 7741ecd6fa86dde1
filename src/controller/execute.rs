//! Execute: a task message runs a task. Claim, run, record the outcome, and turn out the light if it was the last.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, stream};
use serde_json::value::RawValue;

use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::{Controller, ControllerError};
use crate::{
    config::Timing,
    failpoint::failpoint,
    jobs::{DynJobType, Task, TaskError, TaskPolicy, panics::said},
    model::{
        DEEPEST_NESTING, TraceParent,
        messages::{TaskMessage, TaskReference},
        nesting,
    },
    repositories::postgres::{
        BatchKey, Claim, ClaimRequest, Claimed, Completion, CompletionRecord, DatabaseError, RunningTask,
        StageKey, TaskOutcome,
    },
    telemetry,
};

/// A result larger than this fails its task: large data belongs into storage, its address into the result. Bytes.
const LARGEST_RESULT: usize = 1024 * 1024;

/// A handler's reason for failing is cut at this many characters.
const LONGEST_REASON: usize = 8 * 1024;

/// What a task message came to. All of these are success to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskDelivery {
    /// This delivery ran the task and its outcome counts.
    Ran {
        /// It has a result; otherwise it failed for good.
        completed: bool,
    },
    /// This delivery ran the task, which failed in a way that may pass: it is due again later.
    PutOff {
        /// How much later.
        pause: Duration,
    },
    /// This delivery ran the task; by then its lease had gone to another attempt, the task had its outcome, or its job was
    /// over.
    Superseded,
    /// The task runs elsewhere, is not due yet, has its outcome, or its job is over.
    Duplicate,
}

impl Controller {
    /// Runs the task that a message names.
    ///
    /// # Errors
    /// The message and the database do not fit together, or the database failed. Nothing is lost: the message comes
    /// again, or `reconcile` notices.
    pub async fn process_task_message(
        &self,
        message: TaskReference,
    ) -> Result<TaskDelivery, ControllerError> {
        let permit = self.permit(&message).await;
        self.process_permitted(message, permit).await
    }

    /// Waits for its turn. Comes before the claim, so that no task waits under a lease. One that runs alone waits for all
    /// others to end, and those that come after it wait for it.
    fn permit(
        &self,
        task: &TaskReference,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        let permits = if task.runs_alone {
            self.0.timing.tasks_in_flight
        } else {
            1
        };
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0.running).acquire_many_owned(permits);
        // Nobody ever closes the semaphore.
        async { permit.await.ok() }
    }

    async fn process_permitted(
        &self,
        message: TaskReference,
        _permit: Option<OwnedSemaphorePermit>,
    ) -> Result<TaskDelivery, ControllerError> {
        if self.0.catalog.get(&message.job_type).is_none() {
            return Err(ControllerError::UnknownJobType {
                job_type: message.job_type,
                known: self.0.catalog.names(),
            });
        }
        let TaskReference {
            job_id,
            stage,
            task_id,
            trace,
            ..
        } = message;
        let key = StageKey { job_id, stage };
        let claim = self
            .0
            .claims
            .claim(ClaimRequest {
                job_id,
                stage,
                task_id: task_id.clone(),
            })
            .await?;
        match claim {
            Claim::Claimed(claimed) => {
                let running = RunningTask {
                    job_id,
                    stage,
                    task_id,
                    attempt: claimed.attempt,
                };
                self.0.reached.begins(&running);
                let span = tracing::info_span!(
                    "task",
                    %job_id,
                    stage = stage.get(),
                    task_id = running.task_id.as_str(),
                    attempt = claimed.attempt,
                    job_type = claimed.job_type,
                    task_type = claimed.task_type,
                    outcome = tracing::field::Empty,
                    trace_id = trace.as_ref().map(TraceParent::trace_id),
                );
                telemetry::join(&span, trace);
                self.run(key, running, &claimed).instrument(span).await
            }
            Claim::Done { stage_ended } => {
                if stage_ended {
                    self.advance(&key).await?;
                }
                Ok(TaskDelivery::Duplicate)
            }
            Claim::Running | Claim::JobOver(_) => Ok(TaskDelivery::Duplicate),
            Claim::UnknownTask => Err(ControllerError::UnknownTask {
                job_id,
                stage,
                task_id,
            }),
            Claim::UnknownJob => Err(ControllerError::UnknownJob { job_id }),
        }
    }

    /// Runs the tasks that the messages of one invocation name, several at once; the answers are in the order of the
    /// messages. A coarse message runs whatever is still open of its batch: each task is claimed when its turn comes,
    /// so that none waits under a lease.
    pub async fn process_task_messages(
        &self,
        messages: Vec<TaskMessage>,
    ) -> Vec<Result<(), ControllerError>> {
        let mut results: Vec<Result<(), ControllerError>> = messages.iter().map(|_| Ok(())).collect();
        let tasks = self.tasks_of(messages, &mut results).await;
        let running = stream::iter(tasks)
            .then(|(place, task)| {
                let permit = self.permit(&task);
                async move { (place, task, permit.await) }
            })
            .map(|(place, task, permit)| {
                let controller = self.clone();
                async move { (place, controller.process_permitted(task, permit).await) }
            })
            .buffer_unordered(self.0.timing.tasks_in_flight);
        let mut running = std::pin::pin!(running);
        while let Some((place, delivery)) = running.next().await {
            let (Err(error), Some(result)) = (delivery, results.get_mut(place)) else {
                continue;
            };
            // Of several reasons the one that passes counts: then the message comes again.
            if result.is_ok() || error.is_transient() {
                *result = Err(error);
            }
        }
        results
    }

    /// The tasks that messages name, each with the place of its message; what is wrong with a message goes into its
    /// result.
    async fn tasks_of(
        &self,
        messages: Vec<TaskMessage>,
        results: &mut [Result<(), ControllerError>],
    ) -> Vec<(usize, TaskReference)> {
        let mut tasks = Vec::with_capacity(messages.len());
        let mut batches = Vec::new();
        for (place, message) in messages.into_iter().enumerate() {
            match message {
                TaskMessage::One(task) => tasks.push((place, task)),
                TaskMessage::Batch(batch) => batches.push((place, batch)),
            }
        }
        if batches.is_empty() {
            return tasks;
        }
        let keys: Vec<BatchKey> = batches.iter().map(|(_, batch)| batch.batch_id.into()).collect();
        let found = self.0.database.task_ids_of_batches(&keys).await;
        for (index, (place, batch)) in batches.into_iter().enumerate() {
            let batch_id = batch.batch_id;
            let ids = match &found {
                Ok(found) => found.get(index).cloned().flatten(),
                Err(error) => {
                    results[place] = Err(error.clone().into());
                    continue;
                }
            };
            let Some(ids) = ids else {
                results[place] = Err(ControllerError::UnknownBatch { batch_id });
                continue;
            };
            tasks.extend(ids.into_iter().map(|task_id| {
                let task = TaskReference {
                    task_id,
                    job_id: batch_id.job_id,
                    job_type: batch.job_type.clone(),
                    stage: batch_id.stage,
                    runs_alone: false,
                    trace: batch.trace,
                };
                (place, task)
            }));
        }
        tasks
    }

    async fn run(
        &self,
        key: StageKey,
        running: RunningTask,
        claimed: &Claimed,
    ) -> Result<TaskDelivery, ControllerError> {
        let beating = self.0.heartbeat.keep(running.clone());
        let outcome = tokio::select! {
            outcome = self.outcome(claimed) => outcome,
            // Whatever it comes to would not count: stop for the sake of those that wait.
            () = beating.lost() => {
                tracing::debug!(job_id = %key.job_id, task_id = %running.task_id, attempt = running.attempt,
                    "an attempt was stopped: its task went to another one, or its job is over");
                return Ok(TaskDelivery::Superseded);
            }
        };
        failpoint!("execute.ran");
        if let TaskOutcome::Failed(reason) | TaskOutcome::Retry { reason, .. } = &outcome {
            tracing::warn!(job_id = %key.job_id, task_id = %running.task_id, attempt = running.attempt,
                is_final = matches!(outcome, TaskOutcome::Failed(_)), reason, "attempt failed");
        }
        let delivery = match &outcome {
            TaskOutcome::Completed(_) => TaskDelivery::Ran { completed: true },
            TaskOutcome::Failed(_) => TaskDelivery::Ran { completed: false },
            TaskOutcome::Retry { pause, .. } => TaskDelivery::PutOff { pause: *pause },
        };
        Span::current().record(
            "outcome",
            match &outcome {
                TaskOutcome::Completed(_) => "completed",
                TaskOutcome::Failed(_) => "failed",
                TaskOutcome::Retry { .. } => "put off",
            },
        );
        let task_id = running.task_id.clone();
        let record = self
            .record(Arc::new(Completion {
                task: running,
                outcome,
            }))
            .await?;
        drop(beating);
        failpoint!("execute.recorded");
        if record.stage_ended {
            self.advance(&key).await?;
        }
        if !record.written {
            return Ok(TaskDelivery::Superseded);
        }
        if let TaskDelivery::PutOff { pause } = delivery {
            self.0.send_retry(&key, &task_id, pause).await;
        }
        Ok(delivery)
    }

    /// Records the end of an attempt. A database that is away for a moment must not cost what was computed, so this tries
    /// for as long as the attempt's lease would hold. Whether an end was recorded whose answer got lost is then found out
    /// by handing it in again: it no longer counts, and `reconcile` goes on if it was the last.
    async fn record(&self, completion: Arc<Completion>) -> Result<CompletionRecord, DatabaseError> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            match self.0.completions.complete(Arc::clone(&completion)).await {
                Err(DatabaseError::Unavailable { .. }) if began.elapsed() < self.0.timing.lease => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                result => return result,
            }
        }
    }

    /// Attempts before a task has failed for good.
    pub(super) fn most_attempts(&self, policy: &TaskPolicy) -> u16 {
        policy.most_attempts(self.0.timing.max_attempts)
    }

    /// Runs an attempt; says what it means for the task.
    async fn outcome(&self, claimed: &Claimed) -> TaskOutcome {
        let definition = self.0.catalog.get(&claimed.job_type);
        let policy = definition.map_or_else(TaskPolicy::default, |definition| {
            definition.task_policy(&claimed.task_type)
        });
        let Timing {
            backoff,
            task_timeout,
            ..
        } = self.0.timing;
        let most = self.most_attempts(&policy);
        let tries = claimed.tries;
        // Attempts count from their claim, so one that kills its process is not repeated for ever.
        if tries > most {
            return TaskOutcome::Failed(format!(
                "none of its {most} attempts came to an end: their processes died, or lost their leases; does the task \
                 exhaust the memory?"
            ));
        }
        let attempt = match definition {
            Some(definition) => {
                let limit = policy
                    .timeout
                    .map_or(task_timeout, |timeout| timeout.min(task_timeout));
                attempt(definition.as_ref(), claimed, limit).await
            }
            None => Err(TaskError::Transient(format!(
                "this version of lastlight has no job type {:?}",
                claimed.job_type
            ))),
        };
        match attempt.map_err(shortened) {
            Ok(result) => TaskOutcome::Completed(result),
            Err(TaskError::Permanent(reason)) => TaskOutcome::Failed(reason),
            Err(TaskError::Transient(reason)) if tries < most => {
                let backoff = policy.backoff.unwrap_or(backoff);
                TaskOutcome::Retry {
                    reason,
                    pause: backoff.pause(tries, fastrand::f64()),
                }
            }
            Err(TaskError::Transient(reason)) => {
                TaskOutcome::Failed(format!("{reason} (attempt {tries} of {most})"))
            }
        }
    }
}

async fn attempt(
    definition: &dyn DynJobType,
    claimed: &Claimed,
    limit: Duration,
) -> Result<Box<RawValue>, TaskError> {
    let task = Task {
        task_type: &claimed.task_type,
        parameters: &claimed.parameters,
        predecessor_result: claimed.predecessor_result.as_deref(),
        attempt: u32::from(claimed.tries),
    };
    // A handler that panics has failed; its siblings in this process have not.
    let running = AssertUnwindSafe(definition.run(task)).catch_unwind();
    let result = match tokio::time::timeout(limit, running).await {
        Ok(Ok(result)) => result?,
        Ok(Err(panic)) => {
            return Err(TaskError::Transient(format!(
                "the handler panicked: {}",
                said(&*panic)
            )));
        }
        Err(_) => {
            return Err(TaskError::Transient(format!(
                "the attempt took longer than {} s: plan smaller tasks, or raise the task type's timeout, or \
                 FUNCTION_TIMEOUT_MINUTES, and functionTimeout in host.json with it",
                limit.as_secs_f64()
            )));
        }
    };
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

fn shortened(error: TaskError) -> TaskError {
    let cut = |reason: String| match reason.char_indices().nth(LONGEST_REASON) {
        None => reason,
        Some((end, _)) => format!("{}… ({} bytes)", &reason[..end], reason.len()),
    };
    match error {
        TaskError::Transient(reason) => TaskError::Transient(cut(reason)),
        TaskError::Permanent(reason) => TaskError::Permanent(cut(reason)),
    }
}
