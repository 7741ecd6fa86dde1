//! The table of the app's functions. The router, the OpenAPI document, the function folders,
//! `doctor` and SECURITY.md are all generated from it or checked against it.

use axum::routing::{MethodRouter, delete, get, post};

use super::{
    AppState, bulk_jobs, bulk_operation, cancel_job, claim_tasks, dashboard, db_debug_all,
    db_enums_diagnostic, db_functions_test, db_stats, decide_gate, delete_job, finish_tasks,
    fire_schedules, get_job_audit, get_job_events, get_job_status, health, heartbeat_tasks,
    job_types, list_notifications, list_workers, live, metrics, metrics_comparison, monitor_poison,
    openapi, pause_job, pause_schedule, process_queue_job, process_queue_job_poison,
    process_queue_task, process_queue_task_poison, process_sb_job, process_sb_job_dead_letter,
    process_sb_task, process_sb_task_dead_letter, purge_jobs, query_job, query_job_tasks,
    query_jobs, query_task, query_tasks, reconcile, resubmit_job, resume_job, resume_schedule,
    retry_job, retry_notifications, retry_tasks, run_schedule, schedule, schedules, schema_nuke,
    schema_redeploy, skip_tasks, stop_bulk, submit_job,
};

/// The key that a caller needs. The Functions host checks it before the handler sees a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// No key: for functions that show no job data and change nothing.
    Anonymous,
    /// A function key or a host key: for functions that submit, read and change jobs.
    Function,
    /// The master key: for functions that destroy data, move messages or show whole jobs.
    Admin,
}

impl Key {
    /// The value of `authLevel` in function.json.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Function => "function",
            Self::Admin => "admin",
        }
    }
}

/// The trigger of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Http {
        /// The route below `/api/`.
        route: &'static str,
        /// The key that a caller needs.
        key: Key,
    },
    /// A message from a Storage Queue.
    Queue {
        /// The queue; `%SETTING%` stands for the value of a setting.
        queue: &'static str,
    },
    /// One or several messages from a Service Bus queue.
    ServiceBus {
        /// The queue; `%SETTING%` stands for the value of a setting.
        queue: &'static str,
        /// An invocation carries a batch of messages instead of one.
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
    /// The name of the function and of its folder.
    pub name: &'static str,
    pub trigger: Trigger,
    /// What the function does, in one sentence.
    pub summary: &'static str,
    /// The addresses at which the handler serves it.
    pub(super) addresses: &'static [Address],
}

/// An address that the handler serves.
#[derive(Debug)]
pub(super) struct Address {
    /// The path with the prefix of the host's routes; for a function without a URL, the path that
    /// the host posts to.
    pub(super) path: &'static str,
    /// The methods that it accepts, with their handlers.
    pub(super) methods: fn() -> MethodRouter<AppState>,
    /// The operations that the OpenAPI document describes: empty for an alternative spelling, and
    /// for an address that only the host calls.
    pub(super) operations: &'static [Described],
}

/// An operation in the OpenAPI document.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) method: &'static str,
    /// The operation id, unique in the whole API.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) describe: fn(&mut openapi::Schemas) -> openapi::Operation,
}

pub fn functions() -> &'static [Function] {
    FUNCTIONS
}

/// An HTTP function with one address and one method.
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

/// A function that the host calls for a queue message or a timer.
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
        "Submits a job. An identical submission returns the existing job and starts nothing."),
    http!(job_types, Function, get "jobs/types",
        "Lists the job types, with a JSON Schema of their parameters."),
    http!(get_job_status, Function, get "jobs/status/{job_id}",
        "Returns a job's status, with the progress of each stage."),
    http!(get_job_audit, Function, get "jobs/audit/{job_id}",
        "Audits a job: recounts its tasks and compares them with its counters. Reads every task of the job."),
    http!(get_job_events, Function, get "jobs/events/{job_id}",
        "Returns the events of a job: what happened to it, and who asked for it."),
    http!(cancel_job, Function, post "jobs/cancel/{job_id}",
        "Cancels a job: waiting tasks do not run, and running tasks are stopped."),
    http!(retry_job, Function, post "jobs/retry/{job_id}",
        "Continues a failed or cancelled job: tasks that did not succeed run again."),
    http!(resubmit_job, Function, post "jobs/resubmit/{job_id}",
        "Runs a job again that is over, under its id."),
    http!(pause_job, Function, post "jobs/pause/{job_id}",
        "Pauses a job at the end of its current stage."),
    http!(resume_job, Function, post "jobs/resume/{job_id}",
        "Resumes a paused job."),
    http!(decide_gate, Function, post "jobs/gate/{job_id}/{node}",
        "Decides at a gate of a job: approves or rejects it."),
    http!(delete_job, Admin, delete "jobs/{job_id}",
        "Deletes a job that is over, with its tasks."),
    http!(purge_jobs, Admin, post "jobs/purge",
        "Deletes jobs that have been over for some time, or says which ones that would be."),
    Function {
        name: "bulk_jobs",
        trigger: Trigger::Http { route: "jobs/bulk", key: Key::Admin },
        summary: "Changes all jobs that a filter finds, or says which ones these would be; lists the bulk operations.",
        addresses: &[Address {
            path: "/api/jobs/bulk",
            methods: || get(bulk_jobs::list).post(bulk_jobs::begin),
            operations: &[
                Described {
                    method: "get", id: "list_bulk_operations", describe: bulk_jobs::operation_of_list,
                    summary: "Lists the bulk operations, the newest first, with their progress.",
                },
                Described {
                    method: "post", id: "begin_bulk_operation", describe: bulk_jobs::operation_of_begin,
                    summary: "Says which jobs a filter finds, and with `confirm` begins to change them.",
                },
            ],
        }],
    },
    http!(bulk_operation, Admin, get "jobs/bulk/{operation_id}",
        "Returns the progress of a bulk operation."),
    http!(stop_bulk, Admin, post "jobs/bulk/stop/{operation_id}",
        "Stops a bulk operation. The jobs that it changed stay changed."),
    http!(retry_tasks, Function, post "tasks/retry",
        "Runs tasks again that failed, in stages that have not ended."),
    http!(skip_tasks, Function, post "tasks/skip",
        "Skips tasks for good, so that their job goes on without them."),
    http!(claim_tasks, Function, post "workers/claim",
        "Gives a worker tasks of its handlers, at once or as soon as there are any."),
    http!(heartbeat_tasks, Function, post "workers/heartbeat",
        "Extends the leases of the tasks that a worker runs, and tells which of them to stop."),
    http!(finish_tasks, Function, post "workers/finish",
        "Records how the attempts of a worker ended. The same outcome counts once."),
    http!(list_workers, Function, get "workers",
        "Lists the queues of tasks for workers, and the workers with what they run."),
    Function {
        name: "schedules",
        trigger: Trigger::Http { route: "schedules", key: Key::Function },
        summary: "Lists the schedules, and makes or replaces one.",
        addresses: &[Address {
            path: "/api/schedules",
            methods: || get(schedules::list).post(schedules::set),
            operations: &[
                Described {
                    method: "get", id: "list_schedules", describe: schedules::operation_of_list,
                    summary: "Lists the schedules, with their next due times and what became of the last ones.",
                },
                Described {
                    method: "post", id: "set_schedule", describe: schedules::operation_of_set,
                    summary: "Makes a schedule, or replaces the one of its name. The same request changes nothing.",
                },
            ],
        }],
    },
    Function {
        name: "schedule",
        trigger: Trigger::Http { route: "schedules/{name}", key: Key::Function },
        summary: "Returns a schedule with its next due times and its history, or deletes it.",
        addresses: &[Address {
            path: "/api/schedules/{name}",
            methods: || get(schedule::show).delete(schedule::delete),
            operations: &[
                Described {
                    method: "get", id: "schedule", describe: schedule::operation_of_show,
                    summary: "Returns a schedule with its next due times and its history.",
                },
                Described {
                    method: "delete", id: "delete_schedule", describe: schedule::operation_of_delete,
                    summary: "Deletes a schedule with its history. Its jobs stay.",
                },
            ],
        }],
    },
    http!(pause_schedule, Function, post "schedules/pause/{name}",
        "Pauses a schedule: nothing is submitted until it is resumed."),
    http!(resume_schedule, Function, post "schedules/resume/{name}",
        "Resumes a paused schedule at its next due time."),
    http!(run_schedule, Function, post "schedules/run/{name}",
        "Submits the job of a schedule now, also while it is paused."),
    http!(list_notifications, Function, get "notifications",
        "Lists the notifications that were not delivered, with the reason; of one job, all of them."),
    http!(retry_notifications, Function, post "notifications/retry",
        "Sends notifications again that were given up."),
    http!(query_jobs, Function, get "db/jobs",
        "Lists jobs, newest first, in pages."),
    http!(query_job, Function, get "db/jobs/{job_id}",
        "Returns the complete record of a job, with its stages so far."),
    http!(query_tasks, Function, get "db/tasks",
        "Lists tasks of all jobs, those of the newest job first."),
    http!(query_job_tasks, Function, get "db/tasks/{job_id}",
        "Lists a job's tasks in the order of their stages and ids, in pages."),
    http!(query_task, Function, get "db/tasks/{job_id}/{task_id}",
        "Returns a task with the log and the checkpoint of its attempts."),
    http!(db_stats, Function, get "db/stats",
        "Returns size, maintenance and usage statistics of the database's tables and indexes."),
    http!(db_enums_diagnostic, Function, get "db/enums/diagnostic",
        "Compares the database's enum types with those that the app expects."),
    http!(db_functions_test, Function, get "db/functions/test",
        "Checks whether the database accepts each of the app's SQL statements. None is executed."),
    http!(db_debug_all, Admin, get "db/debug/all",
        "Returns the newest jobs and tasks with all their fields."),
    http!(schema_nuke, Admin, post "db/schema/nuke",
        "Drops the app's schema with all its data. Disabled unless ENABLE_SCHEMA_ADMIN=true."),
    http!(schema_redeploy, Admin, post "db/schema/redeploy",
        "Drops the app's schema and creates it again. Disabled unless ENABLE_SCHEMA_ADMIN=true."),
    http!(metrics_comparison, Function, get "metrics/comparison",
        "Compares the metrics of Storage Queues and Service Bus."),
    http!(health, Anonymous, get "health",
        "Checks the app's dependencies: 200 if all are healthy, 503 otherwise."),
    http!(live, Anonymous, get "live",
        "Liveness of the process; checks neither the database nor a queue."),
    http!(metrics, Function, get "metrics",
        "Prometheus metrics: finished and pending work of the app, health of its dependencies, and counters of the answering process."),
    http!(openapi, Anonymous, get "openapi.json",
        "Returns this OpenAPI document."),
    Function {
        name: "monitor_poison",
        trigger: Trigger::Http { route: "monitor/poison", key: Key::Admin },
        summary: "Dead-lettered messages: lists them, processes all of them, resends one or discards one.",
        addresses: &[Address {
            path: "/api/monitor/poison",
            methods: || get(monitor_poison::look).post(monitor_poison::order),
            operations: &[
                Described {
                    method: "get", id: "monitor_poison", describe: monitor_poison::operation_of_look,
                    summary: "Returns the number of dead-lettered messages, and optionally the messages.",
                },
                Described {
                    method: "post", id: "settle_poison", describe: monitor_poison::operation_of_order,
                    summary: "Processes all dead-lettered messages, resends one or discards one.",
                },
            ],
        }],
    },
    Function {
        name: "dashboard",
        trigger: Trigger::Http { route: "dashboard/{file?}", key: Key::Anonymous },
        summary: "The web dashboard.",
        addresses: &[
            Address {
                path: "/api/dashboard",
                methods: || get(dashboard::page),
                operations: &[Described {
                    method: "get", id: "dashboard", describe: dashboard::operation, summary: "The web dashboard.",
                }],
            },
            Address { path: "/api/dashboard/", methods: || get(dashboard::page_in_folder), operations: &[] },
            Address {
                path: "/api/dashboard/{file}",
                methods: || get(dashboard::file),
                operations: &[Described {
                    method: "get", id: "dashboard_file", describe: dashboard::operation_of_file, summary: "A file of the dashboard.",
                }],
            },
        ],
    },
    triggered!(process_queue_job, Queue { queue: "%JOB_PROCESSING_QUEUE%" },
        "Plans the stage named by a message from the Storage Queue for jobs."),
    triggered!(process_queue_task, Queue { queue: "%TASK_PROCESSING_QUEUE%" },
        "Runs the tasks named by a message from the Storage Queue for tasks."),
    triggered!(process_sb_job, ServiceBus { queue: "%SERVICE_BUS_JOB_QUEUE%", is_many: false },
        "Plans the stage named by a message from the Service Bus queue for jobs."),
    triggered!(process_sb_task, ServiceBus { queue: "%SERVICE_BUS_TASK_QUEUE%", is_many: true },
        "Runs the tasks named by messages from the Service Bus queue for tasks."),
    triggered!(process_queue_job_poison, Queue { queue: "%JOB_PROCESSING_QUEUE%-poison" },
        "Fails the job of a message that the host moved to the poison queue, and keeps the message."),
    triggered!(process_queue_task_poison, Queue { queue: "%TASK_PROCESSING_QUEUE%-poison" },
        "Fails the tasks of a message that the host moved to the poison queue, and keeps the message."),
    triggered!(process_sb_job_dead_letter, ServiceBus { queue: "%SERVICE_BUS_JOB_QUEUE%/$DeadLetterQueue", is_many: false },
        "Fails the job of a dead-lettered message, and keeps the message."),
    triggered!(process_sb_task_dead_letter, ServiceBus { queue: "%SERVICE_BUS_TASK_QUEUE%/$DeadLetterQueue", is_many: false },
        "Fails the tasks of a dead-lettered message, and keeps the message."),
    triggered!(reconcile, Timer { schedule: "0 */1 * * * *" },
        "Runs the sweep: sends unsent messages and recovers lost work."),
    triggered!(fire_schedules, Timer { schedule: "0 */1 * * * *" },
        "Submits the jobs of the schedules that are due."),
];
