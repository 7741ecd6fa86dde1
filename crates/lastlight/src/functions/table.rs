//! The functions of an app, once: the router, the description of the API, the function folders,
//! `doctor` and SECURITY.md are all made of this table, or held to it.

use axum::routing::{MethodRouter, get, post};

use super::{
    AppState, cancel_job, dashboard, db_debug_all, db_enums_diagnostic, db_functions_test,
    db_stats, get_job_audit, get_job_status, health, job_types, live, metrics, metrics_comparison,
    monitor_poison, openapi, pause_job, process_queue_job, process_queue_job_poison,
    process_queue_task, process_queue_task_poison, process_sb_job, process_sb_job_dead_letter,
    process_sb_task, process_sb_task_dead_letter, query_job, query_job_tasks, query_jobs,
    query_tasks, reconcile, resume_job, retry_job, schema_nuke, schema_redeploy, submit_job,
};

/// What a caller needs. The Functions host asks for it before the handler sees a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Nothing: for functions that show no job and change nothing.
    Anonymous,
    /// The key of the function or of the app: submits, reads and changes jobs.
    Function,
    /// The master key: destroys data, moves messages, or shows jobs whole.
    Admin,
}

impl Key {
    /// As `authLevel` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Function => "function",
            Self::Admin => "admin",
        }
    }
}

/// What starts a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Http {
        /// Its address below `/api/`.
        route: &'static str,
        /// What a caller needs.
        key: Key,
    },
    /// A message of a Storage Queue.
    Queue {
        /// The queue, with `%SETTING%` for what a setting names.
        queue: &'static str,
    },
    /// A message of a Service Bus queue, or several.
    ServiceBus {
        /// The queue, with `%SETTING%` for what a setting names.
        queue: &'static str,
        /// An invocation has many messages, rather than one.
        is_many: bool,
    },
    Timer {
        /// Six fields: seconds, minutes, hours, day, month, day of the week.
        schedule: &'static str,
    },
}

/// A function of the app.
#[derive(Debug)]
pub struct Function {
    /// The folder's name, which is the function's.
    pub name: &'static str,
    pub trigger: Trigger,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Where the handler answers for it.
    pub(super) addresses: &'static [Address],
}

/// An address at which the handler answers.
#[derive(Debug)]
pub(super) struct Address {
    /// With the prefix that the host's routes have; of a function without a URL, what the host
    /// posts to.
    pub(super) path: &'static str,
    /// What it answers to.
    pub(super) methods: fn() -> MethodRouter<AppState>,
    /// What is described of it: nothing where it is another spelling, or where the host alone calls
    /// it.
    pub(super) operations: &'static [Described],
}

/// An operation of the API.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) method: &'static str,
    /// A name of its own in the whole API.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) describe: fn(&mut openapi::Schemas) -> openapi::Operation,
}

pub fn functions() -> &'static [Function] {
    FUNCTIONS
}

/// A function at one address, with one method.
macro_rules! http {
    ($name:ident, $key:ident, $method:ident $route:literal, $summary:literal) => {
        Function {
            name: stringify!($name),
            trigger: Trigger::Http { route: $route, key: Key::$key },
            summary: $summary,
            addresses: &[Address {
                path: concat!("/api/", $route),
                methods: || $method($name::handle),
                operations: &[Described {
                    method: stringify!($method),
                    id: stringify!($name),
                    summary: $summary,
                    describe: $name::operation,
                }],
            }],
        }
    };
}

/// A function that the host calls for a message or a timer.
macro_rules! triggered {
    ($name:ident, $trigger:ident $fields:tt, $summary:literal) => {
        Function {
            name: stringify!($name),
            trigger: Trigger::$trigger $fields,
            summary: $summary,
            addresses: &[Address {
                path: concat!("/", stringify!($name)),
                methods: || post($name::handle),
                operations: &[],
            }],
        }
    };
}

#[rustfmt::skip]
static FUNCTIONS: &[Function] = &[
    http!(submit_job, Function, post "jobs/submit/{job_type}",
        "Submits a job. The same submission again answers with the first one, and runs nothing."),
    http!(job_types, Function, get "jobs/types",
        "The job types, with a JSON Schema of what may be submitted."),
    http!(get_job_status, Function, get "jobs/status/{job_id}",
        "Where a job stands, with the progress of each stage."),
    http!(get_job_audit, Function, get "jobs/audit/{job_id}",
        "A job's books: what became of everything that was planned. Reads every task of the job."),
    http!(cancel_job, Function, post "jobs/cancel/{job_id}",
        "Ends a job for good: what waits does not run, what runs is stopped."),
    http!(retry_job, Function, post "jobs/retry/{job_id}",
        "A job that failed or was cancelled goes on: what did not succeed runs again."),
    http!(pause_job, Function, post "jobs/pause/{job_id}",
        "A job stands still at the end of its stage."),
    http!(resume_job, Function, post "jobs/resume/{job_id}",
        "A job that stands still goes on."),
    http!(query_jobs, Function, get "db/jobs",
        "Jobs, newest first, page by page."),
    http!(query_job, Function, get "db/jobs/{job_id}",
        "A job whole, with its stages so far."),
    http!(query_tasks, Function, get "db/tasks",
        "Tasks of all jobs, of the newest job first."),
    http!(query_job_tasks, Function, get "db/tasks/{job_id}",
        "A job's tasks, stage by stage, in the order of their ids, page by page."),
    http!(db_stats, Function, get "db/stats",
        "Size, upkeep and use of the database's tables and indexes."),
    http!(db_enums_diagnostic, Function, get "db/enums/diagnostic",
        "The database's enum types beside those that the app expects."),
    http!(db_functions_test, Function, get "db/functions/test",
        "Whether the database accepts each of the app's statements. None is run."),
    http!(db_debug_all, Admin, get "db/debug/all",
        "The newest jobs and tasks whole."),
    http!(schema_nuke, Admin, post "db/schema/nuke",
        "Drops the app's schema with everything in it. Off unless ENABLE_SCHEMA_ADMIN=true."),
    http!(schema_redeploy, Admin, post "db/schema/redeploy",
        "Drops the app's schema and makes it anew. Off unless ENABLE_SCHEMA_ADMIN=true."),
    http!(metrics_comparison, Function, get "metrics/comparison",
        "Storage Queues and Service Bus side by side."),
    http!(health, Anonymous, get "health",
        "Whether everything that the app needs answers: 200 or 503."),
    http!(live, Anonymous, get "live",
        "That the process answers; asks neither the database nor a queue."),
    http!(metrics, Function, get "metrics",
        "Prometheus' text: what the app has done and has to do, what answers, and what the process that answers counts."),
    http!(openapi, Anonymous, get "openapi.json",
        "This document."),
    Function {
        name: "monitor_poison",
        trigger: Trigger::Http { route: "monitor/poison", key: Key::Admin },
        summary: "Messages that were dead-lettered: shows them, deals with all, sends one again, discards one.",
        addresses: &[Address {
            path: "/api/monitor/poison",
            methods: || get(monitor_poison::look).post(monitor_poison::order),
            operations: &[
                Described {
                    method: "get", id: "monitor_poison", describe: monitor_poison::operation_of_look,
                    summary: "How many messages were set aside, and on request which.",
                },
                Described {
                    method: "post", id: "settle_poison", describe: monitor_poison::operation_of_order,
                    summary: "Has what was set aside dealt with, or sends one message again, or throws one away.",
                },
            ],
        }],
    },
    Function {
        name: "dashboard",
        trigger: Trigger::Http { route: "dashboard/{file?}", key: Key::Anonymous },
        summary: "The page for people.",
        addresses: &[
            Address {
                path: "/api/dashboard",
                methods: || get(dashboard::page),
                operations: &[Described {
                    method: "get", id: "dashboard", describe: dashboard::operation, summary: "The page for people.",
                }],
            },
            Address { path: "/api/dashboard/", methods: || get(dashboard::page_in_folder), operations: &[] },
            Address {
                path: "/api/dashboard/{file}",
                methods: || get(dashboard::file),
                operations: &[Described {
                    method: "get", id: "dashboard_file", describe: dashboard::operation_of_file, summary: "What the page is made of.",
                }],
            },
        ],
    },
    triggered!(process_queue_job, Queue { queue: "%JOB_PROCESSING_QUEUE%" },
        "Plans the stage that a message of the Storage Queue for jobs names."),
    triggered!(process_queue_task, Queue { queue: "%TASK_PROCESSING_QUEUE%" },
        "Runs the tasks that a message of the Storage Queue for tasks names."),
    triggered!(process_sb_job, ServiceBus { queue: "%SERVICE_BUS_JOB_QUEUE%", is_many: false },
        "Plans the stage that a message of the Service Bus queue for jobs names."),
    triggered!(process_sb_task, ServiceBus { queue: "%SERVICE_BUS_TASK_QUEUE%", is_many: true },
        "Runs the tasks that messages of the Service Bus queue for tasks name."),
    triggered!(process_queue_job_poison, Queue { queue: "%JOB_PROCESSING_QUEUE%-poison" },
        "Fails the job of a message that the host gave up, and keeps the message."),
    triggered!(process_queue_task_poison, Queue { queue: "%TASK_PROCESSING_QUEUE%-poison" },
        "Fails the tasks of a message that the host gave up, and keeps the message."),
    triggered!(process_sb_job_dead_letter, ServiceBus { queue: "%SERVICE_BUS_JOB_QUEUE%/$DeadLetterQueue", is_many: false },
        "Fails the job of a dead-lettered message, and keeps the message."),
    triggered!(process_sb_task_dead_letter, ServiceBus { queue: "%SERVICE_BUS_TASK_QUEUE%/$DeadLetterQueue", is_many: false },
        "Fails the tasks of a dead-lettered message, and keeps the message."),
    triggered!(reconcile, Timer { schedule: "0 */1 * * * *" },
        "The sweep: sends what is unsent, and repairs what was lost."),
];
