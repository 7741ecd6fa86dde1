//! Claims of workers: ready tasks are given to whoever asks for their handlers, at once or as soon as
//! there are any. What becomes of an attempt is not decided here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Controller, ControllerError,
    memory::Share,
    worker_given::Gave,
    worker_waits::{Group, Wanted},
};
use crate::{
    failpoint::failpoint,
    model::{TraceParent, WorkerHandler},
    store::{
        BatchClaim, Completion, DatabaseError, RunningTask, TaskInputs, TaskOutcome, WorkerClaim,
        WorkerTask,
    },
};

/// Tasks whose inputs have more bytes than this together are not given to a worker at once, so that
/// an answer has a bounded size.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// A claim of fewer tasks of a batch writes each of them: tasks that are claimed a few at a time tend to
/// be long, and users see where each runs.
const FEWEST_OF_BATCH: i32 = 10;

/// How often a claim is tried that finds nothing although tasks are ready.
const MOST_TRIES: u32 = 10;

/// How long a claim waits for memory for large inputs.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Handlers whose ids are remembered.
const MOST_HANDLERS: usize = 10_000;

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct WorkerRequest {
    pub worker_id: String,
    pub queue: String,
    pub handlers: Vec<String>,
    /// Maximum number of tasks, 1 to 100.
    pub max: u16,
    /// How long to wait if there is none.
    pub wait: Duration,
}

/// A task that a worker is to run.
#[derive(Debug)]
pub struct TaskForWorker {
    /// The attempt, which every later request names.
    pub task: RunningTask,
    /// The claim of a batch that has the task, if it has no state of its own.
    claim: Option<BatchClaim>,
    /// Number of the attempt, counted since a user last retried the task.
    pub tries: u16,
    /// The name of its stage.
    pub node: String,
    pub handler: String,
    pub inputs: TaskInputs,
    /// Without a heartbeat that names it for this time, the attempt is lost.
    pub lease: Duration,
    /// The attempt is to end after this time.
    pub timeout: Option<Duration>,
    pub trace: Option<TraceParent>,
    /// Memory for its inputs.
    _share: Option<Share>,
}

/// The ids of handlers, as far as this process knows them.
#[derive(Debug, Default)]
pub(super) struct HandlerIds(Mutex<HashMap<WorkerHandler, i32>>);

impl Controller {
    /// The id of a handler.
    pub(super) async fn handler_id(&self, handler: &WorkerHandler) -> Result<i32, DatabaseError> {
        let ids = || self.0.handler_ids.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids().get(handler) {
            return Ok(*id);
        }
        let id = self.0.database.workers().handler_id(handler).await?;
        let mut ids = ids();
        if ids.len() >= MOST_HANDLERS {
            ids.clear();
        }
        ids.insert(handler.clone(), id);
        Ok(id)
    }

    /// Claims ready tasks for a worker; empty if there are none until the wait is over.
    ///
    /// # Errors
    /// The database failed. If tasks were claimed, their leases expire.
    pub async fn claim_for_worker(
        &self,
        mut request: WorkerRequest,
    ) -> Result<Vec<TaskForWorker>, ControllerError> {
        let until = Instant::now() + request.wait;
        request.handlers.sort_unstable();
        request.handlers.dedup();
        self.worker_asks(&request.worker_id, &request.queue, &request.handlers);
        let wanted = Wanted { queue: request.queue.clone(), handlers: request.handlers.clone() };
        let group = self.0.worker_waits.group(&wanted);
        let request = Arc::new(request);
        // Whoever does not wait wants to know what is ready now.
        let mut is_to_claim = request.wait.is_zero() || !group.had_better_wait();
        loop {
            if is_to_claim {
                let tasks = self.claim_now(&group, &request).await?;
                if !tasks.is_empty() {
                    return Ok(tasks);
                }
            }
            if Instant::now() >= until {
                return Ok(Vec::new());
            }
            let (woken, is_to_watch) = group.wait(request.max);
            if is_to_watch {
                self.watch(Arc::clone(&group), wanted.clone());
            }
            is_to_claim = tokio::time::timeout_at(until.into(), woken).await.is_ok();
            if !is_to_claim {
                return Ok(Vec::new());
            }
        }
    }

    /// Claims in a task of its own: if the caller stops waiting, the claims are released.
    async fn claim_now(
        &self,
        group: &Arc<Group>,
        request: &Arc<WorkerRequest>,
    ) -> Result<Vec<TaskForWorker>, ControllerError> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (controller, group) = (self.clone(), Arc::clone(group));
        let request = Arc::clone(request);
        tokio::spawn(async move {
            let claimed = controller.claim_ready(&group, &request).await;
            if let Err(Ok(tasks)) = answer.send(claimed) {
                let tasks: Vec<_> = tasks.into_iter().map(|task| (task.task, task.claim)).collect();
                controller.release_for_worker(&tasks).await;
            }
        });
        let stopped = || {
            let detail = Arc::from("the claim ended without an answer");
            ControllerError::Database(DatabaseError::Unavailable { detail })
        };
        answered.await.map_err(|_| stopped())?
    }

    async fn claim_ready(
        &self,
        group: &Group,
        request: &WorkerRequest,
    ) -> Result<Vec<TaskForWorker>, ControllerError> {
        let handlers: Vec<&str> = request.handlers.iter().map(String::as_str).collect();
        let claim = WorkerClaim {
            queue: &request.queue,
            handlers: &handlers,
            limit: request.max,
            worker_id: &request.worker_id,
        };
        let lease = self.0.timing.lease.as_secs_f64();
        let turn = group.turn().await;
        let began = group.begins();
        let claimed = self.claim_from_all(claim, lease).await;
        drop(turn);
        let claimed = claimed.inspect_err(|_| group.failed())?;
        group.note(began, claimed.len(), claimed.is_empty());
        let waits = claimed.iter().map(|task| task.waited_seconds);
        self.0.worker_times.note_waits(&request.queue, waits);
        let at = Instant::now();
        let gave = |task: &WorkerTask| Gave {
            job_type: task.job_type.clone(),
            task_type: task.task_type.clone(),
            queue: request.queue.clone(),
            tries: task.tries,
            claim: task.claim.clone(),
            at,
        };
        self.0.given.note(claimed.iter().map(|task| (task.task.clone(), gave(task))));
        let by = Instant::now() + LONGEST_WAIT;
        let (mut tasks, mut left) = (Vec::with_capacity(claimed.len()), Vec::new());
        let mut bytes = 0;
        for claimed in claimed {
            let task = (claimed.task.clone(), claimed.claim.clone());
            if bytes > LARGEST_ANSWER {
                left.push(task);
                continue;
            }
            match self.for_worker(claimed, by).await {
                Ok(Some(given)) => {
                    let TaskInputs { parameters, predecessor_result } = &given.inputs;
                    bytes += parameters.get().len();
                    bytes += predecessor_result.as_ref().map_or(0, |result| result.get().len());
                    tasks.push(given);
                }
                Ok(None) => {}
                Err(NotGiven) => left.push(task),
            }
        }
        self.release_for_worker(&left).await;
        Ok(tasks)
    }

    /// Claims tasks that are ready on their own, and then tasks of batches.
    async fn claim_from_all(
        &self,
        claim: WorkerClaim<'_>,
        lease: f64,
    ) -> Result<Vec<WorkerTask>, DatabaseError> {
        let workers = self.0.database.workers();
        for _ in 0..MOST_TRIES {
            let claimed = self.claim_once(claim, lease).await?;
            if !claimed.is_empty() || workers.ready(claim.queue, claim.handlers, 1).await? == 0 {
                return Ok(claimed);
            }
            // Other claims have locked what is ready, for a moment.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..8))).await;
        }
        Ok(Vec::new())
    }

    async fn claim_once(
        &self,
        claim: WorkerClaim<'_>,
        lease: f64,
    ) -> Result<Vec<WorkerTask>, DatabaseError> {
        let workers = self.0.database.workers();
        let mut claimed = workers.claim(claim, lease).await?;
        let mut batches = 1;
        while claimed.len() < claim.limit.into() {
            let limit = claim.limit - claimed.len() as u16;
            let rest = WorkerClaim { limit, ..claim };
            match workers.claim_batches(rest, batches, FEWEST_OF_BATCH, lease).await {
                Ok(more) if more.is_empty() => break,
                Ok(more) => claimed.extend(more),
                // What was claimed is given to the worker.
                Err(error) if claimed.is_empty() => return Err(error),
                Err(_) => break,
            }
            // Batches are usually full, and one suffices; of those of many small jobs more are
            // claimed at once.
            batches = (batches * 4).min(64);
        }
        Ok(claimed)
    }

    /// A claimed task as a worker gets it; `None` if it has failed without running.
    async fn for_worker(
        &self,
        claimed: WorkerTask,
        by: Instant,
    ) -> Result<Option<TaskForWorker>, NotGiven> {
        let WorkerTask { task, claim, handler, tries, job_type, task_type, inputs, trace, .. } =
            claimed;
        let definition = self.job_type_of_task(&task.job_id, &job_type).await;
        let definition = definition.map_err(|error| {
            tracing::warn!(job_id = %task.job_id, %error, "a task for a worker waits for its job type");
            NotGiven
        })?;
        let limits = self.limits(Some(definition.as_ref()), &task_type);
        if tries > limits.most {
            let reason = format!(
                "none of its {} attempts finished: their workers died, or sent no heartbeat for the lease of {} s; does the \
                 task exhaust the memory?",
                limits.most,
                self.0.timing.lease.as_secs_f64()
            );
            self.fail_for_worker(task, claim, reason).await;
            return Ok(None);
        }
        let (inputs, share) = match self.inputs(&task, inputs, by).await.ok_or(NotGiven)? {
            Ok(inputs) => inputs,
            Err(error) => {
                self.fail_for_worker(task, claim, error.reason().to_owned()).await;
                return Ok(None);
            }
        };
        if let Some(reason) = definition.unfit_for_worker(&inputs.parameters) {
            self.fail_for_worker(task, claim, reason).await;
            return Ok(None);
        }
        Ok(Some(TaskForWorker {
            task,
            claim,
            tries,
            node: task_type,
            handler,
            inputs,
            lease: self.0.timing.lease,
            timeout: limits.policy.timeout,
            trace,
            _share: share,
        }))
    }

    async fn fail_for_worker(&self, task: RunningTask, claim: Option<BatchClaim>, reason: String) {
        let key = task.stage_key();
        tracing::warn!(job_id = %task.job_id, task_id = %task.task_id, attempt = task.attempt, reason,
            "a task failed before a worker got it");
        let outcome = TaskOutcome::Failed(reason);
        // If this fails, the lease expires, and the task is claimed again.
        let recorded = self.record(Arc::new(Completion { task, outcome, claim })).await;
        if recorded.is_ok_and(|record| record.stage_ended)
            && let Err(error) = self.advance(&key).await
        {
            tracing::warn!(%error, "a stage that ended was not advanced; the sweep advances it");
        }
    }

    /// Gives claims back whose attempts did not begin.
    async fn release_for_worker(&self, tasks: &[(RunningTask, Option<BatchClaim>)]) {
        if let Err(error) = self.release(tasks).await {
            tracing::warn!(%error, tasks = tasks.len(),
                "claims of a worker could not be released; their leases expire");
        }
    }

    /// Gives claims back; these attempts do not count.
    ///
    /// # Errors
    /// A statement failed; the leases expire.
    pub(super) async fn release(
        &self,
        tasks: &[(RunningTask, Option<BatchClaim>)],
    ) -> Result<(), DatabaseError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let lease = self.0.timing.lease.as_secs_f64();
        let of_batches: Vec<(RunningTask, BatchClaim)> =
            tasks.iter().filter_map(|(task, claim)| Some((task.clone(), claim.clone()?))).collect();
        if !of_batches.is_empty() {
            self.0.database.workers().own(&of_batches, lease).await?;
            failpoint!("release_worker.owned");
        }
        let tasks: Vec<RunningTask> = tasks.iter().map(|(task, _)| task.clone()).collect();
        self.0.database.tasks().release_claims(&tasks, lease).await?;
        self.0.worker_waits.ready(None);
        Ok(())
    }

    /// Looks for work for a group of waiting workers, for as long as there are any.
    fn watch(&self, group: Arc<Group>, wanted: Wanted) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(limit) = group.next_look().await {
                let Some(shared) = shared.upgrade() else { return };
                let handlers: Vec<&str> = wanted.handlers.iter().map(String::as_str).collect();
                let began = group.begins();
                let looked = shared.database.workers().ready(&wanted.queue, &handlers, limit).await;
                let ready = looked.unwrap_or_else(|error| {
                    tracing::debug!(%error, "ready tasks could not be looked for");
                    0
                });
                // Once woken, a worker's claim says whether there is more.
                group.note(began, ready, true);
                group.wake(ready);
            }
        });
    }
}

/// A task was claimed, and cannot be given to a worker now.
struct NotGiven;
