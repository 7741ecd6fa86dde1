//! One attempt at one task, as the work of a stage sees it.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::{
    Checkpoints, Contexts, LinkToOne, Notes, Stage, TaskError, context::Context, json,
    notes::LARGEST_CHECKPOINT,
};

/// One attempt at one task. Cheap to clone, and it borrows nothing: a clone may go into
/// `spawn_blocking`. `tracing` spans that the work makes are children of the attempt's span.
///
/// ```
/// # use lastlight_engine::job::{Stage, TaskContext, TaskError};
/// # async fn run<S: Stage>(context: TaskContext<S>, rows: u32) -> Result<u32, TaskError> {
/// let mut row: u32 = context.checkpoint().await?.unwrap_or_default();
/// while row < rows {
///     // … the work on this row …
///     row += 1;
///     context.progress(f64::from(row) / f64::from(rows), format!("row {row} of {rows}"));
///     if row % 1000 == 0 {
///         context.save_checkpoint(&row).await?;
///     }
/// }
/// # Ok(row)
/// # }
/// ```
pub struct TaskContext<S = ()> {
    attempt: Arc<Attempt>,
    stage: PhantomData<fn() -> S>,
}

impl<S> Clone for TaskContext<S> {
    fn clone(&self) -> Self {
        Self { attempt: Arc::clone(&self.attempt), stage: PhantomData }
    }
}

impl<S> fmt::Debug for TaskContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.attempt, f)
    }
}

/// What an attempt knows of itself.
#[derive(Debug)]
pub struct Attempt {
    /// Id of the job.
    pub job_id: String,
    /// Id of the task.
    pub task_id: String,
    /// Number of this attempt, from 1, counted since a user last retried the task.
    pub number: u32,
    /// When the attempt must end.
    pub deadline: Instant,
    /// Cancelled when the result of the attempt would be discarded.
    pub cancellation: CancellationToken,
    /// The result of the task's predecessor, if there is one and it completed.
    pub predecessor: Option<Box<RawValue>>,
    /// The values that tasks share.
    pub contexts: Contexts,
    /// What the attempt says about itself.
    pub notes: Arc<Notes>,
    /// Where its task's checkpoint is kept.
    pub checkpoints: Arc<dyn Checkpoints>,
}

impl<S> TaskContext<S> {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self { attempt: Arc::new(attempt), stage: PhantomData }
    }

    /// Id of the job: 64 hexadecimal digits.
    pub fn job_id(&self) -> &str {
        &self.attempt.job_id
    }

    /// Id of the task, unique within its job. Use both ids in the names of what the task writes.
    pub fn task_id(&self) -> &str {
        &self.attempt.task_id
    }

    /// Number of this attempt, from 1, counted since a user last retried the task.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Time that is left for this attempt: afterwards it is stopped and counts as failed.
    pub fn time_left(&self) -> Duration {
        self.attempt.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the result of this attempt would be discarded: its job was cancelled, or another
    /// attempt has its task. Work that cannot be dropped, such as a thread, should look at this.
    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancellation.is_cancelled()
    }

    /// Waits until the result of this attempt would be discarded.
    pub async fn cancelled(&self) {
        self.attempt.cancellation.cancelled().await;
    }

    /// Says how much of the work is done, from 0 to 1, and what is being done: shown with the task
    /// within seconds.
    pub fn progress(&self, fraction: f64, message: impl AsRef<str>) {
        self.attempt.notes.progress(fraction, message.as_ref());
    }

    /// Adds a line to the log of this attempt. Its last 64 KiB are kept with the task.
    pub fn log(&self, line: impl AsRef<str>) {
        self.attempt.notes.log(line.as_ref());
    }

    /// The checkpoint that an earlier attempt saved, if any. One of another type counts as none: the
    /// code has changed since, so the work begins again.
    ///
    /// # Errors
    /// A transient failure: it cannot be read now.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, TaskError> {
        let saved = self.attempt.checkpoints.load().await.map_err(TaskError::Transient)?;
        Ok(saved.and_then(|saved| {
            json::read(&saved, "the checkpoint")
                .inspect_err(|error| {
                    tracing::warn!(task_id = self.task_id(), error, "a checkpoint is ignored");
                })
                .ok()
        }))
    }

    /// Saves a value that the next attempt finds if this one does not finish: at most 64 KiB of
    /// JSON. Each call is a write to the database; once per minute of work is often enough.
    ///
    /// # Errors
    /// A transient failure if it cannot be saved now; a permanent one if it is too large.
    pub async fn save_checkpoint<T>(&self, checkpoint: &T) -> Result<(), TaskError>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let checkpoint = json::write(checkpoint, "the checkpoint").map_err(TaskError::Permanent)?;
        let bytes = checkpoint.get().len();
        if bytes > LARGEST_CHECKPOINT {
            return Err(TaskError::permanent(format!(
                "the checkpoint has {bytes} bytes; at most {LARGEST_CHECKPOINT} are kept: store large data elsewhere and keep its \
                 address"
            )));
        }
        self.attempt.checkpoints.save(&checkpoint).await.map_err(TaskError::Transient)
    }

    /// A value that the tasks of this process share; see [`Context`].
    ///
    /// # Errors
    /// It cannot be made now. Return the error with `?`: the task waits, and no attempt counts.
    pub async fn get<C: Context>(&self) -> Result<Arc<C>, TaskError> {
        let made = self.attempt.contexts.get::<C>().await;
        made.map_err(|error| TaskError::Unavailable(error.to_string()))
    }
}

impl<S: Stage> TaskContext<S> {
    /// The result of the task's predecessor: the task of the previous stage with the same index, or
    /// the one that the plan names. Of a stage that follows several ones, see
    /// [`predecessor_of`](Self::predecessor_of):
    ///
    /// ```compile_fail,E0277
    /// # use lastlight_engine::job::*;
    /// # async fn run<A, B, S>(context: TaskContext<S>) -> Result<(), TaskError>
    /// # where A: Stage, B: Stage<Job = A::Job>, S: Stage<Job = A::Job, Previous = (A, B)> {
    /// let before = context.predecessor()?; // Of which stage?
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A permanent failure: there is none, it did not complete, or its result has another form.
    // A parameter in place of `S::Previous`: so the compiler says what to call instead, rather than that
    // there is no such method.
    pub fn predecessor<P>(&self) -> Result<P::Output, TaskError>
    where
        S: Stage<Previous = P>,
        P: LinkToOne<S::Job>,
    {
        self.predecessor_if_completed()?.ok_or_else(none)
    }

    /// The same; `None` if there is no predecessor or it did not complete.
    ///
    /// # Errors
    /// A permanent failure: the result has another form.
    pub fn predecessor_if_completed<P>(&self) -> Result<Option<P::Output>, TaskError>
    where
        S: Stage<Previous = P>,
        P: LinkToOne<S::Job>,
    {
        self.read_predecessor(|| "the predecessor's result".to_owned())
    }

    /// The result of the task's predecessor, which is a task of the stage `A`: the plan names it with
    /// [`Planned::after_in`](super::Planned::after_in).
    ///
    /// ```
    /// # use lastlight_engine::job::*;
    /// # async fn run<A, B, S>(context: TaskContext<S>) -> Result<(), TaskError>
    /// # where A: Stage, B: Stage<Job = A::Job>, S: Stage<Job = A::Job, Previous = (A, B)> {
    /// let before = context.predecessor_of::<A>()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A permanent failure: there is none, it did not complete, or its result has another form.
    pub fn predecessor_of<A: Stage<Job = S::Job>>(&self) -> Result<A::Output, TaskError> {
        self.predecessor_of_if_completed::<A>()?.ok_or_else(none)
    }

    /// The same; `None` if there is no predecessor or it did not complete.
    ///
    /// # Errors
    /// A permanent failure: the result has another form.
    pub fn predecessor_of_if_completed<A: Stage<Job = S::Job>>(
        &self,
    ) -> Result<Option<A::Output>, TaskError> {
        self.read_predecessor(|| {
            format!("the predecessor's result, as one of stage {:?},", A::NAME)
        })
    }

    fn read_predecessor<T: DeserializeOwned>(
        &self,
        what: impl FnOnce() -> String,
    ) -> Result<Option<T>, TaskError> {
        let Some(result) = &self.attempt.predecessor else { return Ok(None) };
        json::read(result, &what()).map(Some).map_err(TaskError::Permanent)
    }
}

/// A task needs a result that is not there.
fn none() -> TaskError {
    TaskError::permanent(
        "the task needs the result of its predecessor, and there is none, or it did not complete",
    )
}
