//! The statuses of a job and of a task, and the one function each that defines legal transitions.
//!
//! SQL that changes a status gets the allowed source statuses from [`JobStatus::sources`] or
//! [`TaskStatus::sources`], so this is the only transition table.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A transition that the table does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// "job" or "task".
    pub what: &'static str,
    /// The current status.
    pub from: &'static str,
    /// The requested status.
    pub to: &'static str,
}

macro_rules! status {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every status, in the order of the life cycle.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the database and in responses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The status with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.as_str() == name)
            }

            /// The database names of the statuses from which `to` may be reached.
            pub fn sources(to: Self) -> Vec<&'static str> {
                Self::ALL
                    .iter()
                    .filter(|from| from.transition(to).is_ok())
                    .map(|from| from.as_str())
                    .collect()
            }

            fn illegal(self, to: Self) -> IllegalTransition {
                IllegalTransition { what: $what, from: self.as_str(), to: to.as_str() }
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

status! {
    /// The status of a job.
    JobStatus, "job" {
        /// A job message is unsent or in flight: at the start, and between stages.
        Queued = "queued",
        /// A stage is being planned or is running.
        Processing = "processing",
        /// Every stage finished within its failure policy.
        Completed = "completed",
        /// The job failed; the reason is in `error_details`.
        Failed = "failed",
        /// The job was cancelled by a user.
        Cancelled = "cancelled",
    }
}

status! {
    /// The status of a task.
    TaskStatus, "task" {
        /// The task is stored; its message is unsent: not sent yet, or to be sent again since no
        /// process had capacity for the task.
        PendingQueue = "pending_queue",
        /// Its message was sent.
        Queued = "queued",
        /// An attempt holds the lease.
        Processing = "processing",
        /// The last attempt failed; another is due later.
        Retrying = "retrying",
        /// The task completed with a result.
        Completed = "completed",
        /// The task failed permanently.
        Failed = "failed",
        /// The task will not run: the job was cancelled.
        Skipped = "skipped",
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the database and in responses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;

named! {
    /// How a stage of a graph ended.
    StageOutcome {
        /// Its tasks completed, apart from failures that it tolerates; or its decision was taken.
        Completed = "completed",
        /// More tasks failed than it tolerates.
        Failed = "failed",
        /// It did not run: a stage that it needs did not complete, or did not choose it.
        Skipped = "skipped",
        /// A user rejected it.
        Rejected = "rejected",
    }
}

named! {
    /// How a stage of a graph comes to its end.
    StageKind {
        /// By the outcomes of its tasks.
        Tasks = "tasks",
        /// As soon as it is ready: by what other stages resulted in.
        Decision = "decision",
        /// By a user's decision.
        Gate = "gate",
        /// By the end of another job.
        Job = "job",
    }
}

named! {
    /// What is decided at a gate.
    GateDecision {
        /// What depends on the gate may run.
        Approve = "approve",
        /// What needs the gate is skipped.
        Reject = "reject",
        /// The gate fails, and with it the job; only when its time has passed.
        Fail = "fail",
    }
}

impl JobStatus {
    /// The status after a transition to `to`.
    ///
    /// # Errors
    /// [`IllegalTransition`]: the table does not allow it. A terminal status never changes here.
    pub fn transition(self, to: Self) -> Result<Self, IllegalTransition> {
        use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};
        match (self, to) {
            (Queued, Processing | Failed | Cancelled)
            | (Processing, Queued | Completed | Failed | Cancelled) => Ok(to),
            _ => Err(self.illegal(to)),
        }
    }

    /// Whether the job has finished: the workflow will not change it again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The status after a user's retry of the job. The workflow never does this, so it is not in
    /// the table above.
    ///
    /// # Errors
    /// [`IllegalTransition`]: the job is not terminal, or it completed.
    pub fn reopen(self) -> Result<Self, IllegalTransition> {
        match self {
            Self::Failed | Self::Cancelled => Ok(Self::Queued),
            _ => Err(self.illegal(Self::Queued)),
        }
    }

    /// The database names of the statuses in which a job's tasks run and their outcomes count.
    pub fn open() -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|status| !status.is_terminal())
            .map(|status| status.as_str())
            .collect()
    }

    /// The database names of the statuses from which [`JobStatus::reopen`] is legal.
    pub fn reopenable() -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|status| status.reopen().is_ok())
            .map(|status| status.as_str())
            .collect()
    }
}

impl TaskStatus {
    /// The status after a transition to `to`.
    ///
    /// `processing` to `processing` is a new attempt after the old attempt's lease expired.
    ///
    /// # Errors
    /// [`IllegalTransition`]: the table does not allow it. The first terminal outcome wins.
    pub fn transition(self, to: Self) -> Result<Self, IllegalTransition> {
        use TaskStatus::{Completed, Failed, PendingQueue, Processing, Queued, Retrying, Skipped};
        match (self, to) {
            (PendingQueue, Queued | Processing | Failed | Skipped)
            | (Queued, PendingQueue)
            | (Queued | Retrying, Processing | Failed | Skipped)
            | (Processing, Processing | Retrying | Completed | Failed | Skipped) => Ok(to),
            _ => Err(self.illegal(to)),
        }
    }

    /// Whether the task has its final outcome.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }

    /// The statuses of tasks that a user's retry of a job runs again: unsuccessful tasks. The
    /// workflow never does this, so it is not in the table above.
    pub fn reopenable() -> Vec<&'static str> {
        [Self::Failed, Self::Skipped].map(Self::as_str).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_table() -> Vec<String> {
        JobStatus::ALL
            .iter()
            .map(|to| format!("{to} <- {}", JobStatus::sources(*to).join(" ")))
            .collect()
    }

    fn task_table() -> Vec<String> {
        TaskStatus::ALL
            .iter()
            .map(|to| format!("{to} <- {}", TaskStatus::sources(*to).join(" ")))
            .collect()
    }

    #[test]
    fn the_table_of_job_transitions() {
        assert_eq!(
            job_table(),
            [
                "queued <- processing",
                "processing <- queued",
                "completed <- processing",
                "failed <- queued processing",
                "cancelled <- queued processing",
            ]
        );
    }

    #[test]
    fn the_table_of_task_transitions() {
        assert_eq!(
            task_table(),
            [
                "pending_queue <- queued",
                "queued <- pending_queue",
                "processing <- pending_queue queued processing retrying",
                "retrying <- processing",
                "completed <- processing",
                "failed <- pending_queue queued processing retrying",
                "skipped <- pending_queue queued processing retrying",
            ]
        );
    }

    #[test]
    fn a_terminal_status_has_no_transitions() {
        for from in JobStatus::ALL.iter().filter(|status| status.is_terminal()) {
            assert!(JobStatus::ALL.iter().all(|to| from.transition(*to).is_err()), "{from}");
        }
        for from in TaskStatus::ALL.iter().filter(|status| status.is_terminal()) {
            assert!(TaskStatus::ALL.iter().all(|to| from.transition(*to).is_err()), "{from}");
        }
    }

    #[test]
    fn only_unsuccessful_work_can_be_retried() {
        assert_eq!(JobStatus::reopenable(), ["failed", "cancelled"]);
        assert_eq!(TaskStatus::reopenable(), ["failed", "skipped"]);
        assert_eq!(JobStatus::open(), ["queued", "processing"]);
        let error = JobStatus::Completed.reopen().unwrap_err();
        assert_eq!(error.to_string(), "job cannot go from completed to queued");
    }

    #[test]
    fn an_illegal_transition_names_both_statuses() {
        let error = JobStatus::Completed.transition(JobStatus::Queued).unwrap_err();
        assert_eq!(error.to_string(), "job cannot go from completed to queued");
    }
}
