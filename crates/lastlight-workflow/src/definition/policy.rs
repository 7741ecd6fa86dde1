//! Policies: how often a task is tried, how long one attempt may take, and how many failed tasks a
//! fan-out tolerates.

use std::time::Duration;

/// Retries and timeout of a node's tasks. Fields that are `None` use the app's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// How often a task is tried, and the pauses between.
    pub retry: Option<Retry>,
    /// An attempt that runs longer fails and is retried.
    pub timeout: Option<Duration>,
}

/// How often a task is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Number of attempts, with the first: 1 to 10.
    pub max_attempts: u8,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The pause after the first attempt.
    pub initial_delay: Duration,
    /// The longest pause; not shorter than `initial_delay`.
    pub max_delay: Duration,
}

/// How the pause between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Twice the previous pause.
    Exponential,
    /// The initial delay times the number of attempts so far.
    Linear,
    /// Always the initial delay.
    Fixed,
}

impl Default for Retry {
    /// What a file means that says `retry: {}`.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            initial_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(300),
        }
    }
}

impl Retry {
    /// The pause after attempt number `attempts` (from 1).
    pub fn pause(&self, attempts: u16) -> Duration {
        let factor = match self.backoff {
            Backoff::Exponential => 1_u32 << attempts.saturating_sub(1).min(30),
            Backoff::Linear => u32::from(attempts.max(1)),
            Backoff::Fixed => 1,
        };
        self.initial_delay.saturating_mul(factor).min(self.max_delay)
    }
}

/// How many failed tasks a fan-out tolerates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Tolerate {
    /// None: the node fails.
    #[default]
    Nothing,
    /// Up to this share of its tasks, 0 to 1.
    Share(f64),
    /// Up to this number of tasks.
    Count(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_as_the_backoff_says_up_to_the_longest() {
        let seconds = |backoff| {
            let retry = Retry { backoff, max_delay: Duration::from_secs(18), ..Retry::default() };
            [1, 2, 3, 4, u16::MAX].map(|attempts| retry.pause(attempts).as_secs())
        };
        assert_eq!(seconds(Backoff::Exponential), [5, 10, 18, 18, 18]);
        assert_eq!(seconds(Backoff::Linear), [5, 10, 15, 18, 18]);
        assert_eq!(seconds(Backoff::Fixed), [5, 5, 5, 5, 5]);
    }
}
