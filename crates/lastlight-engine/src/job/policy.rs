//! Policies: how often a task is tried, how long one attempt may take, and how many failed tasks a
//! stage tolerates.

use std::time::Duration;

/// Upper bound of a pause. Queues delay a message for at most a week.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 24 * 3600);

/// Upper bound of `max_attempts`: the attempt number has 15 bits, and continues to grow when an
/// operator retries the task.
const MOST_ATTEMPTS: u16 = 10_000;

/// The retry policy and timeout of a task type. Fields that are `None` use the app's settings.
///
/// ```
/// # use std::time::Duration;
/// # use lastlight_engine::job::{Backoff, TaskPolicy};
/// // Pauses of about 1, 2, 4 … seconds, at most 5 minutes.
/// let backoff = Backoff { first: Duration::from_secs(1), largest: Duration::from_secs(300) };
/// let policy =
///     TaskPolicy { max_attempts: Some(10), backoff: Some(backoff), ..TaskPolicy::default() };
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Maximum number of attempts, including the first; at least 1. Default: `MAX_RETRY_ATTEMPTS` +
    /// 1.
    pub max_attempts: Option<u16>,
    /// The pause between attempts.
    pub backoff: Option<Backoff>,
    /// An attempt that runs longer fails and is retried. Default and upper bound:
    /// `FUNCTION_TIMEOUT_MINUTES`, since the host ends an invocation then.
    pub timeout: Option<Duration>,
}

impl TaskPolicy {
    /// Maximum number of attempts; `otherwise` if the policy has none.
    pub(crate) fn most_attempts(&self, otherwise: u16) -> u16 {
        self.max_attempts.unwrap_or(otherwise).clamp(1, MOST_ATTEMPTS)
    }
}

/// How the pause between attempts grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Growth {
    /// It is doubled after each attempt.
    #[default]
    Doubled,
    /// It is the first pause times the number of attempts so far.
    Linear,
}

/// The pause between attempts: doubled after each attempt, up to a bound, and shortened by a random
/// share of up to one half, so that tasks that failed together are not retried together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest pause after the first attempt.
    pub first: Duration,
    /// Longest pause after any attempt.
    pub largest: Duration,
}

impl Backoff {
    /// The pause after attempt number `tries` (from 1); `random` ranges from 0 to 1.
    pub fn pause(&self, tries: u16, random: f64) -> Duration {
        self.grown(tries, Growth::Doubled, random)
    }

    /// The same for a pause that grows in another way.
    pub(crate) fn grown(&self, tries: u16, growth: Growth, random: f64) -> Duration {
        let factor = match growth {
            Growth::Doubled => 1 << u32::from(tries.saturating_sub(1)).min(30),
            Growth::Linear => u32::from(tries.max(1)),
        };
        let whole = self.first.saturating_mul(factor).min(self.largest);
        let whole = whole.min(LONGEST_PAUSE);
        whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// How many failed tasks a stage tolerates before its job fails.
///
/// ```
/// # use lastlight_engine::job::FailurePolicy;
/// assert!(FailurePolicy::TolerateShare(0.1).tolerates(1, 10));
/// assert!(!FailurePolicy::TolerateShare(0.1).tolerates(2, 10));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum FailurePolicy {
    /// No failed task is tolerated: the job fails at the end of the stage.
    #[default]
    FailJob,
    /// Up to this number of failed tasks.
    TolerateCount(u64),
    /// Up to this share of the stage's tasks, 0 to 1.
    TolerateShare(f64),
}

impl FailurePolicy {
    /// Whether a stage of `total` tasks tolerates `failed` failed tasks.
    pub fn tolerates(self, failed: u64, total: u64) -> bool {
        match self {
            Self::FailJob => failed == 0,
            Self::TolerateCount(most) => failed <= most,
            // A stage has at most a million tasks, so both numbers are exact as f64.
            Self::TolerateShare(share) => failed as f64 <= share * total as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_and_vary_by_half() {
        let backoff = Backoff { first: Duration::from_secs(2), largest: Duration::from_secs(60) };
        let whole: Vec<u64> = (1..=8).map(|tries| backoff.pause(tries, 0.0).as_secs()).collect();
        assert_eq!(whole, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.pause(3, 1.0), Duration::from_secs(4));
        assert_eq!(backoff.pause(u16::MAX, 0.5), Duration::from_secs(45));
    }

    #[test]
    fn unlimited_policies_are_clamped() {
        let for_ever = Backoff { first: Duration::MAX, largest: Duration::MAX };
        assert_eq!(for_ever.pause(1, 0.0), LONGEST_PAUSE);
        assert_eq!(for_ever.pause(u16::MAX, 1.0), LONGEST_PAUSE / 2);
        let attempts = |max_attempts| TaskPolicy { max_attempts, ..TaskPolicy::default() };
        assert_eq!(attempts(Some(u16::MAX)).most_attempts(3), 10_000);
        assert_eq!(attempts(Some(0)).most_attempts(3), 1);
        assert_eq!(attempts(None).most_attempts(3), 3);
    }

    #[test]
    fn a_stage_tolerates_what_its_policy_allows() {
        assert!(
            FailurePolicy::FailJob.tolerates(0, 10)
                && !FailurePolicy::FailJob.tolerates(1, 1_000_000)
        );
        assert!(
            FailurePolicy::TolerateCount(2).tolerates(2, 2)
                && !FailurePolicy::TolerateCount(2).tolerates(3, 100)
        );
        let tenth = FailurePolicy::TolerateShare(0.1);
        assert!(tenth.tolerates(1, 10) && !tenth.tolerates(2, 10) && tenth.tolerates(0, 0));
    }
}
