//! How the workflow is tuned: leases, graces, retries, and how much goes on at once.

use std::time::Duration;

use super::{Env, declaration::Number, reference as setting};
use crate::jobs::Backoff;

/// What the workflow may be tuned by. The defaults suit a deployed app.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// How long a claim or a planner's lease holds without a heartbeat.
    pub lease: Duration,
    /// How long the process that owes a message has to send it before `reconcile` does.
    pub send_grace: Duration,
    /// How long nothing may happen in a stage before its messages count as lost.
    pub lost_after: Duration,
    /// Batches of messages under way at once while a stage is planned.
    pub sends_in_flight: usize,
    /// Tasks that this process runs at once, over all invocations.
    pub tasks_in_flight: usize,
    /// An attempt that runs longer has failed: the host would end it.
    pub task_timeout: Duration,
    /// Attempts before a task has failed for good, where its type does not say; at least 1.
    pub max_attempts: u16,
    /// The pause between attempts, where the task's type does not say.
    pub backoff: Backoff,
    /// A job that takes longer fails, where its type does not say.
    pub job_timeout: Duration,
    /// Processes that may share the database, at most; preflight counts with it.
    pub instances: u32,
}

impl Timing {
    /// What a deployed app does where its settings say nothing else.
    pub const DEFAULT: Self = Self {
        lease: Duration::from_secs(60),
        send_grace: Duration::from_secs(30),
        lost_after: Duration::from_secs(300),
        sends_in_flight: 16,
        tasks_in_flight: 256,
        task_timeout: Duration::from_secs(30 * 60),
        max_attempts: 4,
        backoff: Backoff {
            first: Duration::from_secs(5),
            largest: Duration::from_secs(300),
        },
        job_timeout: Duration::from_secs(7 * 24 * 60 * 60),
        instances: 1,
    };
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reads it; what is not set is as in [`Timing::DEFAULT`].
pub(super) fn timing(env: &mut Env) -> Timing {
    let seconds = |env: &mut Env, setting: &Number<f64>| Duration::from_secs_f64(env.number(setting));
    Timing {
        lease: seconds(env, &setting::LEASE_SECONDS),
        send_grace: seconds(env, &setting::SEND_GRACE_SECONDS),
        lost_after: seconds(env, &setting::LOST_AFTER_SECONDS),
        sends_in_flight: env.number(&setting::SENDS_IN_FLIGHT),
        tasks_in_flight: env.number(&setting::TASKS_IN_FLIGHT),
        task_timeout: Duration::from_secs(60 * env.number(&setting::FUNCTION_TIMEOUT_MINUTES)),
        // Retries are what comes after the first attempt.
        max_attempts: 1 + env.number(&setting::MAX_RETRY_ATTEMPTS),
        backoff: Backoff {
            first: seconds(env, &setting::RETRY_FIRST_SECONDS),
            largest: seconds(env, &setting::RETRY_LARGEST_SECONDS),
        },
        instances: {
            let platform = env.number(&setting::SCALE_OUT);
            env.number_or(&setting::INSTANCES, platform)
        },
        job_timeout: Duration::from_secs(3600 * env.number(&setting::JOB_TIMEOUT_HOURS)),
    }
}
