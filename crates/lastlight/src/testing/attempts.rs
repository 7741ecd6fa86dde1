//! One task in memory: its attempts, until it has its outcome. Knows nothing of plans.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use lastlight_engine::{
    job::{
        Checkpoints,
        erased::{Attempt, Predecessor, StageSpec, Task, TaskDefinition, said},
    },
    model::{Stage as StageNumber, TaskId},
};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::{records::Records, run::Running};
use crate::TaskError;

/// Attempts of a task whose stage has no policy of its own: the default of an app.
const ATTEMPTS: u16 = 4;

/// Time limit of an attempt whose stage has no policy of its own.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

impl Running<'_> {
    /// Runs a task until it has its outcome.
    pub(super) async fn task(
        &self,
        spec: &StageSpec,
        stage: StageNumber,
        task: TaskDefinition,
        earlier: &Records,
    ) -> TaskEnd {
        let policy = self.definition.task_policy(&spec.task_type);
        let predecessor = match &task.predecessor {
            Predecessor::SameIndex => stage.previous().map(|stage| (stage, &task.index)),
            Predecessor::Index(index) => stage.previous().map(|stage| (stage, index)),
            Predecessor::In(stage, index) => Some((*stage, index)),
            Predecessor::Nothing => None,
        };
        let predecessor = predecessor
            .and_then(|(stage, index)| earlier.get(stage)?.outputs.get(index.as_str()))
            .cloned();
        let one = OneTask {
            task_type: spec.task_type.clone().into_owned(),
            task_id: TaskId::derive(&self.job_id, stage, &task.index).to_string(),
            parameters: task.parameters,
            predecessor,
            timeout: policy.timeout.unwrap_or(TIMEOUT),
            checkpoint: Arc::default(),
        };
        let most = policy.max_attempts.unwrap_or(ATTEMPTS).max(1);
        let mut attempts = 0;
        let result = loop {
            attempts += 1;
            match self.attempt(&one, attempts).await {
                Err(TaskError::Transient(_)) if attempts < most => {}
                Err(TaskError::Transient(reason)) => {
                    break Err(format!("{reason} (attempt {attempts} of {most})"));
                }
                Err(TaskError::Permanent(reason)) => break Err(reason),
                Err(TaskError::Unavailable(reason)) => {
                    break Err(format!("{reason}; give the test one with `provide`"));
                }
                Ok(output) => break Ok(output),
            }
        };
        let result = match result {
            Ok(output) if self.runs_twice => {
                let again = self.attempt(&one, attempts + 1).await;
                again.map(|_| output).map_err(|error| format!("when it ran a second time: {error}"))
            }
            result => result,
        };
        TaskEnd { index: task.index.as_str().to_owned(), attempts, result }
    }

    async fn attempt(&self, one: &OneTask, number: u16) -> Result<Box<RawValue>, TaskError> {
        let cancellation = CancellationToken::new();
        let _cancel = cancellation.clone().drop_guard();
        let attempt = Attempt {
            job_id: self.job_id.to_string(),
            task_id: one.task_id.clone(),
            number: u32::from(number),
            deadline: Instant::now() + one.timeout,
            cancellation,
            predecessor: one.predecessor.clone(),
            contexts: self.definition.contexts(),
            notes: Arc::default(),
            checkpoints: Arc::clone(&one.checkpoint) as _,
        };
        let task_type = one.task_type.clone();
        let task = Task { task_type, parameters: one.parameters.clone(), attempt };
        let running = AssertUnwindSafe(self.definition.run(task)).catch_unwind();
        match tokio::time::timeout(one.timeout, running).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                Err(TaskError::transient(format!("the task panicked: {}", said(&*panic))))
            }
            Err(_) => Err(TaskError::transient(format!(
                "the attempt took longer than {:.3} s",
                one.timeout.as_secs_f64()
            ))),
        }
    }
}

/// What the attempts of one task share.
struct OneTask {
    task_type: String,
    task_id: String,
    parameters: Box<RawValue>,
    predecessor: Option<Box<RawValue>>,
    timeout: Duration,
    checkpoint: Arc<Checkpoint>,
}

/// The checkpoint of a task, kept for its next attempt.
#[derive(Debug, Default)]
pub(super) struct Checkpoint(Mutex<Option<Box<RawValue>>>);

#[async_trait]
impl Checkpoints for Checkpoint {
    async fn load(&self) -> Result<Option<Box<RawValue>>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, checkpoint: &RawValue) -> Result<(), String> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.to_owned());
        Ok(())
    }
}

/// The outcome of a task.
pub(super) struct TaskEnd {
    pub(super) index: String,
    pub(super) attempts: u16,
    pub(super) result: Result<Box<RawValue>, String>,
}
