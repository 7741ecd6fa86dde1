//! What became of a job in memory, for the assertions of its test. Does not know how it ran.

use std::{collections::BTreeMap, fmt};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::records::{Records, StageRecord};
use crate::{Job, PlanError, Stage};

/// Errors that a failed job shows of each stage.
const SHOWN: usize = 5;

/// A job that completed in memory.
pub struct Finished<J: Job> {
    summary: <J::Last as Stage>::Summary,
    stages: Records,
}

impl<J: Job> fmt::Debug for Finished<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summaries = self.stages.iter().map(|stage| (stage.task_type.as_str(), &stage.summary));
        f.debug_map().entries(summaries).finish()
    }
}

impl<J: Job> Finished<J> {
    pub(super) fn of(stages: Records) -> Result<Self, JobFailed> {
        let last = stages.iter().next_back();
        let last = last.ok_or_else(|| JobFailed::new("the job has no stages".to_owned()))?;
        let summary = typed(&last.summary, "the summary of the last stage")?;
        Ok(Self { summary, stages })
    }

    /// The summary of the last stage.
    pub fn summary(&self) -> &<J::Last as Stage>::Summary {
        &self.summary
    }

    /// What became of a stage; of a repeated stage, its last round.
    ///
    /// # Panics
    /// The job has no such stage, or a result cannot be read again as the stage's output.
    #[track_caller]
    #[expect(clippy::panic, reason = "an assertion in tests")]
    pub fn stage<S: Stage<Job = J>>(&self) -> StageRun<S> {
        let Some(stage) = self.stages.iter().rfind(|stage| stage.task_type == S::NAME) else {
            let names: Vec<&str> =
                self.stages.iter().map(|stage| stage.task_type.as_str()).collect();
            panic!("the job has no stage {:?}; it has {}", S::NAME, names.join(", "));
        };
        match StageRun::of(stage) {
            Ok(stage) => stage,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What became of a stage.
pub struct StageRun<S: Stage> {
    outputs: BTreeMap<String, S::Output>,
    /// The tasks that failed, which the stage tolerated.
    pub failed: Vec<TaskFailed>,
    /// The summary.
    pub summary: S::Summary,
    /// Number of attempts, at least one per task.
    pub attempts: u64,
}

impl<S: Stage> fmt::Debug for StageRun<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(S::NAME)
            .field("outputs", &self.outputs.keys())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<S: Stage> StageRun<S> {
    fn of(stage: &StageRecord) -> Result<Self, JobFailed> {
        let outputs = stage.outputs.iter().map(|(index, output)| {
            let output = serde_json::from_str(output.get());
            let output = output.map_err(|error| {
                JobFailed::new(format!("the result of {index:?} cannot be read again: {error}"))
            });
            Ok((index.clone(), output?))
        });
        Ok(Self {
            outputs: outputs.collect::<Result<_, JobFailed>>()?,
            failed: stage.failed.clone(),
            summary: typed(&stage.summary, "the summary")?,
            attempts: stage.attempts,
        })
    }

    /// The result of the task with this index, if there is such a task and it completed.
    pub fn output(&self, index: &str) -> Option<&S::Output> {
        self.outputs.get(index)
    }

    /// The results by their tasks' indexes.
    pub fn outputs(&self) -> &BTreeMap<String, S::Output> {
        &self.outputs
    }
}

fn typed<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, JobFailed> {
    T::deserialize(value)
        .map_err(|error| JobFailed::new(format!("{what} cannot be read again: {error}")))
}

/// A task that failed permanently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailed {
    /// Its index.
    pub index: String,
    /// The message of its last attempt.
    pub reason: String,
}

/// Why a job failed in memory. Its debug output is the sentence, so that `unwrap` reads well.
#[derive(Clone, PartialEq, Eq)]
pub struct JobFailed {
    stage: Option<(u8, String)>,
    reason: String,
    tasks: Box<[TaskFailed]>,
    others: Box<[Self]>,
    skipped: Box<[(u8, String)]>,
}

impl JobFailed {
    pub(super) fn new(reason: String) -> Self {
        Self {
            stage: None,
            reason,
            tasks: Box::default(),
            others: Box::default(),
            skipped: Box::default(),
        }
    }

    pub(super) fn of_plan(error: PlanError) -> Self {
        Self::new(error.to_string())
    }

    pub(super) fn in_stage(self, number: u8, name: &str) -> Self {
        Self { stage: Some((number, name.to_owned())), ..self }
    }

    pub(super) fn with_tasks(self, tasks: Vec<TaskFailed>) -> Self {
        Self { tasks: tasks.into(), ..self }
    }

    /// The failure of a job of which several stages may have failed, and others were skipped; `None`
    /// if none failed.
    pub(super) fn of_stages(failed: Vec<Self>, skipped: Vec<(u8, String)>) -> Option<Self> {
        let mut failed = failed.into_iter();
        let first = failed.next()?;
        Some(Self { others: failed.collect(), skipped: skipped.into(), ..first })
    }

    /// The tasks that failed, if that is why the job failed; of the first stage that failed.
    pub fn tasks(&self) -> &[TaskFailed] {
        &self.tasks
    }

    /// The failures of further stages, which do not follow the first one that failed.
    pub fn others(&self) -> &[Self] {
        &self.others
    }

    /// The names of the stages that did not run, since a stage before them did not complete.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(|(_, name)| name.as_str())
    }
}

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((number, name)) = &self.stage {
            write!(f, "stage {number} ({name}): ")?;
        }
        f.write_str(&self.reason)?;
        for TaskFailed { index, reason } in self.tasks.iter().take(SHOWN) {
            write!(f, "\n  {index}: {reason}")?;
        }
        if let more @ 1.. = self.tasks.len().saturating_sub(SHOWN) {
            write!(f, "\n  and {more} more")?;
        }
        for other in &self.others {
            write!(f, "\n{other}")?;
        }
        for (number, name) in &self.skipped {
            write!(
                f,
                "\nstage {number} ({name}): skipped, since a stage before it did not complete"
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for JobFailed {}
