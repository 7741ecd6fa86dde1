//! How the workflow is tuned: leases, graces, retries, and how much goes on at once.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::{Env, declaration::Number, host_json, reference as setting};
use crate::job::Backoff;

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
    /// The host kills this process when one of its invocations takes longer; no shorter than a
    /// second.
    pub function_timeout: Duration,
    /// Attempts before a task has failed for good, where its type does not say; at least 1.
    pub max_attempts: u16,
    /// The pause between attempts, where the task's type does not say.
    pub backoff: Backoff,
    /// A job that takes longer fails, where its type does not say.
    pub job_timeout: Duration,
    /// Processes that may share the database, at most; preflight counts with it.
    pub instances: u32,
    /// Parameters and results that this process holds at once. Bytes.
    pub memory: usize,
}

const MIB: usize = 1024 * 1024;

impl Timing {
    /// What a deployed app does where its settings say nothing else.
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
    };

    /// How long before [`function_timeout`](Self::function_timeout) everything in an invocation has
    /// an end: time enough to write an outcome and to answer.
    pub fn margin(&self) -> Duration {
        let twentieth =
            (self.function_timeout / 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        twentieth.min(self.invocation_share())
    }

    /// How long an invocation stays open at most for the sake of what can as well be done in
    /// another one: tasks that wait for room, the rest of a plan, the rest of a sweep.
    pub fn invocation_share(&self) -> Duration {
        self.function_timeout / 4
    }

    /// How long a message that names one task waits for room in its invocation.
    pub fn longest_wait(&self) -> Duration {
        self.invocation_share().min(LONGEST_WAIT)
    }
}

/// A message that names one task waits no longer than this for room: its lock, or its place, is of
/// use to others.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What `functionTimeout` of -1, no limit at all, counts as.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `functionTimeout` as the host has it: the app setting wins over host.json. `None` where neither
/// says, or neither can be read; the host says so then.
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

/// An eighth of what the process may have, at most the default: beyond that, more of it makes
/// nothing faster.
fn memory_mib() -> usize {
    let most = Timing::DEFAULT.memory / MIB;
    let eighth =
        memory_limit().map_or(most, |limit| usize::try_from(limit / 8).unwrap_or(usize::MAX) / MIB);
    eighth.clamp(setting::MEMORY_MIB.min, most)
}

/// The memory of the container, or of the machine, as Linux tells it. Bytes.
fn memory_limit() -> Option<u64> {
    let number = |path: &str| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let machine = || {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    // Version 2 of cgroups, then 1. Either says a number beyond all machines, or a word, where
    // there is no limit.
    let container = number("/sys/fs/cgroup/memory.max")
        .or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    container.into_iter().chain(machine()).min()
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reads it; what is not set is as in [`Timing::DEFAULT`].
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
        memory: env.number_or(&setting::MEMORY_MIB, memory_mib()) * MIB,
    }
}
