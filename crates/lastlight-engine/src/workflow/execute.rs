//! Execute: a task message runs a task. Claim it, run it, record the outcome, and advance the stage
//! if it was the last.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};

use tracing::{Instrument, Span};

use super::{Controller, ControllerError, Shared, memory::Share, room::Place};
use crate::{
    config::Timing,
    failpoint::failpoint,
    model::{
        TaskId, TraceParent,
        messages::{TaskMessage, TaskReference},
    },
    store::{
        BatchKey, Claim, ClaimRequest, Claimed, Completion, CompletionRecord, DatabaseError,
        RunningTask, StageKey, TaskOutcome, Unclaimed,
    },
    telemetry,
};

/// Maximum number of tasks of one invocation that are being deferred at the same time.
const DEFERRED_AT_ONCE: usize = 512;

/// The result of a task message. All of these are success to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskDelivery {
    /// This delivery ran the task and its outcome counts.
    Ran {
        /// Whether the task has a result; otherwise it failed for good.
        completed: bool,
    },
    /// This delivery ran the task, which failed transiently: it is due again after the pause.
    RetryLater { pause: Duration },
    /// This delivery ran the task, but the outcome was discarded: its lease had gone to another
    /// attempt, the task had its outcome, or its job was finished.
    Superseded,
    /// The task runs elsewhere, is not due yet, has its outcome, or its job is finished.
    Duplicate,
    /// There was no slot for the task: it gets a new message, and no attempt is counted.
    Deferred,
}

/// An invocation: the host gives it `functionTimeout`, and kills the process if it takes longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invocation {
    began: Instant,
}

impl Invocation {
    fn begins() -> Self {
        Self { began: Instant::now() }
    }

    /// The latest time at which a task that has to wait for a slot may begin, so that it ends in
    /// time if it takes the mean duration.
    fn begin_by(self, timing: &Timing, waits: Duration, mean: Duration) -> Instant {
        let in_time = timing.function_timeout.saturating_sub(timing.margin() + 2 * mean);
        self.began + waits.min(in_time)
    }

    /// The time that is left for an attempt that begins now.
    pub(super) fn left(self, timing: &Timing) -> Duration {
        timing.function_timeout.saturating_sub(timing.margin() + self.began.elapsed())
    }
}

/// A task that a message names.
#[derive(Debug)]
struct Named {
    /// The index of the message in its invocation.
    place: usize,
    task: TaskReference,
    /// How long it may wait for a slot.
    waits: Duration,
}

/// What a task that may begin holds until it ends.
#[derive(Debug)]
struct Entered {
    _place: Place,
    /// Memory for its result.
    share: Share,
    /// It waits no longer than this for memory for its inputs.
    by: Instant,
}

impl Controller {
    /// Runs the task that a message names.
    ///
    /// # Errors
    /// The message contradicts the database, or the database failed. Nothing is lost: the message
    /// is redelivered, or `reconcile` detects the loss.
    pub async fn process_task_message(
        &self,
        message: TaskReference,
    ) -> Result<TaskDelivery, ControllerError> {
        let invocation = Invocation::begins();
        let named = self.named_by_itself(0, message);
        let place = self.enter(invocation, &named).await;
        self.process_entered(invocation, named.task, place).await
    }

    fn named_by_itself(&self, place: usize, task: TaskReference) -> Named {
        let timing = &self.0.timing;
        let waits = if task.runs_alone { timing.invocation_share() } else { timing.longest_wait() };
        Named { place, task, waits }
    }

    /// A slot for a task and memory for its result, if they are free in time. Comes before the
    /// claim, so that no task waits under a lease. A task that runs alone waits for all others to
    /// end, and tasks that come after it wait for it.
    async fn enter(&self, invocation: Invocation, named: &Named) -> Option<Entered> {
        let Shared { room, timing, memory, .. } = &*self.0;
        let by = invocation.begin_by(timing, named.waits, room.mean());
        let place = if named.task.runs_alone {
            room.enter_alone(by, timing.function_timeout).await?
        } else {
            room.enter(by).await?
        };
        let share = memory.for_result(&named.task.job_type, by).await?;
        Some(Entered { _place: place, share, by })
    }

    /// Runs a task, or defers it if there is no slot for it.
    async fn process_entered(
        &self,
        invocation: Invocation,
        task: TaskReference,
        entered: Option<Entered>,
    ) -> Result<TaskDelivery, ControllerError> {
        self.job_type_of_task(&task.job_id, &task.job_type).await?;
        match entered {
            Some(entered) => self.process_placed(invocation, task, entered).await,
            None => {
                self.defer(ClaimRequest {
                    job_id: task.job_id,
                    stage: task.stage,
                    task_id: task.task_id,
                })
                .await
            }
        }
    }

    async fn process_placed(
        &self,
        invocation: Invocation,
        message: TaskReference,
        mut entered: Entered,
    ) -> Result<TaskDelivery, ControllerError> {
        let TaskReference { job_id, stage, task_id, trace, .. } = message;
        let key = StageKey { job_id, stage };
        let claim =
            self.0.claims.claim(ClaimRequest { job_id, stage, task_id: task_id.clone() }).await?;
        let claimed = match claim {
            Claim::Claimed(claimed) => claimed,
            Claim::Unclaimed(unclaimed) => return self.not_begun(&key, task_id, unclaimed).await,
        };
        let running = RunningTask { job_id, stage, task_id, attempt: claimed.attempt };
        self.0.watermark.begins(&running);
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
        self.run(invocation, key, running, claimed, &mut entered).instrument(span).await
    }

    /// The result of a message whose task is not to be begun.
    pub(super) async fn not_begun(
        &self,
        key: &StageKey,
        task_id: TaskId,
        unclaimed: Unclaimed,
    ) -> Result<TaskDelivery, ControllerError> {
        let StageKey { job_id, stage } = *key;
        match unclaimed {
            Unclaimed::Done { stage_ended } => {
                if stage_ended {
                    self.advance(key).await?;
                }
                Ok(TaskDelivery::Duplicate)
            }
            Unclaimed::Running | Unclaimed::JobFinished(_) => Ok(TaskDelivery::Duplicate),
            Unclaimed::UnknownTask => Err(ControllerError::UnknownTask { job_id, stage, task_id }),
            Unclaimed::UnknownJob => Err(ControllerError::UnknownJob { job_id }),
        }
    }

    /// Runs the tasks that the messages of one invocation name, several at once; the results are in
    /// the order of the messages. A coarse message runs all tasks of its batch that are still open:
    /// each task is claimed when its turn comes, so that none waits under a lease. Tasks that
    /// cannot begin soon and end in time are deferred.
    pub async fn process_task_messages(
        &self,
        messages: Vec<TaskMessage>,
    ) -> Vec<Result<(), ControllerError>> {
        let invocation = Invocation::begins();
        let mut results: Vec<Result<(), ControllerError>> =
            messages.iter().map(|_| Ok(())).collect();
        let tasks = self.tasks_of(messages, &mut results).await;
        let entering = stream::unfold(
            (self.clone(), VecDeque::from(tasks)),
            move |(controller, mut left)| async move {
                let next = controller.next_to_enter(invocation, &mut left).await?;
                Some((next, (controller, left)))
            },
        );
        let running = entering
            .map(|(named, place)| {
                let controller = self.clone();
                async move {
                    let Named { place: message, task, .. } = named;
                    (message, controller.process_entered(invocation, task, place).await)
                }
            })
            // As many as may run, plus those that are being deferred.
            .buffer_unordered(self.0.timing.tasks_in_flight + DEFERRED_AT_ONCE);
        let mut running = std::pin::pin!(running);
        while let Some((place, delivery)) = running.next().await {
            let (Err(error), Some(result)) = (delivery, results.get_mut(place)) else {
                continue;
            };
            // Prefer a transient error, so that the host redelivers the message.
            if result.is_ok() || error.is_transient() {
                *result = Err(error);
            }
        }
        results
    }

    /// The next task with its slot; a task without one is to be deferred. If more tasks are left
    /// than can begin in time, the last ones are deferred first: other processes may have slots for
    /// them.
    async fn next_to_enter(
        &self,
        invocation: Invocation,
        left: &mut VecDeque<Named>,
    ) -> Option<(Named, Option<Entered>)> {
        let Shared { room, timing, .. } = &*self.0;
        if let Some(last) = left.back() {
            let by = invocation.begin_by(timing, last.waits, room.mean());
            if !last.task.runs_alone && left.len() > room.fits(by) {
                return left.pop_back().map(|named| (named, None));
            }
        }
        let named = left.pop_front()?;
        let place = self.enter(invocation, &named).await;
        Some((named, place))
    }

    /// The tasks that messages name, each with the index of its message; an error of a message goes
    /// into its result.
    async fn tasks_of(
        &self,
        messages: Vec<TaskMessage>,
        results: &mut [Result<(), ControllerError>],
    ) -> Vec<Named> {
        let mut tasks = Vec::with_capacity(messages.len());
        let mut batches = Vec::new();
        for (place, message) in messages.into_iter().enumerate() {
            match message {
                TaskMessage::One(task) => tasks.push(self.named_by_itself(place, task)),
                TaskMessage::Batch(batch) => batches.push((place, batch)),
            }
        }
        if batches.is_empty() {
            return tasks;
        }
        let keys: Vec<BatchKey> = batches.iter().map(|(_, batch)| batch.batch_id.into()).collect();
        let found = self.0.database.outbox().task_ids_of_batches(&keys).await;
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
                // If it were deferred, each task would need a message of its own.
                let waits = self.0.timing.invocation_share();
                Named { place, task, waits }
            }));
        }
        tasks
    }

    async fn run(
        &self,
        invocation: Invocation,
        key: StageKey,
        running: RunningTask,
        claimed: Claimed,
        entered: &mut Entered,
    ) -> Result<TaskDelivery, ControllerError> {
        let beating = self.0.heartbeat.keep(running.clone());
        let job_type = claimed.job_type.clone();
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = self.outcome(invocation, &running, claimed, entered.by, &beating) => outcome,
            // The result would be discarded, so stop now and free the permit.
            () = beating.lost() => {
                tracing::debug!(job_id = %key.job_id, task_id = %running.task_id, attempt = running.attempt,
                    "an attempt was stopped: another attempt has its task, or its job is finished");
                return Ok(TaskDelivery::Superseded);
            }
        };
        let Some(outcome) = outcome else {
            drop(beating);
            return self.release_claim(running).await;
        };
        self.0.room.note(began.elapsed());
        if let TaskOutcome::Completed(result) = &outcome {
            self.0.memory.has_result(&job_type, &mut entered.share, result.get().len());
        }
        failpoint!("execute.ran");
        if let Some(note) = beating.notes().take_changed()
            && let Err(error) =
                self.0.database.tasks().write_notes(&[(running.clone(), note)]).await
        {
            tracing::warn!(%error, "the progress and the log of an attempt could not be stored");
        }
        if let TaskOutcome::Failed(reason) | TaskOutcome::Retry { reason, .. } = &outcome {
            tracing::warn!(job_id = %key.job_id, task_id = %running.task_id, attempt = running.attempt,
                is_final = matches!(outcome, TaskOutcome::Failed(_)), reason, "attempt failed");
        }
        let delivery = match &outcome {
            TaskOutcome::Completed(_) => TaskDelivery::Ran { completed: true },
            TaskOutcome::Failed(_) => TaskDelivery::Ran { completed: false },
            TaskOutcome::Retry { pause, .. } => TaskDelivery::RetryLater { pause: *pause },
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
        let record =
            self.record(Arc::new(Completion { task: running, outcome, claim: None })).await?;
        drop(beating);
        failpoint!("execute.recorded");
        if record.stage_ended {
            self.advance(&key).await?;
        }
        if !record.written {
            return Ok(TaskDelivery::Superseded);
        }
        if let TaskDelivery::RetryLater { pause } = delivery {
            self.0.send_retry(&key, &task_id, pause).await;
        }
        Ok(delivery)
    }

    /// Defers a claimed task for which no memory was free in time: it is unsent again; its attempt
    /// did not begin, and does not count.
    async fn release_claim(&self, running: RunningTask) -> Result<TaskDelivery, ControllerError> {
        Span::current().record("outcome", "deferred");
        let lease_seconds = self.0.timing.lease.as_secs_f64();
        let claim = std::slice::from_ref(&running);
        self.0.database.tasks().release_claims(claim, lease_seconds).await?;
        self.defer(ClaimRequest {
            job_id: running.job_id,
            stage: running.stage,
            task_id: running.task_id,
        })
        .await
    }

    /// Records the end of an attempt. A short outage of the database must not cost the computed
    /// result, so this retries for as long as the attempt's lease would hold. If an end was
    /// recorded but the answer was lost, recording it again shows that: it no longer counts, and
    /// `reconcile` advances the stage if it was the last.
    pub(super) async fn record(
        &self,
        completion: Arc<Completion>,
    ) -> Result<CompletionRecord, DatabaseError> {
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
}
