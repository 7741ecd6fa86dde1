//! The timing of the workflow: leases, grace periods, retries and concurrency.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::{Env, declaration::Number, host_json, reference as setting};
use crate::job::{Backoff, Keep, Retention, keep};

/// The tunable limits of the workflow. The defaults suit a deployed app.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// How long a claim or a planner's lease is valid without a heartbeat.
    pub lease: Duration,
    /// How long the process that wrote a message has to send it before `reconcile` does.
    pub send_grace: Duration,
    /// How long a stage may make no progress before its messages are presumed lost.
    pub lost_after: Duration,
    /// Maximum number of message batches being sent at once while a stage is planned.
    pub sends_in_flight: usize,
    /// Maximum number of tasks that this process runs at once, over all invocations.
    pub tasks_in_flight: usize,
    /// Time limit of an attempt; after it, the attempt fails, since the host would end it.
    pub task_timeout: Duration,
    /// The host kills this process if one of its invocations takes longer; at least one second.
    pub function_timeout: Duration,
    /// Maximum number of attempts of a task, unless its type sets it; at least 1.
    pub max_attempts: u16,
    /// The pause between attempts, unless the task's type sets it.
    pub backoff: Backoff,
    /// Time limit of a job, unless its type sets it; after it, the job fails.
    pub job_timeout: Duration,
    /// Maximum number of processes that share the database, for preflight.
    pub instances: u32,
    /// Memory for the parameters and results that this process holds at once, in bytes.
    pub memory: usize,
    /// For how long jobs are kept, unless their type says so.
    pub retention: Retention,
    /// Share of the time in which the sweep deletes jobs, more than 0 and at most 1.
    pub purge_share: f64,
}

const MIB: usize = 1024 * 1024;

impl Timing {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        lease: Duration::from_secs(60),
        send_grace: Duration::from_secs(30),
        lost_after: Duration::from_secs(300),
        sends_in_flight: 16,
        tasks_in_flight: 256,
        task_timeout: Duration::from_secs(30 * 60),
        function_timeout: Duration::from_secs(30 * 60),
        max_attempts: 4,
        backoff: Backoff { first: Duration::from_secs(5), largest: Duration::from_secs(300) },
        job_timeout: Duration::from_secs(7 * 24 * 60 * 60),
        instances: 1,
        memory: 128 * MIB,
        retention: Retention { completed: Some(Keep::Days(30)), failed: Some(Keep::Days(90)) },
        purge_share: 0.1,
    };

    /// How long before [`function_timeout`](Self::function_timeout) all work of an invocation ends:
    /// enough time to write an outcome and to respond.
    pub fn margin(&self) -> Duration {
        let twentieth =
            (self.function_timeout / 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        twentieth.min(self.invocation_share())
    }

    /// How long an invocation stays open at most for work that another invocation can do as well:
    /// tasks that wait for a permit, the rest of a plan, the rest of a sweep.
    pub fn invocation_share(&self) -> Duration {
        self.function_timeout / 4
    }

    /// How long a message that names one task waits for a permit in its invocation.
    pub fn longest_wait(&self) -> Duration {
        self.invocation_share().min(LONGEST_WAIT)
    }
}

/// Maximum time that a message that names one task waits for a permit: other messages can use its
/// lock or its place.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The duration used for a `functionTimeout` of -1, which means no limit.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `functionTimeout` as the host applies it: the app setting overrides host.json. `None` if neither
/// sets it or it cannot be read; the host reports the latter.
fn function_timeout(env: &Env) -> Option<Duration> {
    let in_file = || -> Option<String> {
        let root = env.get(&setting::APP_ROOT_PATH)?;
        let text = fs::read_to_string(Path::new(root).join("host.json")).ok()?;
        let host: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
        Some(host.get("functionTimeout")?.as_str()?.to_owned())
    };
    let said = env.get(&setting::FUNCTION_TIMEOUT).map(str::to_owned);
    match said.or_else(in_file)?.as_str() {
        "-1" => Some(NO_LIMIT),
        text => host_json::time_span(text).filter(|span| !span.is_zero()),
    }
}

/// The default of `LASTLIGHT_MEMORY_MIB`: an eighth of the memory of the process, at most 128 MiB,
/// since more would not increase throughput.
fn memory_mib() -> usize {
    let most = Timing::DEFAULT.memory / MIB;
    let eighth =
        memory_limit().map_or(most, |limit| usize::try_from(limit / 8).unwrap_or(usize::MAX) / MIB);
    eighth.clamp(setting::MEMORY_MIB.min, most)
}

/// The memory of the container or the machine as reported by Linux, in bytes.
fn memory_limit() -> Option<u64> {
    let number = |path: &str| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let machine = || {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    // cgroups version 2, then 1. Without a limit, they report a huge number or a word.
    let container = number("/sys/fs/cgroup/memory.max")
        .or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    container.into_iter().chain(machine()).min()
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reads the timing; settings that are not set have the values of [`Timing::DEFAULT`].
pub(super) fn timing(env: &mut Env) -> Timing {
    let seconds =
        |env: &mut Env, setting: &Number<f64>| Duration::from_secs_f64(env.number(setting));
    let task_timeout = Duration::from_secs(60 * env.number(&setting::FUNCTION_TIMEOUT_MINUTES));
    Timing {
        lease: seconds(env, &setting::LEASE_SECONDS),
        send_grace: seconds(env, &setting::SEND_GRACE_SECONDS),
        lost_after: seconds(env, &setting::LOST_AFTER_SECONDS),
        sends_in_flight: env.number(&setting::SENDS_IN_FLIGHT),
        tasks_in_flight: env.number(&setting::TASKS_IN_FLIGHT),
        task_timeout,
        function_timeout: function_timeout(env).unwrap_or(task_timeout).max(Duration::from_secs(1)),
        // Retries do not include the first attempt.
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
        memory: env.number_or(&setting::MEMORY_MIB, memory_mib()) * MIB,
        retention: Retention {
            completed: keep(&env.text(&setting::RETENTION_COMPLETED_DAYS)),
            failed: keep(&env.text(&setting::RETENTION_FAILED_DAYS)),
        },
        purge_share: env.number(&setting::PURGE_SHARE),
    }
}
