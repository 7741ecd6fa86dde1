//! Retries, time limits, leases, and how much goes on at once.

use super::Group;
use crate::config::{Timing, declaration::Number};

pub(super) static GROUP: Group = Group {
    title: "Workflow",
    about: "Retries, time limits, leases and how much goes on at once. The defaults suit a deployed app.",
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
    ],
};

const LONGEST_SECONDS: f64 = 86_400.0;

pub(in crate::config) static MAX_RETRY_ATTEMPTS: Number<u16> = Number {
    name: "MAX_RETRY_ATTEMPTS",
    // Retries are what comes after the first attempt.
    default: Timing::DEFAULT.max_attempts - 1,
    min: 0,
    max: 1000,
    unit: "attempts",
    meaning: "Attempts of a task after its first, where its job type does not say.",
};

pub(in crate::config) static RETRY_FIRST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_FIRST_SECONDS",
    default: Timing::DEFAULT.backoff.first.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The pause after the first attempt. It doubles after each, less a random part of up to a half.",
};

pub(in crate::config) static RETRY_LARGEST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_LARGEST_SECONDS",
    default: Timing::DEFAULT.backoff.largest.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The longest pause.",
};

pub(in crate::config) static FUNCTION_TIMEOUT_MINUTES: Number<u64> = Number {
    name: "FUNCTION_TIMEOUT_MINUTES",
    default: Timing::DEFAULT.task_timeout.as_secs() / 60,
    min: 1,
    max: 24 * 60,
    unit: "minutes",
    meaning: "An attempt that runs longer has failed. `functionTimeout` in host.json should not be shorter: attempts end a \
              little before it in any case.",
};

pub(in crate::config) static JOB_TIMEOUT_HOURS: Number<u64> = Number {
    name: "LASTLIGHT_JOB_TIMEOUT_HOURS",
    default: Timing::DEFAULT.job_timeout.as_secs() / 3600,
    min: 1,
    max: 24 * 365,
    unit: "hours",
    meaning: "A job that is not over by then fails, where its job type does not say.",
};

pub(in crate::config) static LEASE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LEASE_SECONDS",
    default: Timing::DEFAULT.lease.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long a claim holds without a heartbeat. After it the sweep takes over from a dead attempt.",
};

pub(in crate::config) static SEND_GRACE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_SEND_GRACE_SECONDS",
    default: Timing::DEFAULT.send_grace.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long the process that owes a message has to send it. After it the sweep does.",
};

pub(in crate::config) static LOST_AFTER_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LOST_AFTER_SECONDS",
    default: Timing::DEFAULT.lost_after.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long nothing may happen in a stage before its messages count as lost and are sent again, unless their \
              queue is still at earlier ones.",
};

pub(in crate::config) static TASKS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_TASKS_IN_FLIGHT",
    default: Timing::DEFAULT.tasks_in_flight,
    min: 1,
    max: 1024,
    unit: "tasks",
    meaning: "Tasks that the process runs at once, over all invocations: lower it where a task takes much memory or a core. \
              Messages that come when there is no room are sent again later.",
};

pub(in crate::config) static SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_SENDS_IN_FLIGHT",
    default: Timing::DEFAULT.sends_in_flight,
    min: 1,
    max: 64,
    unit: "batches",
    meaning: "Batches of messages under way at once while a stage is planned.",
};

pub(in crate::config) static MEMORY_MIB: Number<usize> = Number {
    name: "LASTLIGHT_MEMORY_MIB",
    default: Timing::DEFAULT.memory / (1024 * 1024),
    min: 16,
    max: 65_536,
    unit: "MiB",
    meaning: "Parameters and results that the process holds at once, half for each; tasks wait for their share. Without it, an eighth of \
              the container's or the machine's memory, at most the default.",
};

pub(in crate::config) static INSTANCES: Number<u32> = Number {
    name: "LASTLIGHT_INSTANCES",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "Instances at most; preflight and `doctor` count with it. Without it, \
              `WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT` counts.",
};

pub(in crate::config) static SCALE_OUT: Number<u32> = Number {
    name: "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "The platform's own bound on scaling out; Azure reads it too.",
};
