//! The fields of a file, of its parameters and of what tasks have in common.

use super::{
    Allowed, Field, Mapping,
    words::{self, BACKOFFS, CATCH_UPS, OVERLAPS, PARAMETER_TYPES},
};
use crate::limits::{A_TIME_KEPT, ATTEMPTS, CATCH_UP, JITTER, PAUSE, TIMEOUT, VERSION};

/// A field that must be there.
pub(super) const fn required(name: &'static str, allowed: Allowed, meaning: &'static str) -> Field {
    Field { name, is_required: true, allowed, default: "", meaning }
}

/// A field without which nothing counts.
pub(super) const fn optional(name: &'static str, allowed: Allowed, meaning: &'static str) -> Field {
    Field { name, is_required: false, allowed, default: "", meaning }
}

/// A field without which `default` counts.
pub(super) const fn defaulted(
    name: &'static str,
    allowed: Allowed,
    default: &'static str,
    meaning: &'static str,
) -> Field {
    Field { name, is_required: false, allowed, default, meaning }
}

pub(super) const A_PATH: Allowed = Allowed::Text("a path");
pub(super) const A_NAME: Allowed = Allowed::Text("a name");

pub(super) const HANDLER: Field = required(
    "handler",
    Allowed::Text("1 to 100 characters without blanks"),
    "The name of the handler that does the work.",
);

pub(super) const RETRY_FIELD: Field = optional(
    "retry",
    Allowed::Text("a mapping"),
    "How often a task is tried, and the pauses between. Without it, the app's settings count.",
);

pub(super) const TIMEOUT_FIELD: Field = optional(
    "timeout_seconds",
    Allowed::Whole(TIMEOUT),
    "An attempt that runs longer fails and is tried again. Without it, an attempt in the app may run for \
     `FUNCTION_TIMEOUT_MINUTES`, which is also the most that it may, and one in a worker without a limit.",
);

pub(super) const QUEUE: Field = optional(
    "queue",
    A_NAME,
    "The queue of the workers that run its tasks. Without it, the app itself runs them if it has the handler, and \
     workers of the queue `default` otherwise.",
);

pub(crate) static FILE: Mapping = Mapping {
    noun: "a workflow file",
    about: "The file itself.",
    fields: &[
        required("workflow", A_NAME, "The name of the workflow, which is the job type."),
        optional(
            "description",
            Allowed::Text("text"),
            "What it does, for those who choose a job type.",
        ),
        defaulted(
            "version",
            Allowed::Whole(VERSION),
            "1",
            "The version that its authors give it. It is shown, and stored with each job; nothing is compared with it.",
        ),
        optional(
            "retention_completed_days",
            Allowed::Text(A_TIME_KEPT),
            "For how many days after their end completed and cancelled jobs are kept. Without it, the app's setting says so.",
        ),
        optional("retention_failed_days", Allowed::Text(A_TIME_KEPT), "The same for failed jobs."),
        optional(
            "parameters",
            Allowed::Text("a mapping of names to parameters"),
            "The parameters of a submission.",
        ),
        optional(
            "validators",
            Allowed::Text("a list of validators"),
            "Checks at submission, in this order. One that does not pass refuses the submission.",
        ),
        required("nodes", Allowed::Text("a mapping of names to nodes, at least one"), "The graph."),
        optional(
            "finalize",
            Allowed::Text("a mapping"),
            "A task that runs once all nodes have ended, whatever became of them.",
        ),
        optional(
            "schedules",
            Allowed::Text("a mapping of names to schedules"),
            "When jobs are submitted by themselves ([Schedules](schedules.md)).",
        ),
        optional(
            "reversed_by",
            A_NAME,
            "The workflow that undoes this one. It is shown, not acted on.",
        ),
        optional(
            "reverses",
            Allowed::Text("a list of names"),
            "The workflows that this one undoes. They are shown, not acted on.",
        ),
    ],
};

pub(crate) static PARAMETER: Mapping = Mapping {
    noun: "a parameter",
    about: "A parameter of a submission, or a field of one in `nested`. Its name has 1 to 100 letters, digits and `_`, \
            without a digit first.",
    fields: &[
        required(
            "type",
            Allowed::OneOf(|| words::of(&PARAMETER_TYPES)),
            "The type of its values: text, a whole number, a number, true or false, an object, a list.",
        ),
        defaulted("required", Allowed::Flag, "false", "Whether a submission must have it."),
        optional(
            "default",
            Allowed::Text("a value of its type"),
            "Its value if a submission does not have it, or has null. Without a default it is null for handlers.",
        ),
        optional(
            "nested",
            Allowed::Text("a mapping of names to parameters"),
            "The fields of a `dict`; other fields are refused. Without it, a `dict` may have any.",
        ),
        optional("description", Allowed::Text("text"), "What it is, for users."),
    ],
};

pub(crate) static VALIDATOR: Mapping = Mapping {
    noun: "a validator",
    about: "A check at submission. Each type has further fields.",
    fields: &[required("type", Allowed::Text("the name of a validator"), "Which check.")],
};

pub(crate) static SCHEDULE: Mapping = Mapping {
    noun: "a schedule",
    about: "Due times at which a job of the workflow is submitted. Its name in the app has the workflow's name before it: \
            `nightly` of the workflow `scenes` is `scenes.nightly`.",
    fields: &[
        required(
            "cron",
            Allowed::Text("five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`"),
            "Minute, hour, day of the month, month and day of the week of the due times.",
        ),
        defaulted(
            "time_zone",
            Allowed::Text("a name of the IANA time zone database"),
            "UTC",
            "The time zone of `cron`, with its daylight saving time: `Europe/Berlin`.",
        ),
        optional(
            "parameters",
            Allowed::Text("a mapping of names to values"),
            "The parameters of the job. In texts, `{{ due_at }}`, `{{ due_date }}` and other placeholders stand for the due time.",
        ),
        defaulted(
            "jitter_seconds",
            Allowed::Whole(JITTER),
            "0",
            "A due time is submitted up to this number of seconds later.",
        ),
        defaulted(
            "overlap",
            Allowed::OneOf(|| words::of(&OVERLAPS)),
            "skip",
            "Whether a due time is skipped, waits, or is submitted all the same while the job of an earlier run is not over.",
        ),
        defaulted(
            "catch_up",
            Allowed::OneOf(|| words::of(&CATCH_UPS)),
            "last",
            "Which of the due times that passed while no process ran are made up for.",
        ),
        defaulted(
            "catch_up_limit",
            Allowed::Whole(CATCH_UP),
            "10",
            "The most due times that are made up for, and that wait.",
        ),
    ],
};

pub(crate) static RETRY: Mapping = Mapping {
    noun: "retry",
    about: "The field `retry` of a task, of the task of a fan-out, and of `finalize`.",
    fields: &[
        defaulted(
            "max_attempts",
            Allowed::Whole(ATTEMPTS),
            "3",
            "Number of attempts, with the first.",
        ),
        defaulted(
            "backoff",
            Allowed::OneOf(|| words::of(&BACKOFFS)),
            "exponential",
            "How the pause grows: twice the one before, the first one times the number of attempts, or not.",
        ),
        defaulted(
            "initial_delay_seconds",
            Allowed::Whole(PAUSE),
            "5",
            "The pause after the first attempt, at most `max_delay_seconds`.",
        ),
        defaulted("max_delay_seconds", Allowed::Whole(PAUSE), "300", "The longest pause."),
    ],
};
