//! Single tasks that a user retries or skips, by their id or by a filter within one job. In a stage that has not ended, tasks
//! without success run again, or are skipped so that the stage can end without them. Of a job that failed or was
//! cancelled, tasks are skipped that its retry would run again.

use std::time::{Duration, Instant};

use lastlight_api::tasks::TasksChanged;

use super::{Controller, ControllerError, ReconcileReport, control::LONGEST_REQUEST};
use crate::{
    model::{JobId, JobStatus, Stage, TaskId, TaskStatus, UserRequest},
    store::{JobRecord, StageKey, StageRecord, TaskChoice, TaskStep},
};

/// Tasks that one transaction looks at.
const AT_ONCE: i64 = 2000;

/// A step whose job somebody else changes at the moment is tried so often, with a pause between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// What is done to the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskAction {
    Retry,
    Skip,
}

/// Which tasks a user means.
#[derive(Debug, Clone)]
pub struct TaskOrder {
    pub job_id: JobId,
    /// Only this one.
    pub task_id: Option<TaskId>,
    /// Only of this stage.
    pub stage: Option<Stage>,
    /// Only in these states; empty: those that the action usually means.
    pub statuses: Vec<TaskStatus>,
    /// Only tasks whose error contains this.
    pub error: Option<String>,
    /// Nothing is changed.
    pub is_dry_run: bool,
}

impl TaskAction {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Skip => "skipped",
        }
    }

    /// The states of the tasks that an order without states means.
    fn usual(self, order: &TaskOrder, is_over: bool) -> Vec<TaskStatus> {
        use TaskStatus::{Failed, PendingQueue, Processing, Queued, Retrying, Skipped};
        match (self, order.task_id.is_some()) {
            (Self::Retry, true) => vec![Failed, Skipped],
            (Self::Skip, true) if is_over => vec![Failed, Skipped],
            (Self::Skip, true) => vec![PendingQueue, Queued, Processing, Retrying, Failed],
            (_, false) => vec![Failed],
        }
    }
}

impl Controller {
    /// Retries or skips the tasks that an order means. Takes no longer than a request may: if more are left, the same order
    /// goes on.
    ///
    /// # Errors
    /// There is no such job or task; the job or the stage is not in a state in which that is possible; the database
    /// failed.
    pub async fn change_tasks(
        &self,
        action: TaskAction,
        order: &TaskOrder,
        request: &UserRequest,
    ) -> Result<TasksChanged, ControllerError> {
        let until = Instant::now() + LONGEST_REQUEST;
        let job = self.job(&order.job_id).await?;
        if job.is_purging == Some(true) {
            return Err(ControllerError::BeingDeleted { job_id: job.job_id });
        }
        let is_over = job.status.is_terminal();
        let stages = self.stages_meant(action, order, &job).await?;
        let statuses = match order.statuses.is_empty() {
            true => action.usual(order, is_over),
            false => order.statuses.clone(),
        };
        let choice = TaskChoice {
            task_id: order.task_id.as_ref(),
            statuses: &statuses,
            error: order.error.as_deref(),
        };
        let (mut tasks, mut has_more, mut ended) = (0, false, Vec::new());
        'stages: for stage in &stages {
            let key = StageKey { job_id: job.job_id, stage: *stage };
            let mut from = Some(String::new());
            while let Some(first) = from.take() {
                if Instant::now() >= until {
                    has_more = true;
                    break 'stages;
                }
                let step = self
                    .change_some(action, order.is_dry_run, &key, choice, &first, request)
                    .await?;
                tasks += if order.is_dry_run { step.meant } else { step.changed };
                if step.ended {
                    ended.push(key);
                }
                from = step.next;
            }
        }
        if !order.is_dry_run && tasks > 0 {
            tracing::info!(job_id = %job.job_id, tasks, action = action.name(), "tasks changed on request");
            match action {
                TaskAction::Retry => {
                    self.send_unsent(&mut ReconcileReport::default(), LONGEST_REQUEST).await?;
                }
                TaskAction::Skip => {
                    for key in &ended {
                        self.advance(key).await?;
                    }
                }
            }
        }
        if tasks == 0
            && let Some(task_id) = &order.task_id
        {
            return Err(self.why_not(action, &job, task_id).await?);
        }
        let message = message(action, tasks, has_more, order.is_dry_run, job.status);
        Ok(TasksChanged {
            job_id: job.job_id,
            tasks,
            has_more,
            is_dry_run: order.is_dry_run,
            message,
        })
    }

    /// One step, again if somebody else changes the job at the moment.
    async fn change_some(
        &self,
        action: TaskAction,
        is_dry_run: bool,
        key: &StageKey,
        choice: TaskChoice<'_>,
        from: &str,
        request: &UserRequest,
    ) -> Result<TaskStep, ControllerError> {
        let store = self.0.database.tasks();
        if is_dry_run {
            let retries = action == TaskAction::Retry;
            return Ok(store.count_some(key, choice, from, AT_ONCE, retries).await?);
        }
        for _ in 0..TRIES {
            let step = match action {
                TaskAction::Retry => store.retry_some(key, choice, from, AT_ONCE, request).await?,
                TaskAction::Skip => store.skip_some(key, choice, from, AT_ONCE, request).await?,
            };
            if step.changed > 0 || step.meant == 0 {
                return Ok(step);
            }
            tokio::time::sleep(PAUSE).await;
        }
        let status = self.job(&key.job_id).await?.status;
        Err(ControllerError::ChangedMeanwhile { job_id: key.job_id, status })
    }

    /// The stages whose tasks may be changed.
    async fn stages_meant(
        &self,
        action: TaskAction,
        order: &TaskOrder,
        job: &JobRecord,
    ) -> Result<Vec<Stage>, ControllerError> {
        let job_id = job.job_id;
        let all = self.0.database.stages().of_job(&job_id).await?;
        let wanted = order.stage.or_else(|| order.task_id.as_ref().and_then(TaskId::stage));
        if let Some(wanted) = wanted
            && !all.iter().any(|stage| stage.stage == wanted)
        {
            return Err(match &order.task_id {
                Some(task_id) => {
                    ControllerError::UnknownTask { job_id, stage: wanted, task_id: task_id.clone() }
                }
                None => ControllerError::StageNotBegun { job_id, stage: wanted },
            });
        }
        let named = |stage: &&StageRecord| wanted.is_none_or(|wanted| stage.stage == wanted);
        if !job.status.is_terminal() {
            let open: Vec<Stage> = all
                .iter()
                .filter(named)
                .filter(|stage| stage.advanced_at.is_none())
                .map(|stage| stage.stage)
                .collect();
            return match (wanted, open.is_empty()) {
                (Some(stage), true) => Err(ControllerError::StageEnded { job_id, stage }),
                _ => Ok(open),
            };
        }
        if action == TaskAction::Retry || job.status.reopen().is_err() {
            return Err(ControllerError::TasksOfOverJob { job_id, status: job.status });
        }
        let again: Vec<Stage> = match job.is_graph() {
            false => vec![job.stage],
            true => {
                let stages = self.0.database.stages().of_graph(&job_id).await?;
                stages.iter().filter(|stage| stage.runs_again()).map(|stage| stage.stage).collect()
            }
        };
        let meant: Vec<Stage> = again
            .into_iter()
            .filter(|stage| wanted.is_none_or(|wanted| *stage == wanted))
            .collect();
        match (wanted, meant.is_empty()) {
            (Some(stage), true) => Err(ControllerError::StageEnded { job_id, stage }),
            _ => Ok(meant),
        }
    }

    /// Why a single task was not changed.
    async fn why_not(
        &self,
        action: TaskAction,
        job: &JobRecord,
        task_id: &TaskId,
    ) -> Result<ControllerError, ControllerError> {
        let job_id = job.job_id;
        let found = match task_id.stage() {
            Some(stage) => {
                self.0.database.tasks().get(&StageKey { job_id, stage }, task_id).await?
            }
            None => None,
        };
        Ok(match found {
            Some(task) => ControllerError::TaskNotChanged {
                task_id: task_id.clone(),
                status: task.status,
                action: action.name(),
            },
            None => {
                let stage = task_id.stage().unwrap_or(Stage::FIRST);
                ControllerError::UnknownTask { job_id, stage, task_id: task_id.clone() }
            }
        })
    }
}

fn message(
    action: TaskAction,
    tasks: u64,
    has_more: bool,
    is_dry_run: bool,
    status: JobStatus,
) -> String {
    let counted = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
    let would = if is_dry_run { " would be" } else { "" };
    let mut message = match (tasks, action) {
        (0, _) => "No task is meant.".to_owned(),
        (_, TaskAction::Retry) if !is_dry_run => format!("{counted} run again."),
        _ => format!("{counted}{would} {}.", action.name()),
    };
    if has_more {
        message.push_str(" There are more: the same request goes on.");
    } else if tasks > 0 && action == TaskAction::Skip && status.is_terminal() && !is_dry_run {
        message.push_str(" Retry the job to go on without them.");
    }
    message
}
