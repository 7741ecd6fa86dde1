//! Why a job cannot be changed as a person asks, and what may be done with it instead. Which change
//! is legal is [`JobStatus`]'s to say; here it is put into words.

use std::fmt::{self, Display, Formatter};

use crate::{model::JobStatus, store::JobRecord};

/// What a person may ask of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Cancel,
    /// To have what did not succeed run again.
    Retry,
    /// To have it stand still at the end of its stage.
    Pause,
    /// To let it go on.
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
    /// What was asked of a job that stands as `job` does; none if it may be done.
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

    /// What a person would want to do with it: to pause again what is to pause already changes
    /// nothing.
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
            return write!(f, "; it is over and cannot be {}", self.asked.done());
        }
        match self.asked {
            Change::Retry => {
                f.write_str("; only a job that failed or was cancelled can be retried")?
            }
            Change::Resume if !self.status.is_terminal() => f.write_str(" and is not to pause")?,
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
    fn a_refusal_says_what_the_job_is_and_what_may_be_done_with_it() {
        use Change::{Cancel, Pause, Resume, Retry};
        use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};
        for asked in [Cancel, Pause, Resume] {
            // A pause that was asked for before does not outlive the job.
            assert_eq!(
                said(asked, Cancelled, false, true),
                "the job is cancelled; it can be retried"
            );
            assert_eq!(said(asked, Failed, false, false), "the job has failed; it can be retried");
        }
        assert_eq!(
            said(Retry, Completed, false, false),
            "the job is completed; it is over and cannot be retried"
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
            "the job is queued and is not to pause; it can be cancelled or paused"
        );
    }
}
