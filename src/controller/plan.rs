//! Plan: a job message starts a stage. Task definitions stream from the job type into PostgreSQL in chunks; the
//! batches of a chunk are sent while the next chunk is written.
//!
//! One planner at a time holds the stage's lease. It may die anywhere: each chunk is one transaction that moves the
//! stage's cursor and makes its batches owed, so the next planner goes on at the cursor and `reconcile` sends what
//! is owed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Controller, ControllerError, Shared,
    outgoing::{TaskMessages, TaskToSend},
};
use crate::{
    jobs::{DynJobType, Plan, PlanContext, PlanError, TaskDefinition},
    model::{
        ProcessingPath, Stage, TaskId,
        messages::{JobReference, message_time},
    },
    repositories::{
        postgres::{BatchKey, BatchOfTasks, ChunkWritten, DatabaseError, JobRecord, NewTask, StageKey},
        sender::OutgoingMessage,
    },
};

/// Tasks written by one transaction; a multiple of [`crate::model::TASKS_PER_BATCH`].
const CHUNK: usize = 1000;

/// The most that one stage may hold.
const LARGEST_STAGE: u64 = 1_000_000;

/// What a job message came to. All of these are success to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobDelivery {
    /// The stage was planned by this delivery.
    Planned {
        /// Tasks written by it.
        tasks: u64,
    },
    /// The stage is planned already, or another delivery plans it.
    Duplicate,
    /// The job has gone past the stage, or is over.
    Passed,
    /// Its plan cannot be made; the job failed with the reason.
    Failed,
}

enum PlanEnd {
    Whole { tasks: u64, stage_ended: bool },
    LeaseLost,
    Impossible(String),
}

impl Controller {
    /// Starts the stage that a job message names.
    ///
    /// # Errors
    /// The message and the database do not fit together, or the database failed. Nothing is lost: the message comes
    /// again, or `reconcile` notices.
    pub async fn process_job_message(&self, message: &JobReference) -> Result<JobDelivery, ControllerError> {
        let definition =
            self.0
                .catalog
                .get(&message.job_type)
                .ok_or_else(|| ControllerError::UnknownJobType {
                    job_type: message.job_type.clone(),
                    known: self.0.catalog.names(),
                })?;
        let job_id = message.job_id;
        let job = self
            .0
            .database
            .get_job(&job_id)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id })?;
        if job.job_type != message.job_type {
            return Err(ControllerError::JobTypeMismatch {
                job_id,
                message_says: message.job_type.clone(),
                stored: job.job_type,
            });
        }
        if job.status.is_terminal() || message.stage < job.stage {
            return Ok(JobDelivery::Passed);
        }
        if message.stage > job.stage {
            return Err(ControllerError::StageNotReached {
                job_id,
                stage: message.stage,
                current: job.stage,
            });
        }
        self.plan_stage(
            definition.as_ref(),
            &job,
            StageKey {
                job_id,
                stage: message.stage,
            },
        )
        .await
    }

    async fn plan_stage(
        &self,
        definition: &dyn DynJobType,
        job: &JobRecord,
        key: StageKey,
    ) -> Result<JobDelivery, ControllerError> {
        let shared = &*self.0;
        let owner = Uuid::new_v4();
        let Some(cursor) = shared
            .database
            .lease_stage(&key, owner, shared.timing.lease.as_secs_f64())
            .await?
        else {
            // A planner that died between the last outcome and the advance left nobody else to go on.
            self.advance(&key).await?;
            return Ok(JobDelivery::Duplicate);
        };
        let end = match begin(definition, job, &key, cursor) {
            Ok((task_type, plan)) => {
                shared
                    .write_and_send(job, &key, task_type, owner, cursor, plan)
                    .await
            }
            Err(error) => Ok(PlanEnd::Impossible(error.to_string())),
        };
        match end {
            Ok(PlanEnd::Whole { tasks, stage_ended }) => {
                tracing::info!(job_id = %key.job_id, stage = %key.stage, tasks, "stage planned");
                if stage_ended {
                    self.advance(&key).await?;
                }
                Ok(JobDelivery::Planned { tasks })
            }
            Ok(PlanEnd::LeaseLost) => Ok(JobDelivery::Duplicate),
            Ok(PlanEnd::Impossible(reason)) => {
                let reason = format!("stage {} cannot be planned: {reason}", key.stage);
                tracing::warn!(job_id = %key.job_id, reason, "job failed");
                shared.database.fail_job(&key.job_id, &reason).await?;
                Ok(JobDelivery::Failed)
            }
            Err(error) => {
                // So that the next delivery need not wait for the lease to run out; if this fails too, it does.
                let _ = shared.database.release_stage(&key, owner).await;
                Err(error.into())
            }
        }
    }
}

/// The type of the stage's tasks and its plan from the cursor on.
fn begin(
    definition: &dyn DynJobType,
    job: &JobRecord,
    key: &StageKey,
    cursor: u64,
) -> Result<(&'static str, Plan), PlanError> {
    let unreadable = |error: serde_json::Error| PlanError(format!("the job's row cannot be read: {error}"));
    let parameters: Map<String, Value> = serde_json::from_str(job.parameters.get()).map_err(unreadable)?;
    let results: Map<String, Value> = serde_json::from_str(job.stage_results.get()).map_err(unreadable)?;
    let stages = definition.stages(&parameters)?;
    let spec = stages
        .get(usize::from(key.stage.get()) - 1)
        .ok_or_else(|| PlanError(format!("{} has only {} stages", definition.name(), stages.len())))?;
    let previous_summary = key
        .stage
        .previous()
        .and_then(|previous| results.get(&previous.to_string()))
        .and_then(|result| result.get("summary"))
        .cloned()
        .unwrap_or(Value::Null);
    let context = PlanContext {
        stage: key.stage,
        from: cursor,
        previous_summary,
    };
    Ok((spec.task_type, definition.plan(&parameters, context)?))
}

impl Shared {
    async fn write_and_send(
        &self,
        job: &JobRecord,
        key: &StageKey,
        task_type: &'static str,
        owner: Uuid,
        cursor: u64,
        plan: Plan,
    ) -> Result<PlanEnd, DatabaseError> {
        // Room for two chunks: the writer waits for the senders rather than fill the memory.
        let (batches, to_send) = mpsc::channel(2 * CHUNK / 100);
        let writing = self.write(job, key, task_type, owner, cursor, plan, batches);
        let sending = self.send_planned(job.path, &job.job_type, key, task_type, to_send);
        let (end, ()) = tokio::join!(writing, sending);
        end
    }

    #[expect(clippy::too_many_arguments, reason = "the plan's whole context, used once")]
    async fn write(
        &self,
        job: &JobRecord,
        key: &StageKey,
        task_type: &str,
        owner: Uuid,
        mut cursor: u64,
        plan: Plan,
        batches: mpsc::Sender<BatchOfTasks>,
    ) -> Result<PlanEnd, DatabaseError> {
        let began_at = cursor;
        let lease = self.timing.lease.as_secs_f64();
        let mut chunks = plan.ready_chunks(CHUNK);
        let mut chunk: Vec<NewTask> = Vec::with_capacity(CHUNK);
        loop {
            // A plan that is slow to come must not lose its lease meanwhile.
            let Ok(arrived) = tokio::time::timeout(self.timing.lease / 3, chunks.next()).await else {
                if self.database.keep_plan(key, owner, lease).await? {
                    continue;
                }
                return Ok(PlanEnd::LeaseLost);
            };
            let is_last = arrived.is_none();
            for definition in arrived.into_iter().flatten() {
                match definition {
                    Ok(definition) => chunk.push(new_task(key, definition)),
                    Err(error) => return Ok(PlanEnd::Impossible(error.to_string())),
                }
            }
            // A slow plan yields few at a time; only its last chunk may be short, so that batches stay whole.
            while chunk.len() >= CHUNK || (is_last && !chunk.is_empty()) {
                let rest = chunk.split_off(chunk.len().min(CHUNK));
                let tasks = std::mem::replace(&mut chunk, rest);
                let length = tasks.len() as u64;
                if cursor + length > LARGEST_STAGE {
                    return Ok(PlanEnd::Impossible(format!(
                        "it has more than {LARGEST_STAGE} tasks; split the job into several"
                    )));
                }
                let written = self
                    .database
                    .write_chunk(key, &job.job_type, task_type, owner, lease, cursor, tasks)
                    .await?;
                match written {
                    ChunkWritten::Stored(stored) => {
                        cursor += length;
                        for batch in stored {
                            // The receiver stays until this sender is gone.
                            let _ = batches.send(batch).await;
                        }
                    }
                    ChunkWritten::LeaseLost => return Ok(PlanEnd::LeaseLost),
                    ChunkWritten::Collision { wanted, present } => {
                        return Ok(PlanEnd::Impossible(format!(
                            "the task indexes {wanted:?} and {present:?} have the same task id; \
                             only letters, digits and '-' tell task ids apart"
                        )));
                    }
                }
            }
            if is_last {
                break;
            }
        }
        match self.database.finish_plan(key, owner).await? {
            Some(stage_ended) => Ok(PlanEnd::Whole {
                tasks: cursor - began_at,
                stage_ended,
            }),
            None => Ok(PlanEnd::LeaseLost),
        }
    }

    /// Sends what the writer stored. The first batch that cannot be sent ends the sending, not the planning: it and
    /// the rest stay owed, and nobody waits for each of ten thousand batches to fail by itself.
    async fn send_planned(
        &self,
        path: ProcessingPath,
        job_type: &str,
        key: &StageKey,
        task_type: &str,
        to_send: mpsc::Receiver<BatchOfTasks>,
    ) {
        let gave_up = Arc::new(AtomicBool::new(false));
        let timestamp = message_time();
        let batches = stream::unfold(to_send, async |mut to_send| {
            Some((to_send.recv().await?, to_send))
        });
        batches
            .for_each_concurrent(self.timing.sends_in_flight, |batch| {
                let gave_up = Arc::clone(&gave_up);
                let shared = TaskMessages {
                    job_id: &key.job_id,
                    stage: key.stage,
                    timestamp: &timestamp,
                };
                async move {
                    if gave_up.load(Ordering::Relaxed) {
                        return;
                    }
                    let sent = match messages(shared, job_type, task_type, &batch) {
                        Ok(messages) => {
                            self.send_batch(path, &BatchKey::new(key, batch.batch_no), &messages)
                                .await
                        }
                        Err(error) => {
                            tracing::error!(job_id = %key.job_id, %error, "a task message cannot be written");
                            Ok(false)
                        }
                    };
                    match sent {
                        Ok(true) => {}
                        Ok(false) => gave_up.store(true, Ordering::Relaxed),
                        Err(error) => {
                            tracing::warn!(job_id = %key.job_id, %error, "a sent batch could not be marked");
                        }
                    }
                }
            })
            .await;
    }
}

fn messages(
    shared: TaskMessages<'_>,
    job_type: &str,
    task_type: &str,
    batch: &BatchOfTasks,
) -> Result<Vec<OutgoingMessage>, serde_json::Error> {
    let to_message = |task: &NewTask| {
        shared.message(TaskToSend {
            task_id: task.task_id.as_str(),
            job_type,
            task_type,
            task_index: &task.task_index,
            parent_task_id: task.parent_task_id.as_ref().map(TaskId::as_str),
            parameters: &task.parameters,
            attempt: 0,
            resends: 0,
        })
    };
    batch.tasks.iter().map(to_message).collect()
}

fn new_task(key: &StageKey, definition: TaskDefinition) -> NewTask {
    let TaskDefinition {
        index,
        parameters,
        predecessor,
    } = definition;
    let parent_task_id = key
        .stage
        .previous()
        .map(|previous: Stage| TaskId::derive(&key.job_id, previous, predecessor.as_ref().unwrap_or(&index)));
    NewTask {
        task_id: TaskId::derive(&key.job_id, key.stage, &index),
        task_index: index.as_str().to_owned(),
        parent_task_id,
        parameters: String::from(Box::<str>::from(parameters)),
    }
}
