//! The parameters of a chaos job: its stages, and the rules for some of its tasks. The job type
//! carries them out, and the oracle derives the expected outcome from them. Nothing here runs
//! anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use lastlight_engine::model::{JobId, TasksPerMessage};

/// The name of the job type.
pub const CHAOS: &str = "chaos";

/// Stages of tasks with faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// Names the job in the ledger; without blanks.
    #[schemars(length(min = 1, max = 50))]
    pub tag: String,
    pub stages: Vec<StageWork>,
    /// Number of tasks per message.
    #[serde(default)]
    pub tasks_per_message: TasksPerMessage,
    /// `true`: Service Bus; `false`: Storage Queues.
    #[serde(default)]
    pub use_service_bus: bool,
    /// `true`: workers run the tasks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub use_workers: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StageWork {
    pub tasks: u64,
    /// Duration of each task, milliseconds.
    pub ms: u64,
    /// Time until each task definition is planned, milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub plan_ms: u64,
    /// Number of tasks that may fail without failing the job.
    pub tolerates: u64,
    /// Bytes added to each task's parameters.
    pub padding: usize,
    /// The plan ends with an error, which fails the job.
    pub plan_fails: bool,
    /// Rules for some of the tasks.
    pub rules: Vec<Rule>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A rule for the tasks whose number leaves the remainder `at` when divided by `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The interval between tasks.
    pub every: u64,
    /// The number of the first task.
    pub at: u64,
    /// Number of first attempts to which the rule applies; `None`: all attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(flatten)]
    pub act: Act,
}

/// What a task does in addition to its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "act")]
pub enum Act {
    Sleep {
        /// Milliseconds.
        ms: u64,
    },
    /// Blocks the thread on which it runs, so that everything else on this thread waits, timers
    /// included.
    Block {
        /// Milliseconds.
        ms: u64,
    },
    /// Fails with a transient error.
    Stumble,
    /// Fails with a permanent error.
    Fail,
    Panic,
    Abort,
    /// Allocates memory until none is left, which ends its process.
    Devour,
    /// Waits until the job's gate is opened, see `Ledger::gate`.
    Wait,
    /// Returns a result of this size.
    Result {
        /// Bytes.
        bytes: usize,
    },
}

/// The expected outcome of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Completes,
    Fails,
}

/// The largest result that is stored, in bytes.
pub const LARGEST_RESULT: usize = 1024 * 1024;

impl Rule {
    pub fn only(number: u64, act: Act) -> Self {
        Self {
            // Larger than any stage.
            every: 1 << 40,
            at: number,
            attempts: None,
            act,
        }
    }

    /// A rule for one of `every` tasks, from number `at` on.
    pub fn every(every: u64, at: u64, act: Act) -> Self {
        Self { every, at, attempts: None, act }
    }

    /// The same rule, for the first attempts only.
    #[must_use]
    pub fn first(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    pub(crate) fn concerns(&self, number: u64) -> bool {
        number % self.every.max(1) == self.at
    }

    fn ends_badly(&self) -> bool {
        let is_bad = match self.act {
            Act::Sleep { .. } | Act::Block { .. } | Act::Wait => false,
            Act::Result { bytes } => bytes > LARGEST_RESULT,
            Act::Stumble | Act::Fail | Act::Panic | Act::Abort | Act::Devour => true,
        };
        // A rule for the first attempts only does not fail the task in the end, unless it fails
        // permanently.
        is_bad && (self.attempts.is_none() || matches!(self.act, Act::Fail | Act::Result { .. }))
    }
}

impl StageWork {
    /// A stage of `tasks` tasks that take `ms` milliseconds each.
    pub fn of(tasks: u64, ms: u64) -> Self {
        Self { tasks, ms, ..Self::default() }
    }

    /// The same stage with one more rule.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The same stage, tolerating this number of failures.
    #[must_use]
    pub fn tolerating(self, tolerates: u64) -> Self {
        Self { tolerates, ..self }
    }

    /// The expected outcome of task `number`.
    pub fn fate(&self, number: u64) -> Fate {
        if self.rules.iter().any(|rule| rule.concerns(number) && rule.ends_badly()) {
            Fate::Fails
        } else {
            Fate::Completes
        }
    }

    /// Number of tasks that must fail.
    pub fn failures(&self) -> u64 {
        (0..self.tasks).filter(|number| self.fate(*number) == Fate::Fails).count() as u64
    }
}

impl Work {
    pub fn tasks(&self) -> u64 {
        self.stages.iter().map(|stage| stage.tasks).sum()
    }

    /// The id that the job has or will have.
    ///
    /// # Errors
    /// The job cannot be serialized as JSON.
    pub fn job_id(&self) -> Result<String, serde_json::Error> {
        let parameters: Map<String, Value> = serde_json::from_str(&serde_json::to_string(self)?)?;
        Ok(JobId::derive(CHAOS, &parameters).to_string())
    }

    /// The first stage whose failures fail the job, from 1.
    pub fn failing_stage(&self) -> Option<usize> {
        let fails = |stage: &StageWork| stage.plan_fails || stage.failures() > stage.tolerates;
        self.stages.iter().position(fails).map(|place| place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_determine_the_expected_outcome() {
        let stage = StageWork::of(10, 0)
            .with(Rule::only(3, Act::Fail))
            .with(Rule::every(5, 1, Act::Stumble).first(2))
            .with(Rule::only(4, Act::Panic))
            .with(Rule::only(5, Act::Result { bytes: LARGEST_RESULT }))
            .with(Rule::only(7, Act::Result { bytes: LARGEST_RESULT + 1 }));
        let failing: Vec<u64> = (0..10).filter(|n| stage.fate(*n) == Fate::Fails).collect();
        assert_eq!(failing, [3, 4, 7]);
        assert_eq!(stage.failures(), 3);
    }

    #[test]
    fn work_is_unchanged_by_serialization() {
        let work = Work {
            tag: "t".to_owned(),
            stages: vec![StageWork::of(2, 5).with(Rule::only(1, Act::Sleep { ms: 7 }).first(1))],
            tasks_per_message: TasksPerMessage::ONE,
            use_service_bus: true,
            use_workers: false,
        };
        let json = serde_json::to_value(&work).unwrap();
        assert_eq!(json["stages"][0]["rules"][0]["act"], "sleep");
        assert_eq!(serde_json::from_value::<Work>(json).unwrap(), work);
    }
}
