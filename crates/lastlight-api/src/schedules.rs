//! Schedules: jobs that are submitted at due times.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{JobId, JobStatus, Timestamp, status::named};

/// The longest name of a schedule, in characters.
pub const LONGEST_NAME: usize = 120;

/// The longest jitter, in seconds.
pub const LONGEST_JITTER: u32 = 3600;

/// The largest `catch_up_limit`.
pub const MOST_CAUGHT_UP: u16 = 1000;

/// What counts without a `catch_up_limit`.
pub const CATCH_UP_LIMIT: u16 = 10;

named! {
    /// What happens at a due time while a job of an earlier run of the schedule is not over.
    Overlap {
        /// The due time is skipped.
        Skip = "skip",
        /// The due time waits until no such job is left.
        Queue = "queue",
        /// The job is submitted all the same.
        Allow = "allow",
    }
}

named! {
    /// What happens to due times that passed while no process ran.
    CatchUp {
        /// They are missed.
        None = "none",
        /// The last one is made up for, the others are missed.
        Last = "last",
        /// The last ones are made up for, up to `catch_up_limit`, the oldest first; the others are missed.
        All = "all",
    }
}

named! {
    /// What became of a due time.
    RunDecision {
        /// Its job was submitted.
        Submitted = "submitted",
        /// The same job existed already, so nothing was submitted.
        Exists = "exists",
        /// It was skipped: a job of an earlier run was not over, or too many due times waited.
        Skipped = "skipped",
        /// It waits until the job of an earlier run is over.
        Waiting = "waiting",
        /// It passed while no process ran.
        Missed = "missed",
        /// The job was refused, for the reason given.
        Failed = "failed",
    }
}

/// A schedule as it is made or replaced; what is absent has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRequest {
    /// 1 to 120 letters, digits, `_`, `-` and `.`, which begin with a letter or `_`.
    pub name: String,
    /// The name of the job's type, or of a workflow.
    pub job_type: String,
    /// The parameters of each submission, with placeholders of the due time in texts.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Five fields, or a nickname such as `@daily`.
    pub cron: String,
    /// A name of the IANA database; UTC if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// 0 to 3600; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_seconds: Option<u32>,
    /// `skip` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// `last` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// 1 to 1000; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_limit: Option<u16>,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    pub name: String,
    /// The name of the job's type.
    pub job_type: String,
    /// The parameters, with their placeholders.
    pub parameters: Map<String, Value>,
    pub cron: String,
    /// A name of the IANA database.
    pub time_zone: String,
    /// A due time is submitted up to this number of seconds later.
    pub jitter_seconds: u32,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    /// Maximum number of due times that are made up for, and that wait.
    pub catch_up_limit: u16,
    /// The workflow whose file declares it; null: it was made by a request.
    pub declared_by: Option<String>,
    /// Since when it is paused; null: it is not.
    pub paused_at: Option<Timestamp>,
    /// The next due time; null if it is paused, or if there is none within five years.
    pub next_due_at: Option<Timestamp>,
    /// The newest due time that something became of.
    pub last_run: Option<ScheduleRun>,
    pub created_at: Timestamp,
    /// When it was made, replaced, paused or resumed last, or when it last fired.
    pub updated_at: Timestamp,
}

/// What became of a due time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRun {
    /// The due time; of several that were missed, the last. Of a run that a user ordered, when that was.
    pub due_at: Timestamp,
    /// Whether a user ordered the run.
    pub is_manual: bool,
    pub decision: RunDecision,
    /// The number of due times that this stands for: more than one only if they were missed.
    pub due_times: u64,
    /// The job, if there is one.
    pub job_id: Option<JobId>,
    /// The job's state now; null if it was deleted, or there is none.
    pub job_status: Option<JobStatus>,
    /// Why there is no job, as text for a user.
    pub reason: Option<String>,
    /// When that was decided.
    pub decided_at: Timestamp,
}

/// All schedules, by name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Schedules {
    pub schedules: Vec<Schedule>,
}

/// A schedule with what comes and what was.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleDetails {
    pub schedule: Schedule,
    /// The next five due times, as if the schedule were not paused.
    pub next_due_times: Vec<Timestamp>,
    /// What became of the newest 100 due times, the newest first.
    pub runs: Vec<ScheduleRun>,
}

/// The result of a request to make or replace a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleSet {
    pub schedule: Schedule,
    /// Whether there was none of this name before.
    pub is_new: bool,
    /// The next five due times.
    pub next_due_times: Vec<Timestamp>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to pause or resume a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePause {
    pub name: String,
    /// Since when it is paused; null: it is not.
    pub paused_at: Option<Timestamp>,
    /// The next due time; null while it is paused.
    pub next_due_at: Option<Timestamp>,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to run a schedule now.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleStarted {
    pub name: String,
    pub run: ScheduleRun,
    /// What happened, as text for a user.
    pub message: String,
}

/// The result of a request to delete a schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleDeleted {
    pub name: String,
    /// What happened, as text for a user.
    pub message: String,
}

/// Whether a text may be the name of a schedule.
pub fn is_schedule_name(text: &str) -> bool {
    let mut characters = text.bytes();
    text.len() <= LONGEST_NAME
        && characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && characters.all(|other| other.is_ascii_alphanumeric() || b"_-.".contains(&other))
}
