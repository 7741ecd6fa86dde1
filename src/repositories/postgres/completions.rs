//! Completions: a task's outcome is recorded exactly once, and the stage's counters with it.

use std::collections::HashSet;

use serde_json::value::RawValue;
use sqlx::Row;

use super::{
    Database, DatabaseError, RunningTask,
    group_commit::{GroupCommit, GroupStatement},
    jobs::without_nul,
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
        let jobs: Vec<&str> = group.iter().map(|one| one.task.job_id.as_str()).collect();
        let stages: Vec<i16> = group.iter().map(|one| i16::from(one.task.stage.get())).collect();
        let tasks: Vec<&str> = group.iter().map(|one| one.task.task_id.as_str()).collect();
        let attempts: Vec<i16> = group.iter().map(|one| one.task.attempt).collect();
        let mut statuses = Vec::with_capacity(group.len());
        let mut results = Vec::with_capacity(group.len());
        let mut errors = Vec::with_capacity(group.len());
        for one in group {
            match &one.outcome {
                TaskOutcome::Completed(result) => {
                    statuses.push(TaskStatus::Completed.as_str());
                    results.push(Some(result.get()));
                    errors.push(None);
                }
                TaskOutcome::Failed(reason) => {
                    statuses.push(TaskStatus::Failed.as_str());
                    results.push(None);
                    errors.push(Some(without_nul(reason)));
                }
            }
        }
        let errors: Vec<Option<&str>> = errors.iter().map(Option::as_deref).collect();
        let rows = sqlx::query(include_str!("sql/complete_tasks.sql"))
            .bind(jobs)
            .bind(stages)
            .bind(tasks)
            .bind(attempts)
            .bind(statuses)
            .bind(results)
            .bind(errors)
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
            let Some(place) = usize::try_from(place - 1)
                .ok()
                .filter(|place| *place < group.len())
            else {
                continue;
            };
            let task = &group[place].task;
            let ended: bool = row.try_get("ended")?;
            records[place] = CompletionRecord {
                written: row.try_get("written")?,
                // One of the group goes on; the others would only find it done.
                stage_ended: ended && told.insert((task.job_id, task.stage)),
            };
        }
        Ok(records)
    }
}
