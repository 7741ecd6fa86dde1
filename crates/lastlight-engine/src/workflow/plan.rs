//! Plan: a job message starts a stage. Task definitions are streamed from the job type into
//! PostgreSQL in chunks; the batches of a chunk are sent while the next chunk is written.
//!
//! One planner at a time holds the stage's lease. It may die at any point: each chunk is one
//! transaction that moves the stage's cursor and adds its batches as unsent, so the next planner
//! continues at the cursor and `reconcile` sends the unsent batches. A planner whose invocation has
//! used up its share of the function's time stops at the cursor and sends the job message again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Controller, ControllerError, Shared,
    plan_tasks::{messages, new_task, unfit},
    upstream::StoredResults,
};
use crate::{
    failpoint::failpoint,
    job::{
        PlanError,
        erased::{JobType, PlanContext, RawPlan, StageSpec},
    },
    model::{
        ProcessingPath, TASKS_PER_BATCH, TraceParent, WorkerHandler,
        messages::{JobReference, message_time},
    },
    store::{
        BatchKey, BatchOfTasks, ChunkWritten, DatabaseError, HEAVIEST_STATEMENT, JobRecord,
        LeasedStage, NewTask, StageKey, StagePlan,
    },
    telemetry,
};

/// Maximum number of tasks written by one transaction; rounded down to whole batches.
const CHUNK: usize = 1000;

/// Maximum number of tasks of one stage.
pub(super) const LARGEST_STAGE: u64 = 1_000_000;

/// The result of a job message. All of these are success to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobDelivery {
    /// The stage was planned by this delivery.
    Planned {
        /// Tasks written by it.
        tasks: u64,
    },
    /// Its invocation used up its share of time: another delivery plans the rest of the stage.
    Stopped {
        /// Tasks written by it.
        tasks: u64,
    },
    /// The stage is planned already, or another delivery plans it.
    Duplicate,
    /// The job is past the stage, or finished.
    Passed,
    /// The stage cannot be planned; it fails with the reason, or the job if its stages form a line.
    Failed,
}

impl JobDelivery {
    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Stopped { .. } => "stopped",
            Self::Duplicate => "duplicate",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }

    /// Tasks written by it.
    pub fn tasks(self) -> Option<u64> {
        match self {
            Self::Planned { tasks } | Self::Stopped { tasks } => Some(tasks),
            Self::Duplicate | Self::Passed | Self::Failed => None,
        }
    }
}

enum PlanEnd {
    Whole {
        tasks: u64,
        stage_ended: bool,
    },
    Stopped {
        tasks: u64,
    },
    LeaseLost,
    Impossible(String),
    /// A value that the plan needs could not be made.
    Unavailable(String),
}

impl From<PlanError> for PlanEnd {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Failed(reason) => Self::Impossible(reason),
            PlanError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl Controller {
    /// Starts the stage that a job message names.
    ///
    /// # Errors
    /// The message contradicts the database, or the database failed. Nothing is lost: the message
    /// is redelivered, or `reconcile` detects the loss.
    pub async fn process_job_message(
        &self,
        message: &JobReference,
    ) -> Result<JobDelivery, ControllerError> {
        let (definition, job) = self.job_of(message).await?;
        let job_id = message.job_id;
        // In a graph several stages may be under way; the lease tells whether this one is ready.
        let passed = !job.is_graph() && message.stage < job.stage;
        if job.status.is_terminal() || passed {
            return Ok(JobDelivery::Passed);
        }
        if message.stage > if job.is_graph() { job.total_stages } else { job.stage } {
            return Err(ControllerError::StageNotReached {
                job_id,
                stage: message.stage,
                current: job.stage,
            });
        }
        let trace = message.trace.or(job.trace);
        let span = tracing::info_span!(
            "plan",
            %job_id,
            stage = message.stage.get(),
            job_type = job.job_type,
            trace_id = trace.as_ref().map(TraceParent::trace_id),
        );
        telemetry::join(&span, trace);
        let key = StageKey { job_id, stage: message.stage };
        self.plan_stage(definition.as_ref(), &job, key).instrument(span).await
    }

    /// The job that a message names, and its type.
    pub(super) async fn job_of(
        &self,
        message: &JobReference,
    ) -> Result<(Arc<dyn JobType>, JobRecord), ControllerError> {
        let job_id = message.job_id;
        if !self.0.catalog.can_compile() {
            self.job_type_by(&message.job_type, None).await?;
        }
        let job = self
            .0
            .database
            .jobs()
            .get(&job_id)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id })?;
        if job.job_type != message.job_type {
            return Err(ControllerError::JobTypeMismatch {
                job_id,
                message_says: message.job_type.clone(),
                stored: job.job_type,
            });
        }
        let definition = self.job_type_by(&job.job_type, job.definition_id.as_deref()).await?;
        Ok((definition, job))
    }

    async fn plan_stage(
        &self,
        definition: &dyn JobType,
        job: &JobRecord,
        key: StageKey,
    ) -> Result<JobDelivery, ControllerError> {
        let shared = &*self.0;
        let owner = Uuid::new_v4();
        let began = Instant::now();
        let Some(LeasedStage { cursor, newest_index, is_littered }) =
            shared.database.stages().lease(&key, owner, shared.timing.lease.as_secs_f64()).await?
        else {
            // If a planner died between the last outcome and the advance, nobody else advances the
            // stage.
            self.advance(&key).await?;
            return Ok(JobDelivery::Duplicate);
        };
        if is_littered {
            self.clear(&key, owner).await?;
        }
        // A continued plan begins one task earlier, so that this task can be compared.
        let from = cursor.saturating_sub(u64::from(newest_index.is_some()));
        let upstream =
            Arc::new(StoredResults { database: shared.database.clone(), job_id: key.job_id });
        let end = match begin(definition, job, &key, from, upstream) {
            Ok((spec, tasks)) => {
                let worker = spec.worker(job.path);
                let handler_id = match &worker {
                    Some(handler) => Some(self.handler_id(handler).await?),
                    None => None,
                };
                let plan = StagePlan {
                    key,
                    job_type: &job.job_type,
                    task_type: &spec.task_type,
                    tasks_per_message: spec.options.tasks_per_message,
                    owner,
                    lease_seconds: shared.timing.lease.as_secs_f64(),
                    handler_id,
                };
                shared
                    .write_and_send(
                        job.path,
                        telemetry::outgoing(job.trace),
                        &plan,
                        worker.as_ref(),
                        Continued { cursor, newest_index, tasks },
                        began,
                    )
                    .await
            }
            Err(error) => Ok(error.into()),
        };
        match end {
            Ok(PlanEnd::Whole { tasks, stage_ended }) => {
                tracing::info!(job_id = %key.job_id, stage = key.stage.get(), tasks, "stage planned");
                if stage_ended {
                    self.advance(&key).await?;
                }
                Ok(JobDelivery::Planned { tasks })
            }
            Ok(PlanEnd::Stopped { tasks }) => {
                let grace = shared.timing.send_grace.as_secs_f64();
                let Some(sends) = shared.database.stages().stop_plan(&key, owner, grace).await?
                else {
                    return Ok(JobDelivery::Duplicate);
                };
                tracing::info!(job_id = %key.job_id, stage = key.stage.get(), tasks,
                    "planning continues in another invocation");
                // A failure is recorded, and the message stays unsent.
                let _ = shared
                    .send_job_message(
                        &key,
                        sends,
                        &job.job_type,
                        &job.parameters,
                        job.path,
                        job.trace,
                    )
                    .await;
                Ok(JobDelivery::Stopped { tasks })
            }
            Ok(PlanEnd::Unavailable(reason)) => {
                // The sweep sends the message, so that the value is not asked for again at once.
                let pause = shared.timing.lease.as_secs_f64();
                if shared.database.stages().stop_plan(&key, owner, pause).await?.is_none() {
                    return Ok(JobDelivery::Duplicate);
                }
                tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), reason,
                    "planning waits for a context");
                Ok(JobDelivery::Stopped { tasks: 0 })
            }
            Ok(PlanEnd::LeaseLost) => Ok(JobDelivery::Duplicate),
            Ok(PlanEnd::Impossible(reason)) if job.is_graph() => {
                let Some(ended) = shared.database.stages().fail_plan(&key, owner, &reason).await?
                else {
                    return Ok(JobDelivery::Duplicate);
                };
                tracing::warn!(job_id = %key.job_id, stage = key.stage.get(), reason, "the stage cannot be planned");
                if ended {
                    self.advance(&key).await?;
                }
                Ok(JobDelivery::Failed)
            }
            Ok(PlanEnd::Impossible(reason)) => {
                let reason = format!("stage {} cannot be planned: {reason}", key.stage);
                if !shared.database.jobs().fail_plan(&key, owner, &reason).await? {
                    return Ok(JobDelivery::Duplicate);
                }
                tracing::warn!(job_id = %key.job_id, reason, "job failed");
                self.ended_early(job).await?;
                Ok(JobDelivery::Failed)
            }
            Err(error) => {
                // So that the next delivery need not wait for the lease to expire; if this fails
                // too, it has to wait.
                let _ = shared.database.stages().release(&key, owner).await;
                Err(error.into())
            }
        }
    }
}

/// A plan that is continued, or begun at the cursor 0.
struct Continued {
    cursor: u64,
    /// The index of the task before the cursor, with which the plan then begins.
    newest_index: Option<String>,
    tasks: RawPlan,
}

/// Why a plan that is continued is not the plan that was begun.
fn changed(cursor: u64, newest: &str, index: Option<&str>) -> PlanEnd {
    let now = match index {
        Some(index) => format!("is now {index:?}"),
        None => "is not in it now".to_owned(),
    };
    PlanEnd::Impossible(format!(
        "the plan is not the same as before: its task {cursor} was {newest:?} and {now}"
    ))
}

/// The stage's specification, and its tasks from a position on.
fn begin(
    definition: &dyn JobType,
    job: &JobRecord,
    key: &StageKey,
    from: u64,
    upstream: Arc<StoredResults>,
) -> Result<(StageSpec, RawPlan), PlanError> {
    let unreadable =
        |error: serde_json::Error| PlanError::new(format!("the job's row cannot be read: {error}"));
    let parameters: Map<String, Value> =
        serde_json::from_str(job.parameters.get()).map_err(unreadable)?;
    let results: Map<String, Value> =
        serde_json::from_str(job.stage_results.get()).map_err(unreadable)?;
    let mut stages = definition.stages(&parameters)?;
    let place = usize::from(key.stage.get()) - 1;
    if place >= stages.len() {
        let name = definition.name();
        return Err(PlanError::new(format!("{name} has only {} stages", stages.len())));
    }
    let spec = stages.swap_remove(place);
    let previous_summary = key
        .stage
        .previous()
        .and_then(|previous| results.get(&previous.to_string()))
        .and_then(|result| result.get("summary"))
        .cloned()
        .unwrap_or(Value::Null);
    let context = PlanContext {
        job_id: key.job_id,
        stage: key.stage,
        from,
        previous_summary,
        upstream: Some(upstream),
    };
    Ok((spec, definition.plan(&parameters, context)?))
}

impl Shared {
    async fn write_and_send(
        &self,
        path: ProcessingPath,
        trace: Option<TraceParent>,
        plan: &StagePlan<'_>,
        worker: Option<&WorkerHandler>,
        continued: Continued,
        began: Instant,
    ) -> Result<PlanEnd, DatabaseError> {
        let batches_per_chunk = CHUNK / plan.tasks_per_message.tasks_per_batch() as usize;
        // Holds two chunks: the writer waits for the senders instead of filling the memory.
        let (batches, to_send) = mpsc::channel(2 * batches_per_chunk);
        let writing = self.write(plan, continued, batches, began);
        let sending = async {
            match worker {
                None => self.send_planned(path, trace, plan, to_send).await,
                Some(handler) => self.wake_workers(handler, to_send).await,
            }
        };
        let (end, ()) = tokio::join!(writing, sending);
        end
    }

    async fn write(
        &self,
        plan: &StagePlan<'_>,
        continued: Continued,
        batches: mpsc::Sender<BatchOfTasks>,
        began: Instant,
    ) -> Result<PlanEnd, DatabaseError> {
        let StagePlan { key, owner, .. } = plan;
        let Continued { mut cursor, mut newest_index, mut tasks } = continued;
        let began_at = cursor;
        let lease = self.timing.lease.as_secs_f64();
        let batch = plan.tasks_per_message.tasks_per_batch() as usize;
        let whole = CHUNK / batch * batch;
        // The size of the chunk's parameters.
        let mut bytes = 0;
        let mut turn = None;
        let mut chunk: Vec<NewTask> = Vec::with_capacity(CHUNK);
        let mut extended = Instant::now();
        loop {
            let timeout = (self.timing.lease / 3).min(self.timing.margin());
            let waits_for_turn = bytes >= HEAVIEST_STATEMENT && turn.is_none();
            let arrived = if waits_for_turn {
                turn = self.memory.for_large_batch(Instant::now() + timeout).await;
                None
            } else {
                Some(tokio::time::timeout(timeout, tasks.next()).await)
            };
            // A slow plan must not lose its lease in the meantime.
            if extended.elapsed() > self.timing.lease / 3 {
                if !self.database.stages().keep_plan(key, *owner, lease).await? {
                    return Ok(PlanEnd::LeaseLost);
                }
                extended = Instant::now();
            }
            let is_last = matches!(arrived, Some(Ok(None)));
            let is_late = began.elapsed() >= self.timing.invocation_share();
            if is_last && let Some(newest) = &newest_index {
                return Ok(changed(cursor, newest, None));
            }
            if let Some(Ok(Some(definition))) = arrived {
                match (definition, newest_index.take()) {
                    (Ok(definition), Some(newest)) => {
                        if definition.index.as_str() != newest {
                            return Ok(changed(cursor, &newest, Some(definition.index.as_str())));
                        }
                    }
                    (Ok(definition), None) => match unfit(&definition) {
                        None => {
                            bytes += definition.parameters.get().len();
                            chunk.push(new_task(key, definition));
                        }
                        Some(problem) => return Ok(PlanEnd::Impossible(problem)),
                    },
                    (Err(error), _) => return Ok(error.into()),
                }
            }
            // A slow plan yields few tasks at a time; only the last chunk of a planner may be
            // short. Batches are not split.
            let is_heavy = bytes >= HEAVIEST_STATEMENT;
            while chunk.len() >= whole
                || (is_last && !chunk.is_empty())
                || ((is_late || is_heavy) && chunk.len() >= batch)
            {
                let full = if is_last { chunk.len() } else { chunk.len() / batch * batch };
                let rest = chunk.split_off(full.min(whole));
                let tasks = std::mem::replace(&mut chunk, rest);
                bytes = chunk.iter().map(|task| task.parameters.len()).sum();
                let length = tasks.len() as u64;
                if cursor + length > LARGEST_STAGE {
                    return Ok(PlanEnd::Impossible(format!(
                        "it has more than {LARGEST_STAGE} tasks; split the job into several"
                    )));
                }
                let written = self.database.stages().write_chunk(plan, cursor, tasks).await?;
                match written {
                    ChunkWritten::Stored(stored) => {
                        extended = Instant::now();
                        cursor += length;
                        for batch in stored {
                            // The receiver exists until this sender is dropped.
                            let _ = batches.send(batch).await;
                        }
                        failpoint!("plan.between_chunks");
                    }
                    ChunkWritten::LeaseLost => return Ok(PlanEnd::LeaseLost),
                    ChunkWritten::Collision { wanted, present } if wanted == present => {
                        return Ok(PlanEnd::Impossible(format!(
                            "the plan yields the task index {wanted:?} twice"
                        )));
                    }
                    ChunkWritten::Collision { wanted, present } => {
                        return Ok(PlanEnd::Impossible(format!(
                            "the task indexes {wanted:?} and {present:?} have the same task id; \
                             only letters, digits and '-' distinguish task ids"
                        )));
                    }
                }
            }
            if is_last {
                break;
            }
            if bytes < HEAVIEST_STATEMENT {
                turn = None;
            }
            if is_late && (cursor > began_at || waits_for_turn) {
                // The rest of the chunk is less than a batch: the next planner makes it again.
                return Ok(PlanEnd::Stopped { tasks: cursor - began_at });
            }
            if began.elapsed() + self.timing.margin() >= self.timing.function_timeout {
                return Ok(PlanEnd::Impossible(format!(
                    "it yielded {} task(s) within {:.0} s, and at least {batch} are written at once: list less at a time, \
                     or raise functionTimeout in host.json",
                    chunk.len(),
                    began.elapsed().as_secs_f64()
                )));
            }
        }
        match self.database.stages().finish_plan(key, *owner).await? {
            Some(stage_ended) => Ok(PlanEnd::Whole { tasks: cursor - began_at, stage_ended }),
            None => Ok(PlanEnd::LeaseLost),
        }
    }

    /// Wakes the workers that wait in this process as tasks for them are stored.
    async fn wake_workers(
        &self,
        handler: &WorkerHandler,
        mut stored: mpsc::Receiver<BatchOfTasks>,
    ) {
        while stored.recv().await.is_some() {
            self.worker_waits.ready(Some(&handler.queue));
        }
    }

    /// Sends the batches that the writer stored. The first batch that cannot be sent ends the
    /// sending, not the planning: it and the rest stay unsent, rather than waiting for each of ten
    /// thousand batches to fail by itself.
    async fn send_planned(
        &self,
        path: ProcessingPath,
        trace: Option<TraceParent>,
        plan: &StagePlan<'_>,
        to_send: mpsc::Receiver<BatchOfTasks>,
    ) {
        let gave_up = AtomicBool::new(false);
        let timestamp = message_time();
        // Batches are sent together up to a hundred messages.
        let together =
            if plan.tasks_per_message.is_coarse() { TASKS_PER_BATCH as usize } else { 1 };
        let batches =
            stream::unfold(to_send, async |mut to_send| Some((to_send.recv().await?, to_send)));
        batches
            .ready_chunks(together)
            .for_each_concurrent(self.timing.sends_in_flight, async |batches| {
                if gave_up.load(Ordering::Relaxed) {
                    return;
                }
                let key = &plan.key;
                let keys: Vec<BatchKey> = batches
                    .iter()
                    .map(|batch| BatchKey::new(key, batch.batch_no))
                    .collect();
                let sent = match messages(plan, &timestamp, trace, &batches) {
                    Ok(messages) => self.send_batches(path, &keys, &messages).await,
                    Err(error) => {
                        tracing::error!(job_id = %key.job_id, %error, "a task message could not be serialized");
                        Ok(false)
                    }
                };
                match sent {
                    Ok(true) => {}
                    Ok(false) => gave_up.store(true, Ordering::Relaxed),
                    Err(error) => {
                        tracing::warn!(job_id = %key.job_id, %error, "a sent batch could not be marked as sent");
                    }
                }
            })
            .await;
    }
}
