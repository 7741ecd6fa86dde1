//! Why a job cannot be changed as a user requests, and which changes are allowed instead.
//! [`JobStatus`] decides which change is legal; this module writes the message.

use std::fmt::{self, Display, Formatter};

use crate::{model::JobStatus, store::JobRecord};

/// A change of a job that a user may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Cancel,
    /// Run the tasks that did not succeed again.
    Retry,
    /// Pause the job at the end of its stage.
    Pause,
    /// Continue the job, or withdraw a pause.
    Resume,
}

/// A change that the job's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalChange {
    asked: Change,
    status: JobStatus,
    is_paused: bool,
    is_pause_requested: bool,
}

impl Change {
    const ALL: [Self; 4] = [Self::Retry, Self::Cancel, Self::Pause, Self::Resume];

    fn done(self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Retry => "retried",
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }
}

impl IllegalChange {
    /// The rejected request, if the state of `job` does not allow it; otherwise `None`.
    pub(super) fn of(asked: Change, job: &JobRecord) -> Option<Self> {
        let refusal = Self {
            asked,
            status: job.status,
            is_paused: job.paused_at.is_some(),
            is_pause_requested: job.is_pause_requested,
        };
        (!refusal.allows(asked)).then_some(refusal)
    }

    fn allows(&self, change: Change) -> bool {
        match change {
            Change::Cancel => self.status.transition(JobStatus::Cancelled).is_ok(),
            Change::Retry => self.status.reopen().is_ok(),
            Change::Pause => !self.status.is_terminal(),
            Change::Resume => {
                !self.status.is_terminal() && (self.is_paused || self.is_pause_requested)
            }
        }
    }

    /// The allowed changes that have an effect: pausing again a job that is about to pause has
    /// none.
    fn alternatives(&self) -> Vec<&'static str> {
        let is_news = |change: &Change| *change != Change::Pause || !self.allows(Change::Resume);
        Change::ALL
            .into_iter()
            .filter(|change| self.allows(*change) && is_news(change))
            .map(Change::done)
            .collect()
    }
}

impl Display for IllegalChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.status {
            JobStatus::Failed => f.write_str("the job has failed")?,
            _ if self.is_paused && !self.status.is_terminal() => {
                f.write_str("the job is paused")?
            }
            status => write!(f, "the job is {status}")?,
        }
        let alternatives = self.alternatives();
        if alternatives.is_empty() {
            return write!(f, "; it is finished and cannot be {}", self.asked.done());
        }
        match self.asked {
            Change::Retry => {
                f.write_str("; only a job that failed or was cancelled can be retried")?
            }
            Change::Resume if !self.status.is_terminal() => {
                f.write_str(" and no pause was requested")?
            }
            _ => {}
        }
        write!(f, "; it can be {}", alternatives.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(asked: Change, status: JobStatus, is_paused: bool, is_pause_requested: bool) -> String {
        let refusal = IllegalChange { asked, status, is_paused, is_pause_requested };
        assert!(!refusal.allows(asked), "{asked:?} of a job that is {status}");
        refusal.to_string()
    }

    #[test]
    fn message_names_state_and_allowed_changes() {
        use Change::{Cancel, Pause, Resume, Retry};
        use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};
        for asked in [Cancel, Pause, Resume] {
            // A requested pause ends with the job.
            assert_eq!(
                said(asked, Cancelled, false, true),
                "the job is cancelled; it can be retried"
            );
            assert_eq!(said(asked, Failed, false, false), "the job has failed; it can be retried");
        }
        assert_eq!(
            said(Retry, Completed, false, false),
            "the job is completed; it is finished and cannot be retried"
        );
        let only = "only a job that failed or was cancelled can be retried";
        assert_eq!(
            said(Retry, Processing, false, false),
            format!("the job is processing; {only}; it can be cancelled or paused")
        );
        assert_eq!(
            said(Retry, Processing, false, true),
            format!("the job is processing; {only}; it can be cancelled or resumed")
        );
        assert_eq!(
            said(Retry, Queued, true, true),
            format!("the job is paused; {only}; it can be cancelled or resumed")
        );
        assert_eq!(
            said(Resume, Queued, false, false),
            "the job is queued and no pause was requested; it can be cancelled or paused"
        );
    }
}
