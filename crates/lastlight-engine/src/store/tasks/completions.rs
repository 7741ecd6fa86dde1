//! Completions: the outcome of a task is recorded exactly once, together with its stage's counters.

use std::{borrow::Cow, collections::HashSet, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use super::{
    claims::place_of,
    group_commit::{GroupCommit, GroupSizes, GroupStatement},
};
use crate::{
    failpoint::failpoint,
    model::{JobStatus, TaskStatus},
    store::{
        connection::{Database, DatabaseError},
        rows::{RunningTask, without_nul},
        stages::Ignored,
    },
};

/// How an attempt ended.
#[derive(Debug)]
pub enum TaskOutcome {
    /// The task completed with this result.
    Completed(Box<RawValue>),
    /// The task failed permanently, with this reason.
    Failed(String),
    /// The attempt failed with a transient error: the task is due again after a pause.
    Retry {
        /// Why the attempt failed.
        reason: String,
        /// Time until the task may be claimed again.
        pause: Duration,
    },
}

/// An attempt and how it ended.
#[derive(Debug)]
pub struct Completion {
    pub task: RunningTask,
    pub outcome: TaskOutcome,
    /// The claim of a batch that has the task, which has no state of its own yet.
    pub claim: Option<BatchClaim>,
}

/// A worker's claim of many tasks of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchClaim {
    pub worker_id: String,
    /// Since when, in seconds.
    pub seconds: f64,
}

/// Result of recording a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionRecord {
    /// Whether it counted. If not, a later attempt held the lease, the task had its outcome, or its
    /// job was finished.
    pub written: bool,
    /// Whether the stage's last outcome was in this group, so that the caller must advance the
    /// stage.
    pub stage_ended: bool,
}

/// Accepts completions; those that wait at the same moment share a statement.
#[derive(Debug)]
pub struct TaskCompletions(GroupCommit<CompletionStatement>);

impl TaskCompletions {
    /// Starts the worker. `lost_seconds`: time after a retry is due until its message is presumed
    /// lost.
    pub fn start(database: Database, lost_seconds: f64) -> Self {
        let mut from = TaskStatus::sources(TaskStatus::Completed);
        for end in [TaskStatus::Failed, TaskStatus::Retrying] {
            from.retain(|status| TaskStatus::sources(end).contains(status));
        }
        Self(GroupCommit::start(CompletionStatement {
            database,
            from,
            starts_from: TaskStatus::sources(TaskStatus::Processing),
            runs_in: JobStatus::open(),
            lost_seconds,
        }))
    }

    /// Sizes of the groups so far.
    pub fn group_sizes(&self) -> GroupSizes {
        self.0.sizes()
    }

    /// Records an outcome; answers after the commit.
    ///
    /// # Errors
    /// The database failed; whether the outcome counts is unknown. The same completion may be
    /// submitted again.
    pub async fn complete(
        &self,
        completion: Arc<Completion>,
    ) -> Result<CompletionRecord, DatabaseError> {
        self.0.submit(completion).await
    }
}

#[derive(Debug)]
struct CompletionStatement {
    database: Database,
    from: Vec<&'static str>,
    starts_from: Vec<&'static str>,
    runs_in: Vec<&'static str>,
    lost_seconds: f64,
}

impl GroupStatement for CompletionStatement {
    type Request = Arc<Completion>;
    type Answer = CompletionRecord;

    fn bytes(&self, completion: &Arc<Completion>) -> usize {
        match &completion.outcome {
            TaskOutcome::Completed(result) => result.get().len(),
            TaskOutcome::Failed(reason) | TaskOutcome::Retry { reason, .. } => reason.len(),
        }
    }

    /// A computed result is recorded, however long that takes.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    async fn run(&self, group: &[Arc<Completion>]) -> Result<Vec<CompletionRecord>, DatabaseError> {
        failpoint!("complete.before_commit", Err(DatabaseError::lost()));
        // In key order, so that groups of two processes lock in the same order.
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by_key(|place| {
            let task = &group[*place].task;
            (task.job_id.as_str(), task.stage.get(), task.task_id.as_str())
        });
        let mut columns = Columns::with_capacity(group.len());
        for place in &order {
            columns.push(&group[*place]);
        }
        let rows = sqlx::query_file!(
            "src/store/sql/complete_tasks.sql",
            &columns.jobs as _,
            &columns.stages,
            &columns.tasks as _,
            &columns.attempts,
            &columns.statuses as _,
            &columns.results as _,
            &columns.errors as _,
            &columns.pauses as _,
            &self.from as _,
            &self.runs_in as _,
            self.lost_seconds,
            &columns.workers as _,
            &columns.seconds as _,
            &self.starts_from as _,
        )
        .fetch_all(self.database.pool().await?)
        .await?;
        failpoint!("complete.after_commit", Err(DatabaseError::lost()));
        let mut records =
            vec![CompletionRecord { written: false, stage_ended: false }; group.len()];
        let mut told = HashSet::new();
        for row in rows {
            let place = place_of(&order, row.place)?;
            let task = &group[place].task;
            records[place] = CompletionRecord {
                written: true,
                // One caller of the group advances the stage; the others would find it advanced.
                stage_ended: row.ended && told.insert((task.job_id, task.stage)),
            };
        }
        let late = group.iter().zip(&records).filter(|(_, record)| !record.written);
        let stages = late.map(|(completion, _)| (completion.task.job_id, completion.task.stage));
        self.database.stages().count_ignored(stages, Ignored::Stale).await;
        Ok(records)
    }
}

struct Columns<'a> {
    jobs: Vec<&'a str>,
    stages: Vec<i16>,
    tasks: Vec<&'a str>,
    attempts: Vec<i16>,
    statuses: Vec<&'static str>,
    results: Vec<Option<&'a str>>,
    errors: Vec<Option<Cow<'a, str>>>,
    pauses: Vec<Option<f64>>,
    workers: Vec<Option<&'a str>>,
    seconds: Vec<Option<f64>>,
}

impl<'a> Columns<'a> {
    fn with_capacity(length: usize) -> Self {
        Self {
            jobs: Vec::with_capacity(length),
            stages: Vec::with_capacity(length),
            tasks: Vec::with_capacity(length),
            attempts: Vec::with_capacity(length),
            statuses: Vec::with_capacity(length),
            results: Vec::with_capacity(length),
            errors: Vec::with_capacity(length),
            pauses: Vec::with_capacity(length),
            workers: Vec::with_capacity(length),
            seconds: Vec::with_capacity(length),
        }
    }

    fn push(&mut self, completion: &'a Completion) {
        let RunningTask { job_id, stage, task_id, attempt } = &completion.task;
        self.jobs.push(job_id.as_str());
        self.stages.push(stage.number());
        self.tasks.push(task_id.as_str());
        self.attempts.push(*attempt);
        let (status, result, error, pause) = match &completion.outcome {
            TaskOutcome::Completed(result) => {
                (TaskStatus::Completed, Some(result.get()), None, None)
            }
            TaskOutcome::Failed(reason) => {
                (TaskStatus::Failed, None, Some(without_nul(reason)), None)
            }
            TaskOutcome::Retry { reason, pause } => {
                (TaskStatus::Retrying, None, Some(without_nul(reason)), Some(pause.as_secs_f64()))
            }
        };
        self.statuses.push(status.as_str());
        self.results.push(result);
        self.errors.push(error);
        self.pauses.push(pause);
        self.workers.push(completion.claim.as_ref().map(|claim| &*claim.worker_id));
        self.seconds.push(completion.claim.as_ref().map(|claim| claim.seconds));
    }
}
