//! What workers say about their attempts: heartbeats, which extend leases and tell of lost and
//! cancelled attempts, and outcomes. An outcome that is said again counts once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, value::RawValue};

use super::{
    Controller, ControllerError,
    attempt::{short, storable},
};
use crate::{
    failpoint::failpoint,
    job::{LARGEST_LOG, LONGEST_MESSAGE, Note, TaskError},
    model::TaskStatus,
    store::{AttemptStanding, Completion, RunningTask, TaskOutcome},
};

/// Longest pause that a worker may ask for.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 24 * 3600);

/// A running attempt in a heartbeat.
#[derive(Debug, Clone)]
pub struct WorkerBeat {
    pub task: RunningTask,
    pub note: Note,
}

/// What a worker learns of an attempt that its heartbeat names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatAnswer {
    /// It holds its task, for another lease.
    Continue,
    /// Its job is finished: it is to stop.
    Cancelled,
    /// It does not hold its task: another attempt has it or will have it.
    Lost,
}

/// How an attempt ended, as its worker says.
#[derive(Debug)]
pub enum WorkerResult {
    /// The handler answered this.
    Completed(Box<RawValue>),
    /// It failed; the kind of the error may say that no attempt will succeed.
    Failed { error: String, error_type: Option<String> },
    /// It is to be tried again, after a pause of its own or the usual one.
    Retry { error: String, after: Option<Duration> },
    /// It was released, and does not count.
    Released,
}

/// An attempt that a worker has ended.
#[derive(Debug)]
pub struct WorkerOutcome {
    pub task: RunningTask,
    pub result: WorkerResult,
    /// The end of its log.
    pub log_tail: Option<String>,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeAnswer {
    /// It counts, now or since it was said before.
    Counted,
    /// The attempt did not hold its task any more, or its job is finished.
    Superseded,
    /// There is no such task for workers.
    Unknown,
}

impl Controller {
    /// Extends the leases of attempts that run in a worker, and keeps what they say.
    ///
    /// # Errors
    /// The database failed; the leases may not be extended.
    pub async fn worker_heartbeat(
        &self,
        worker_id: &str,
        beats: Vec<WorkerBeat>,
    ) -> Result<Vec<HeartbeatAnswer>, ControllerError> {
        let tasks: Vec<RunningTask> = beats.iter().map(|beat| beat.task.clone()).collect();
        self.worker_beats(worker_id, &tasks);
        let lease = self.0.timing.lease;
        // A worker may beat more often than leases need: most beats only read.
        let short = lease.mul_f64(0.75).as_secs_f64();
        let database = &self.0.database;
        let standing = database.workers().standing(&tasks, short).await?;
        let mut answers: Vec<HeartbeatAnswer> = standing
            .iter()
            .map(|standing| match standing {
                Some(standing) if standing.holds() => HeartbeatAnswer::Continue,
                Some(standing) if standing.is_over() => HeartbeatAnswer::Cancelled,
                _ => HeartbeatAnswer::Lost,
            })
            .collect();
        // What still runs at a heartbeat gets a state of its own, for users to see and with a lease to extend.
        let (mut places, mut claimed) = (Vec::new(), Vec::new());
        for (place, standing) in standing.iter().enumerate() {
            if answers[place] == HeartbeatAnswer::Continue
                && let Some(claim) = standing.as_ref().and_then(AttemptStanding::claim)
            {
                places.push(place);
                claimed.push((tasks[place].clone(), claim));
            }
        }
        if !claimed.is_empty() {
            let held = database.workers().own(&claimed, lease.as_secs_f64()).await?;
            failpoint!("heartbeat_worker.owned");
            for (place, _) in places.into_iter().zip(held).filter(|(_, is_held)| !is_held) {
                answers[place] = HeartbeatAnswer::Lost;
            }
        }
        let is_short = |place: &usize| {
            answers[*place] == HeartbeatAnswer::Continue
                && standing[*place].as_ref().is_some_and(|standing| standing.is_short)
        };
        let places: Vec<usize> = (0..tasks.len()).filter(is_short).collect();
        if !places.is_empty() {
            let short: Vec<RunningTask> =
                places.iter().map(|place| tasks[*place].clone()).collect();
            let held = database.tasks().extend_leases(&short, lease.as_secs_f64()).await?;
            for (place, _) in places.into_iter().zip(held).filter(|(_, is_held)| !is_held) {
                answers[place] = HeartbeatAnswer::Lost;
            }
        }
        let notes: Vec<(RunningTask, Note)> = beats
            .into_iter()
            .zip(&answers)
            .filter(|(beat, answer)| {
                **answer == HeartbeatAnswer::Continue && beat.note != Note::default()
            })
            .map(|(beat, _)| (beat.task, shortened(beat.note)))
            .collect();
        self.keep_notes(&notes).await;
        Ok(answers)
    }

    /// Records the outcomes of attempts that ran in a worker, each on its own.
    ///
    /// # Errors
    /// The database failed; which outcomes count is unknown, and all may be said again.
    pub async fn finish_for_worker(
        &self,
        outcomes: Vec<WorkerOutcome>,
    ) -> Result<Vec<OutcomeAnswer>, ControllerError> {
        let tasks: Vec<RunningTask> = outcomes.iter().map(|outcome| outcome.task.clone()).collect();
        let standing = self.presumed_standing(&outcomes, &tasks).await?;
        failpoint!("finish_worker.standing");
        let mut answers = vec![OutcomeAnswer::Unknown; outcomes.len()];
        let (mut ends, mut released, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (place, outcome) in outcomes.into_iter().enumerate() {
            let WorkerOutcome { task, result, log_tail } = outcome;
            let Some(standing) = standing[place].as_ref() else { continue };
            answers[place] = said_again(standing, &result);
            if !standing.holds() {
                continue;
            }
            if log_tail.is_some() {
                notes.push((task.clone(), shortened(Note { log_tail, ..Note::default() })));
            }
            match self.outcome_of_worker(&task, standing, result).await {
                Some(outcome) => {
                    let claim = standing.claim();
                    ends.push((place, Arc::new(Completion { task, outcome, claim })));
                }
                None => released.push((place, (task, standing.claim()))),
            }
        }
        self.keep_notes(&notes).await;
        for (place, _) in &released {
            answers[*place] = OutcomeAnswer::Counted;
        }
        let released: Vec<_> = released.into_iter().map(|(_, task)| task).collect();
        self.release(&released).await?;
        let recorded = ends.iter().map(|(_, completion)| self.record(Arc::clone(completion)));
        let recorded = futures_util::future::try_join_all(recorded).await?;
        failpoint!("finish_worker.recorded");
        let mut ended = Vec::new();
        let mut refused = Vec::new();
        for ((place, completion), record) in ends.iter().zip(recorded) {
            if record.stage_ended {
                ended.push(completion.task.stage_key());
            }
            if record.written {
                answers[*place] = OutcomeAnswer::Counted;
                if let Some(AttemptStanding { queue, seconds, .. }) = &standing[*place] {
                    self.0.worker_times.note_runs(queue, [*seconds]);
                }
            } else {
                refused.push(*place);
            }
        }
        // The outcome may have been said twice at the same moment, or counted without an answer.
        if !refused.is_empty() {
            let again: Vec<RunningTask> =
                refused.iter().map(|place| tasks[*place].clone()).collect();
            let standing = self.0.database.workers().standing(&again, 0.0).await?;
            for (place, standing) in refused.into_iter().zip(standing) {
                let counts = standing.is_some_and(|standing| has_ended(&standing));
                answers[place] =
                    if counts { OutcomeAnswer::Counted } else { OutcomeAnswer::Superseded };
            }
        }
        for key in ended {
            // The outcome counts: if this fails, the sweep advances the stage.
            if let Err(error) = self.advance(&key).await {
                tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), %error,
                    "a stage that ended was not advanced; the sweep advances it");
            }
        }
        Ok(answers)
    }

    /// The standing of the attempts of these outcomes, of which those that this process gave to their
    /// workers are presumed to hold their tasks still.
    async fn presumed_standing(
        &self,
        outcomes: &[WorkerOutcome],
        tasks: &[RunningTask],
    ) -> Result<Vec<Option<AttemptStanding>>, ControllerError> {
        let given = |outcome: &WorkerOutcome| match outcome.result {
            // Nothing checks a release that does not count.
            WorkerResult::Released => None,
            _ => self.0.given.take(&outcome.task),
        };
        let mut standing: Vec<Option<AttemptStanding>> = outcomes.iter().map(given).collect();
        let unknown = |place: &usize| standing[*place].is_none();
        let unknown: Vec<usize> = (0..tasks.len()).filter(unknown).collect();
        if !unknown.is_empty() {
            let named: Vec<RunningTask> =
                unknown.iter().map(|place| tasks[*place].clone()).collect();
            let read = self.0.database.workers().standing(&named, 0.0).await?;
            for (place, read) in unknown.into_iter().zip(read) {
                standing[place] = read;
            }
        }
        Ok(standing)
    }

    /// The outcome of an attempt as it is stored; `None`: it is released.
    async fn outcome_of_worker(
        &self,
        task: &RunningTask,
        standing: &AttemptStanding,
        result: WorkerResult,
    ) -> Option<TaskOutcome> {
        let AttemptStanding { job_type, task_type, tries, .. } = standing;
        let definition = self.job_type_of_task(&task.job_id, job_type).await;
        let limits = self.limits(definition.as_deref().ok(), task_type);
        let attempt = match result {
            WorkerResult::Released => return None,
            WorkerResult::Retry { error, after: Some(pause) } if *tries < limits.most => {
                let pause = pause.min(LONGEST_PAUSE);
                return Some(TaskOutcome::Retry { reason: short(error), pause });
            }
            WorkerResult::Retry { error, .. } => Err(TaskError::Transient(error)),
            WorkerResult::Failed { error, error_type } => {
                Err(TaskError::of_kind(error, error_type.as_deref()))
            }
            WorkerResult::Completed(result) => match definition {
                Ok(definition) => storable(result)
                    .and_then(readable)
                    .and_then(|result| definition.result_of_worker(task_type, result))
                    .and_then(storable),
                Err(error) => Err(TaskError::Transient(error.to_string())),
            },
        };
        if let Err(error) = &attempt {
            tracing::warn!(job_id = %task.job_id, task_id = %task.task_id, attempt = task.attempt,
                reason = error.reason(), "an attempt of a worker failed");
        }
        Some(limits.outcome(*tries, attempt))
    }

    async fn keep_notes(&self, notes: &[(RunningTask, Note)]) {
        // A log of 64 KiB each: a few at a time.
        for some in notes.chunks(32) {
            if let Err(error) = self.0.database.tasks().write_notes(some).await {
                tracing::warn!(%error, tasks = some.len(),
                    "the progress and the log of attempts could not be stored");
            }
        }
    }
}

/// The answer to an outcome of an attempt that does not hold its task.
fn said_again(standing: &AttemptStanding, result: &WorkerResult) -> OutcomeAnswer {
    let was_released = matches!(result, WorkerResult::Released)
        && standing.is_newest
        && standing.task_status == TaskStatus::Retrying;
    if was_released || has_ended(standing) {
        OutcomeAnswer::Counted
    } else {
        OutcomeAnswer::Superseded
    }
}

/// Whether the end of this attempt was recorded.
fn has_ended(standing: &AttemptStanding) -> bool {
    standing.is_newest
        && match standing.task_status {
            TaskStatus::Completed | TaskStatus::Failed => true,
            TaskStatus::Retrying => standing.is_postponed,
            _ => false,
        }
}

/// A result that everyone can read: a value that JSON parsers refuse, such as half of a character,
/// would make the task unreadable.
fn readable(result: Box<RawValue>) -> Result<Box<RawValue>, TaskError> {
    // Most have no escapes, and then nothing that can be wrong but numbers.
    match serde_json::from_str::<Value>(result.get()) {
        Ok(_) => Ok(result),
        Err(error) => Err(TaskError::Permanent(format!("the result cannot be stored: {error}"))),
    }
}

fn shortened(note: Note) -> Note {
    let Note { progress, message, log_tail } = note;
    Note {
        progress: progress.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0)),
        message: message.map(|message| message.chars().take(LONGEST_MESSAGE).collect()),
        log_tail: log_tail.map(|log| {
            let mut begin = log.len().saturating_sub(LARGEST_LOG);
            while !log.is_char_boundary(begin) {
                begin += 1;
            }
            log[begin..].to_owned()
        }),
    }
}
