//! Retries, time limits, leases, and concurrency.

use super::Group;
use crate::{
    config::{
        Timing,
        declaration::{Number, Text},
    },
    job::keep,
};

pub(super) static GROUP: Group = Group {
    title: "Workflow",
    about: "Retries, time limits, leases and concurrency. The defaults suit a deployed app.",
    settings: &[
        &MAX_RETRY_ATTEMPTS,
        &RETRY_FIRST_SECONDS,
        &RETRY_LARGEST_SECONDS,
        &FUNCTION_TIMEOUT_MINUTES,
        &JOB_TIMEOUT_HOURS,
        &LEASE_SECONDS,
        &SEND_GRACE_SECONDS,
        &LOST_AFTER_SECONDS,
        &TASKS_IN_FLIGHT,
        &SENDS_IN_FLIGHT,
        &MEMORY_MIB,
        &INSTANCES,
        &SCALE_OUT,
        &RETENTION_COMPLETED_DAYS,
        &RETENTION_FAILED_DAYS,
        &PURGE_SHARE,
    ],
};

const LONGEST_SECONDS: f64 = 86_400.0;

pub(in crate::config) static MAX_RETRY_ATTEMPTS: Number<u16> = Number {
    name: "MAX_RETRY_ATTEMPTS",
    // Retries do not include the first attempt.
    default: Timing::DEFAULT.max_attempts - 1,
    min: 0,
    max: 1000,
    unit: "attempts",
    meaning: "Maximum number of attempts of a task after the first, unless its job type sets it.",
};

pub(in crate::config) static RETRY_FIRST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_FIRST_SECONDS",
    default: Timing::DEFAULT.backoff.first.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The pause after the first attempt. It doubles after each attempt, minus a random part of up to a half.",
};

pub(in crate::config) static RETRY_LARGEST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_LARGEST_SECONDS",
    default: Timing::DEFAULT.backoff.largest.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The longest pause between attempts.",
};

pub(in crate::config) static FUNCTION_TIMEOUT_MINUTES: Number<u64> = Number {
    name: "FUNCTION_TIMEOUT_MINUTES",
    default: Timing::DEFAULT.task_timeout.as_secs() / 60,
    min: 1,
    max: 24 * 60,
    unit: "minutes",
    meaning: "Time limit of an attempt; after it, the attempt fails. `functionTimeout` in host.json should not be shorter: \
              attempts end shortly before it in any case.",
};

pub(in crate::config) static JOB_TIMEOUT_HOURS: Number<u64> = Number {
    name: "LASTLIGHT_JOB_TIMEOUT_HOURS",
    default: Timing::DEFAULT.job_timeout.as_secs() / 3600,
    min: 1,
    max: 24 * 365,
    unit: "hours",
    meaning: "Time limit of a job; after it, an unfinished job fails. A job type may set its own.",
};

pub(in crate::config) static LEASE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LEASE_SECONDS",
    default: Timing::DEFAULT.lease.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long a claim is valid without a heartbeat. After it, the sweep takes over from the dead attempt.",
};

pub(in crate::config) static SEND_GRACE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_SEND_GRACE_SECONDS",
    default: Timing::DEFAULT.send_grace.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long the process that wrote a message has to send it. After it, the sweep sends it.",
};

pub(in crate::config) static LOST_AFTER_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LOST_AFTER_SECONDS",
    default: Timing::DEFAULT.lost_after.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long a stage may make no progress before its messages are presumed lost and sent again, unless their \
              queue is still processing earlier messages.",
};

pub(in crate::config) static TASKS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_TASKS_IN_FLIGHT",
    default: Timing::DEFAULT.tasks_in_flight,
    min: 1,
    max: 1024,
    unit: "tasks",
    meaning: "Maximum number of tasks that the process runs at once, over all invocations. Lower it if a task takes much memory \
              or a core. Messages that come when the limit is reached are sent again later.",
};

pub(in crate::config) static SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_SENDS_IN_FLIGHT",
    default: Timing::DEFAULT.sends_in_flight,
    min: 1,
    max: 64,
    unit: "batches",
    meaning: "Maximum number of message batches being sent at once while a stage is planned.",
};

pub(in crate::config) static MEMORY_MIB: Number<usize> = Number {
    name: "LASTLIGHT_MEMORY_MIB",
    default: Timing::DEFAULT.memory / (1024 * 1024),
    min: 16,
    max: 65_536,
    unit: "MiB",
    meaning: "Memory for the parameters and results that the process holds at once, half for each; tasks wait for their share. \
              If not set, an eighth of the memory of the container or the machine, at most the default.",
};

const KEPT: &str = "a number of days from 1 to 36500, or `never`";

pub(in crate::config) static RETENTION_COMPLETED_DAYS: Text = Text {
    name: "RETENTION_COMPLETED_DAYS",
    default: "30",
    what: "a number of days",
    allowed: KEPT,
    is_allowed: |text| keep(text).is_some(),
    meaning: "For how many days after their end completed and cancelled jobs are kept, with their tasks; `never`: they are \
              not deleted. A job type may set its own.",
};

pub(in crate::config) static RETENTION_FAILED_DAYS: Text = Text {
    name: "RETENTION_FAILED_DAYS",
    default: "90",
    what: "a number of days",
    allowed: KEPT,
    is_allowed: |text| keep(text).is_some(),
    meaning: "For how many days after their end failed jobs are kept, with their tasks; `never`: they are not deleted. A job \
              type may set its own.",
};

pub(in crate::config) static PURGE_SHARE: Number<f64> = Number {
    name: "LASTLIGHT_PURGE_SHARE",
    default: Timing::DEFAULT.purge_share,
    min: 0.01,
    max: 0.7,
    unit: "",
    meaning: "Share of the time in which the sweep deletes jobs whose retention is over, if there are any.",
};

pub(in crate::config) static INSTANCES: Number<u32> = Number {
    name: "LASTLIGHT_INSTANCES",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "Maximum number of instances, which preflight and `doctor` calculate with. If not set, \
              `WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT` is used.",
};

pub(in crate::config) static SCALE_OUT: Number<u32> = Number {
    name: "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "The platform's scale-out limit, which Azure reads too.",
};
