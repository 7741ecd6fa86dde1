//! Policies: how often a task is tried, how long one attempt may take, and how many failures a
//! stage bears.

use std::time::Duration;

/// Queues keep a message back for a week, and none for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 24 * 3600);

/// More attempts than this are not counted apart: their number has 15 bits, and goes on growing
/// when a person has the task repeated.
const MOST_ATTEMPTS: u16 = 10_000;

/// How a task type is tried. What is `None` is the app's setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskPolicy {
    /// Attempts before a task has failed for good, the first one included; at least 1.
    /// `MAX_RETRY_ATTEMPTS` + 1.
    pub max_attempts: Option<u16>,
    /// The pause between attempts.
    pub backoff: Option<Backoff>,
    /// An attempt that runs longer has failed and is tried again. `FUNCTION_TIMEOUT_MINUTES`, which
    /// bounds it too: the host ends an invocation then.
    pub timeout: Option<Duration>,
}

impl TaskPolicy {
    /// Attempts before a task has failed for good; `otherwise` where the policy does not say.
    pub(crate) fn most_attempts(&self, otherwise: u16) -> u16 {
        self.max_attempts.unwrap_or(otherwise).clamp(1, MOST_ATTEMPTS)
    }
}

/// The pause between attempts: doubled after each, up to a bound, a random half of it left out, so
/// that tasks which failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt, at most.
    pub first: Duration,
    /// After any attempt, at most.
    pub largest: Duration,
}

impl Backoff {
    /// The pause after attempt number `tries` (from 1); `random` is from 0 to 1.
    pub fn pause(&self, tries: u16, random: f64) -> Duration {
        let doublings = u32::from(tries.saturating_sub(1)).min(30);
        let whole = self.first.saturating_mul(1 << doublings).min(self.largest);
        let whole = whole.min(LONGEST_PAUSE);
        whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// What a stage's failed tasks mean for its job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum FailurePolicy {
    /// One is too many: the job fails once the stage is over.
    #[default]
    FailJob,
    /// Up to this many are borne.
    TolerateCount(u64),
    /// Up to this share of the stage's tasks is borne, 0 to 1.
    TolerateShare(f64),
}

impl FailurePolicy {
    /// Whether a stage of `total` tasks may end with `failed` of them failed.
    pub fn bears(self, failed: u64, total: u64) -> bool {
        match self {
            Self::FailJob => failed == 0,
            Self::TolerateCount(most) => failed <= most,
            // A stage holds at most a million tasks: both numbers are exact as f64.
            Self::TolerateShare(share) => failed as f64 <= share * total as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_lose_at_most_half() {
        let backoff = Backoff { first: Duration::from_secs(2), largest: Duration::from_secs(60) };
        let whole: Vec<u64> = (1..=8).map(|tries| backoff.pause(tries, 0.0).as_secs()).collect();
        assert_eq!(whole, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.pause(3, 1.0), Duration::from_secs(4));
        assert_eq!(backoff.pause(u16::MAX, 0.5), Duration::from_secs(45));
    }

    #[test]
    fn for_ever_is_as_long_as_the_queues_and_the_tables_bear() {
        let for_ever = Backoff { first: Duration::MAX, largest: Duration::MAX };
        assert_eq!(for_ever.pause(1, 0.0), LONGEST_PAUSE);
        assert_eq!(for_ever.pause(u16::MAX, 1.0), LONGEST_PAUSE / 2);
        let attempts = |max_attempts| TaskPolicy { max_attempts, ..TaskPolicy::default() };
        assert_eq!(attempts(Some(u16::MAX)).most_attempts(3), 10_000);
        assert_eq!(attempts(Some(0)).most_attempts(3), 1);
        assert_eq!(attempts(None).most_attempts(3), 3);
    }

    #[test]
    fn a_stage_bears_what_its_policy_says() {
        assert!(FailurePolicy::FailJob.bears(0, 10) && !FailurePolicy::FailJob.bears(1, 1_000_000));
        assert!(
            FailurePolicy::TolerateCount(2).bears(2, 2)
                && !FailurePolicy::TolerateCount(2).bears(3, 100)
        );
        let tenth = FailurePolicy::TolerateShare(0.1);
        assert!(tenth.bears(1, 10) && !tenth.bears(2, 10) && tenth.bears(0, 0));
    }
}
