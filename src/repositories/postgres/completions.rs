//! Completions: a task's outcome is recorded exactly once, and the stage's counters with it.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;
use sqlx::Row;

use super::{
    Database, DatabaseError, RunningTask,
    group_commit::{GroupCommit, GroupStatement},
    jobs::{corrupt, without_nul},
};
use crate::model::TaskStatus;

/// How an attempt ended.
#[derive(Debug)]
pub enum TaskOutcome {
    /// With a result.
    Completed(Box<RawValue>),
    /// For good, with the reason.
    Failed(String),
}

/// An attempt and how it ended.
#[derive(Debug)]
pub struct Completion {
    /// The attempt.
    pub task: RunningTask,
    /// Its end.
    pub outcome: TaskOutcome,
}

/// What recording a completion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletionRecord {
    /// It counted. If not, the attempt had lost its lease to a later one, or the task had its outcome.
    pub written: bool,
    /// The stage's last outcome was in this group, and the caller is the one to go on.
    pub stage_ended: bool,
}

/// The way in for completions: those that wait at the same moment share a statement.
#[derive(Debug)]
pub struct TaskCompletions(GroupCommit<CompletionStatement>);

impl TaskCompletions {
    /// Starts the group.
    pub fn start(database: Database) -> Self {
        let mut from = TaskStatus::sources(TaskStatus::Completed);
        from.retain(|status| TaskStatus::sources(TaskStatus::Failed).contains(status));
        Self(GroupCommit::start(CompletionStatement { database, from }))
    }

    /// Records an outcome; the answer is committed.
    ///
    /// # Errors
    /// The database failed; whether the outcome counts is unknown. The task's message must come again.
    pub async fn complete(&self, completion: Completion) -> Result<CompletionRecord, DatabaseError> {
        self.0.submit(completion).await
    }
}

#[derive(Debug)]
struct CompletionStatement {
    database: Database,
    from: Vec<&'static str>,
}

impl GroupStatement for CompletionStatement {
    type Request = Completion;
    type Answer = CompletionRecord;

    async fn run(&self, group: &[Completion]) -> Result<Vec<CompletionRecord>, DatabaseError> {
        // In the order of their keys, so that groups of two processes lock alike.
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by_key(|place| {
            let task = &group[*place].task;
            (task.job_id.as_str(), task.stage.get(), task.task_id.as_str())
        });
        let mut columns = Columns::with_capacity(group.len());
        for place in &order {
            columns.push(&group[*place]);
        }
        let rows = sqlx::query(include_str!("sql/complete_tasks.sql"))
            .bind(columns.jobs)
            .bind(columns.stages)
            .bind(columns.tasks)
            .bind(columns.attempts)
            .bind(columns.statuses)
            .bind(columns.results)
            .bind(columns.errors)
            .bind(&self.from)
            .fetch_all(self.database.pool().await?)
            .await?;
        let mut records = vec![
            CompletionRecord {
                written: false,
                stage_ended: false
            };
            group.len()
        ];
        let mut told = HashSet::new();
        for row in &rows {
            let place: i64 = row.try_get("place")?;
            let place = usize::try_from(place - 1)
                .ok()
                .and_then(|index| order.get(index))
                .copied()
                .ok_or_else(|| corrupt("place", place.to_string()))?;
            let task = &group[place].task;
            let ended: bool = row.try_get("ended")?;
            records[place] = CompletionRecord {
                written: true,
                // One of the group goes on; the others would only find it done.
                stage_ended: ended && told.insert((task.job_id, task.stage)),
            };
        }
        Ok(records)
    }
}

/// What UNNEST takes.
struct Columns<'a> {
    jobs: Vec<&'a str>,
    stages: Vec<i16>,
    tasks: Vec<&'a str>,
    attempts: Vec<i16>,
    statuses: Vec<&'static str>,
    results: Vec<Option<&'a str>>,
    errors: Vec<Option<Cow<'a, str>>>,
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
        }
    }

    fn push(&mut self, completion: &'a Completion) {
        let RunningTask {
            job_id,
            stage,
            task_id,
            attempt,
        } = &completion.task;
        self.jobs.push(job_id.as_str());
        self.stages.push(i16::from(stage.get()));
        self.tasks.push(task_id.as_str());
        self.attempts.push(*attempt);
        match &completion.outcome {
            TaskOutcome::Completed(result) => {
                self.statuses.push(TaskStatus::Completed.as_str());
                self.results.push(Some(result.get()));
                self.errors.push(None);
            }
            TaskOutcome::Failed(reason) => {
                self.statuses.push(TaskStatus::Failed.as_str());
                self.results.push(None);
                self.errors.push(Some(without_nul(reason)));
            }
        }
    }
}
