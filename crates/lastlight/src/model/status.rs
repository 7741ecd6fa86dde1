//! The states of a job and of a task, and the one function each that says which change is legal.
//!
//! SQL that changes a status asks [`JobStatus::sources`] or [`TaskStatus::sources`] which states it
//! may start from, so the table here is the only one.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change that the table does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// "job" or "task".
    pub what: &'static str,
    /// The state it is in.
    pub from: &'static str,
    /// The state that was asked for.
    pub to: &'static str,
}

macro_rules! status {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every state, in the order of a life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the database and in answers.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The state that has this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.as_str() == name)
            }

            /// The states from which `to` may be reached, as the database names them.
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
    /// Where a job stands.
    JobStatus, "job" {
        /// A job message is owed or on its way: at the start, and between stages.
        Queued = "queued",
        /// A stage is being planned or runs.
        Processing = "processing",
        /// Every stage ended as its policy asks.
        Completed = "completed",
        /// It ended with a reason in `error_details`.
        Failed = "failed",
        /// A person ended it.
        Cancelled = "cancelled",
    }
}

status! {
    /// Where a task stands.
    TaskStatus, "task" {
        /// Written; its message is unsent: not yet sent, or to be sent anew since no process had
        /// room for the task.
        PendingQueue = "pending_queue",
        /// Its message was sent.
        Queued = "queued",
        /// An attempt holds the lease.
        Processing = "processing",
        /// The last attempt failed; another is due later.
        Retrying = "retrying",
        /// It has a result.
        Completed = "completed",
        /// It failed for good.
        Failed = "failed",
        /// It will not run: the job was cancelled.
        Skipped = "skipped",
    }
}

impl JobStatus {
    /// The state after a change to `to`.
    ///
    /// # Errors
    /// [`IllegalTransition`]: the table does not allow it. A terminal state never changes here.
    pub fn transition(self, to: Self) -> Result<Self, IllegalTransition> {
        use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};
        match (self, to) {
            (Queued, Processing | Failed | Cancelled)
            | (Processing, Queued | Completed | Failed | Cancelled) => Ok(to),
            _ => Err(self.illegal(to)),
        }
    }

    /// Nothing more will happen to the job by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// A person may have what failed run again. The workflow never does, so this is not in the
    /// table above.
    ///
    /// # Errors
    /// [`IllegalTransition`]: the job is not over, or there is nothing to repeat.
    pub fn reopen(self) -> Result<Self, IllegalTransition> {
        match self {
            Self::Failed | Self::Cancelled => Ok(Self::Queued),
            _ => Err(self.illegal(Self::Queued)),
        }
    }

    /// The states in which a job's tasks run and their outcomes count, as the database names them.
    pub fn open() -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|status| !status.is_terminal())
            .map(|status| status.as_str())
            .collect()
    }

    /// The states from which [`JobStatus::reopen`] is legal, as the database names them.
    pub fn reopenable() -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|status| status.reopen().is_ok())
            .map(|status| status.as_str())
            .collect()
    }
}

impl TaskStatus {
    /// The state after a change to `to`.
    ///
    /// `processing` to `processing` is a new attempt after the old one's lease ran out.
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

    /// The task has its outcome.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }

    /// The states that a person's retry of a job gives up: what did not succeed. The workflow never
    /// does, so this is not in the table above.
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
    fn the_whole_table_of_job_transitions() {
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
    fn the_whole_table_of_task_transitions() {
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
    fn nothing_leaves_a_terminal_state() {
        for from in JobStatus::ALL.iter().filter(|status| status.is_terminal()) {
            assert!(JobStatus::ALL.iter().all(|to| from.transition(*to).is_err()), "{from}");
        }
        for from in TaskStatus::ALL.iter().filter(|status| status.is_terminal()) {
            assert!(TaskStatus::ALL.iter().all(|to| from.transition(*to).is_err()), "{from}");
        }
    }

    #[test]
    fn a_person_may_repeat_what_did_not_succeed_and_nothing_else() {
        assert_eq!(JobStatus::reopenable(), ["failed", "cancelled"]);
        assert_eq!(TaskStatus::reopenable(), ["failed", "skipped"]);
        assert_eq!(JobStatus::open(), ["queued", "processing"]);
        let error = JobStatus::Completed.reopen().unwrap_err();
        assert_eq!(error.to_string(), "job cannot go from completed to queued");
    }

    #[test]
    fn an_illegal_change_says_what_was_asked() {
        let error = JobStatus::Completed.transition(JobStatus::Queued).unwrap_err();
        assert_eq!(error.to_string(), "job cannot go from completed to queued");
    }
}
