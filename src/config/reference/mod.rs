//! Every setting of the handler, declared: name, default, bounds and meaning. The readers take them from here, and so does
//! docs/SETTINGS.md, which a test makes of [`GROUPS`] and holds to what the readers do. Reads nothing itself.

#[cfg(test)]
mod elsewhere;
#[cfg(test)]
mod in_force;
#[cfg(test)]
mod page;

use super::{
    LogFormat, QueueEncoding,
    declaration::{Choice, Declared, Flag, Given, Number, Text},
};
use crate::controller::{Prices, Timing};

/// Settings that belong together.
pub struct Group {
    /// For people.
    pub title: &'static str,
    /// What holds for all of them.
    pub about: &'static str,
    /// In the order of the page.
    pub settings: &'static [&'static dyn Declared],
}

/// All of them.
pub static GROUPS: &[Group] = &[
    Group {
        title: "Database",
        about: "PostgreSQL: `DATABASE_URL`, or without it `POSTGIS_*`. A host that is not this machine is reached with \
                verified TLS, unless `sslmode` in the URL says otherwise, which is warned about.",
        settings: &[
            &DATABASE_URL,
            &POSTGIS_HOST,
            &POSTGIS_PORT,
            &POSTGIS_USER,
            &POSTGIS_PASSWORD,
            &POSTGIS_DATABASE,
            &PGSSLMODE,
            &APP_SCHEMA,
            &DATABASE_CONNECTIONS,
            &DATABASE_WAIT_SECONDS,
        ],
    },
    Group {
        title: "Storage Queues",
        about: "The first that is set is the connection: `AzureWebJobsStorage`, `AzureWebJobsStorage__queueServiceUri`, \
                `AzureWebJobsStorage__accountName`, `STORAGE_ACCOUNT_NAME`. The last three mean sign-in by identity.",
        settings: &[
            &STORAGE,
            &STORAGE_QUEUE_SERVICE_URI,
            &STORAGE_ACCOUNT,
            &STORAGE_ACCOUNT_NAME,
            &JOB_PROCESSING_QUEUE,
            &TASK_PROCESSING_QUEUE,
            &POISON_QUEUE,
            &STORAGE_QUEUE_ENCODING,
            &STORAGE_QUEUE_SENDS_IN_FLIGHT,
            &STORAGE_QUEUE_RETRY_COUNT,
        ],
    },
    Group {
        title: "Service Bus",
        about: "The first that is set is the connection: a connection string with `UseDevelopmentEmulator=true`, \
                `ServiceBusConnection__fullyQualifiedNamespace` (sign-in by identity), `SERVICE_BUS_CONNECTION_STRING`, \
                `ServiceBusConnection`, `SERVICE_BUS_NAMESPACE` (sign-in by identity). While it is off, nothing else of \
                this group is read.",
        settings: &[
            &ENABLE_SERVICE_BUS,
            &SERVICE_BUS_CONNECTION_STRING,
            &SERVICE_BUS_CONNECTION,
            &SERVICE_BUS_CONNECTION_NAMESPACE,
            &SERVICE_BUS_NAMESPACE,
            &SERVICE_BUS_JOB_QUEUE,
            &SERVICE_BUS_TASK_QUEUE,
            &SERVICE_BUS_POISON_QUEUE,
            &SERVICE_BUS_MAX_BATCH_SIZE,
            &SERVICE_BUS_SENDS_IN_FLIGHT,
            &SERVICE_BUS_RETRY_COUNT,
            &SERVICE_BUS_TIMEOUT_SECONDS,
            &SERVICE_BUS_CREDITS_PER_SECOND,
        ],
    },
    Group {
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
            &INSTANCES,
            &SCALE_OUT,
        ],
    },
    Group {
        title: "Log and spans",
        about: "Spans go to a collector, OTLP over HTTP, where one is named; the other `OTEL_*` are read only then. \
                [TRACING.md](TRACING.md) says what they hold.",
        settings: &[
            &LOG_LEVEL,
            &LOG_FORMAT,
            &OTLP_ENDPOINT,
            &OTLP_HEADERS,
            &OTLP_TIMEOUT,
            &OTEL_SERVICE_NAME,
            &WEBSITE_SITE_NAME,
            &OTEL_TRACES_SAMPLER,
            &OTEL_TRACES_SAMPLER_ARG,
        ],
    },
    Group {
        title: "Prices",
        about: "What messages cost, for the comparison of the two paths ([METRICS.md](METRICS.md)). The defaults are to be \
                checked against one's own contract.",
        settings: &[&PRICE_CURRENCY, &PRICE_STORAGE, &PRICE_SERVICE_BUS],
    },
    Group {
        title: "Administration",
        about: "",
        settings: &[&ENABLE_SCHEMA_ADMIN],
    },
    Group {
        title: "Set by the Functions host",
        about: "Nobody sets these by hand.",
        settings: &[
            &CUSTOMHANDLER_PORT,
            &HTTPWORKER_PORT,
            &AZURE_FUNCTIONS_ENVIRONMENT,
            &EXIT_WITH_PARENT,
        ],
    },
];

fn anything(_: &str) -> bool {
    true
}

// Database.

pub(super) static DATABASE_URL: Given = Given {
    name: "DATABASE_URL",
    allowed: "`postgresql://user:password@host:5432/database`, with what is not a letter or a digit in the password \
              percent-encoded",
    is_secret: true,
    meaning: "The database. A parameter in its query that the driver does not know is warned about and ignored.",
};

pub(super) static POSTGIS_HOST: Given = Given {
    name: "POSTGIS_HOST",
    allowed: "a host, or the folder of a socket",
    is_secret: false,
    meaning: "The server, where there is no `DATABASE_URL`.",
};

pub(super) static POSTGIS_PORT: Number<u16> = Number {
    name: "POSTGIS_PORT",
    default: 5432,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "Its port.",
};

pub(super) static POSTGIS_USER: Given = Given {
    name: "POSTGIS_USER",
    allowed: "a role",
    is_secret: false,
    meaning: "Who signs in. Must be set where `POSTGIS_HOST` is.",
};

pub(super) static POSTGIS_PASSWORD: Given = Given {
    name: "POSTGIS_PASSWORD",
    allowed: "a password",
    is_secret: true,
    meaning: "The role's password, if it has one.",
};

pub(super) static POSTGIS_DATABASE: Given = Given {
    name: "POSTGIS_DATABASE",
    allowed: "a database",
    is_secret: false,
    meaning: "The database on the server. Must be set where `POSTGIS_HOST` is.",
};

pub(super) static PGSSLMODE: Given = Given {
    name: "PGSSLMODE",
    allowed: "`verify-full`, `verify-ca`, `require`, `prefer`, `allow`, `disable`",
    is_secret: false,
    meaning: "How `DATABASE_URL` is reached where it has no `sslmode` of its own. Without both: `prefer` on this machine, \
              `verify-full` elsewhere.",
};

pub(super) static APP_SCHEMA: Text = Text {
    name: "APP_SCHEMA",
    default: "app",
    what: "a schema name",
    allowed: "a-z, 0-9 and _, not beginning with a digit or pg_, at most 63 characters",
    is_allowed: is_schema_name,
    meaning: "The schema of all tables. It is made if it is missing.",
};

fn is_schema_name(text: &str) -> bool {
    let mut characters = text.chars();
    let begins_well = characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let goes_on_well = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    begins_well && goes_on_well && text.len() <= 63 && !text.starts_with("pg_")
}

pub(super) static DATABASE_CONNECTIONS: Number<u32> = Number {
    name: "LASTLIGHT_DATABASE_CONNECTIONS",
    default: 8,
    min: 1,
    max: 100,
    unit: "connections",
    meaning: "The process's pool. Times the instances it must be what the server has.",
};

pub(super) static DATABASE_WAIT_SECONDS: Number<u64> = Number {
    name: "LASTLIGHT_DATABASE_WAIT_SECONDS",
    default: 5,
    min: 1,
    max: 60,
    unit: "seconds",
    meaning: "How long a request waits for a connection before the database counts as away.",
};

// Storage Queues.

pub(super) static STORAGE: Given = Given {
    name: "AzureWebJobsStorage",
    allowed: "a connection string: with `AccountName` and `AccountKey`, with `QueueEndpoint` and `SharedAccessSignature`, \
              or `UseDevelopmentStorage=true` for Azurite",
    is_secret: true,
    meaning: "The storage account, for the handler and for the host. Plain HTTP is for this machine alone.",
};

pub(super) static STORAGE_QUEUE_SERVICE_URI: Given = Given {
    name: "AzureWebJobsStorage__queueServiceUri",
    allowed: "`https://<account>.queue.core.windows.net`",
    is_secret: false,
    meaning: "The queue service, by identity.",
};

pub(super) static STORAGE_ACCOUNT: Given = Given {
    name: "AzureWebJobsStorage__accountName",
    allowed: "a storage account: a-z and 0-9",
    is_secret: false,
    meaning: "The account, by identity.",
};

pub(super) static STORAGE_ACCOUNT_NAME: Given = Given {
    name: "STORAGE_ACCOUNT_NAME",
    allowed: "a storage account: a-z and 0-9",
    is_secret: false,
    meaning: "The same, for the handler alone: the host does not know this name.",
};

const STORAGE_QUEUE_NAMES: &str = "3 to 63 of a-z, 0-9 and single '-' between them";

fn is_storage_queue_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (3..=63).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

pub(super) static JOB_PROCESSING_QUEUE: Text = Text {
    name: "JOB_PROCESSING_QUEUE",
    default: "geospatial-jobs",
    what: "a queue name",
    allowed: STORAGE_QUEUE_NAMES,
    is_allowed: is_storage_queue_name,
    meaning: "The queue of job messages. function.json reads it too, and knows no default.",
};

pub(super) static TASK_PROCESSING_QUEUE: Text = Text {
    name: "TASK_PROCESSING_QUEUE",
    default: "geospatial-tasks",
    what: "a queue name",
    allowed: STORAGE_QUEUE_NAMES,
    is_allowed: is_storage_queue_name,
    meaning: "The queue of task messages. function.json reads it too, and knows no default.",
};

pub(super) static POISON_QUEUE: Text = Text {
    name: "POISON_QUEUE",
    default: "geospatial-poison",
    what: "a queue name",
    allowed: STORAGE_QUEUE_NAMES,
    is_allowed: is_storage_queue_name,
    meaning: "The review queue: messages that mean nothing to this app.",
};

pub(super) static STORAGE_QUEUE_ENCODING: Choice<QueueEncoding> = Choice {
    name: "STORAGE_QUEUE_ENCODING",
    default: ("base64", QueueEncoding::Base64),
    others: &[("none", QueueEncoding::None)],
    what: "an encoding of messages",
    meaning: "How a message's text is wrapped. `messageEncoding` in host.json must say the same.",
};

pub(super) static STORAGE_QUEUE_SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "STORAGE_QUEUE_SENDS_IN_FLIGHT",
    default: 64,
    min: 1,
    max: 512,
    unit: "messages",
    meaning: "Messages under way at once: a Storage Queue knows no batches.",
};

pub(super) static STORAGE_QUEUE_RETRY_COUNT: Number<u32> = Number {
    name: "STORAGE_QUEUE_RETRY_COUNT",
    default: 3,
    min: 0,
    max: 10,
    unit: "tries",
    meaning: "Tries to send after the first one. What cannot be sent stays owed, and the sweep sends it.",
};

// Service Bus.

pub(super) static ENABLE_SERVICE_BUS: Flag = Flag {
    name: "ENABLE_SERVICE_BUS",
    default: None,
    meaning: "Whether Service Bus is used. Without it, it is where a connection is set.",
};

const BUS_CONNECTION_STRINGS: &str = "`Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=<name>;\
                                      SharedAccessKey=<key>`; with `UseDevelopmentEmulator=true`: plain HTTP on this machine";

pub(super) static SERVICE_BUS_CONNECTION_STRING: Given = Given {
    name: "SERVICE_BUS_CONNECTION_STRING",
    allowed: BUS_CONNECTION_STRINGS,
    is_secret: true,
    meaning: "The namespace, by a key.",
};

pub(super) static SERVICE_BUS_CONNECTION: Given = Given {
    name: "ServiceBusConnection",
    allowed: BUS_CONNECTION_STRINGS,
    is_secret: true,
    meaning: "The same under the host's name: its triggers read this one.",
};

const BUS_NAMESPACES: &str = "the namespace's name, or its host";

pub(super) static SERVICE_BUS_CONNECTION_NAMESPACE: Given = Given {
    name: "ServiceBusConnection__fullyQualifiedNamespace",
    allowed: BUS_NAMESPACES,
    is_secret: false,
    meaning: "The namespace, by identity, for the handler and for the host's triggers.",
};

pub(super) static SERVICE_BUS_NAMESPACE: Given = Given {
    name: "SERVICE_BUS_NAMESPACE",
    allowed: BUS_NAMESPACES,
    is_secret: false,
    meaning: "The same, for the handler alone: the host does not know this name.",
};

const BUS_QUEUE_NAMES: &str = "letters, digits, '.', '-', '_', '~' and '/', at most 260 characters";

fn is_bus_queue_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~');
    name.len() <= 260 && name.chars().all(is_allowed)
}

pub(super) static SERVICE_BUS_JOB_QUEUE: Text = Text {
    name: "SERVICE_BUS_JOB_QUEUE",
    default: "sb-jobs",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The queue of job messages. function.json reads it too, and knows no default.",
};

pub(super) static SERVICE_BUS_TASK_QUEUE: Text = Text {
    name: "SERVICE_BUS_TASK_QUEUE",
    default: "sb-tasks",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The queue of task messages. function.json reads it too, and knows no default.",
};

pub(super) static SERVICE_BUS_POISON_QUEUE: Text = Text {
    name: "SERVICE_BUS_POISON_QUEUE",
    default: "sb-poison",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The review queue: messages that mean nothing to this app.",
};

pub(super) static SERVICE_BUS_MAX_BATCH_SIZE: Number<usize> = Number {
    name: "SERVICE_BUS_MAX_BATCH_SIZE",
    default: 100,
    min: 1,
    max: 100,
    unit: "messages",
    meaning: "Messages in one request.",
};

pub(super) static SERVICE_BUS_SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "SERVICE_BUS_SENDS_IN_FLIGHT",
    default: 16,
    min: 1,
    max: 64,
    unit: "batches",
    meaning: "Batches under way at once.",
};

pub(super) static SERVICE_BUS_RETRY_COUNT: Number<u32> = Number {
    name: "SERVICE_BUS_RETRY_COUNT",
    default: 3,
    min: 0,
    max: 10,
    unit: "tries",
    meaning: "Tries to send after the first one. What cannot be sent stays owed, and the sweep sends it.",
};

pub(super) static SERVICE_BUS_TIMEOUT_SECONDS: Number<u64> = Number {
    name: "SERVICE_BUS_TIMEOUT_SECONDS",
    default: 30,
    min: 1,
    max: 300,
    unit: "seconds",
    meaning: "How long one request may take.",
};

pub(super) static SERVICE_BUS_CREDITS_PER_SECOND: Number<u32> = Number {
    name: "SERVICE_BUS_CREDITS_PER_SECOND",
    default: 0,
    min: 0,
    max: 1_000_000,
    unit: "messages a second",
    meaning: "What this process sends at most; 0 is no bound. 950 suits the Standard tier, which grants a namespace 1,000 \
              credits a second.",
};

// Workflow.

const LONGEST_SECONDS: f64 = 86_400.0;

pub(super) static MAX_RETRY_ATTEMPTS: Number<u16> = Number {
    name: "MAX_RETRY_ATTEMPTS",
    // Retries are what comes after the first attempt.
    default: Timing::DEFAULT.max_attempts - 1,
    min: 0,
    max: 1000,
    unit: "attempts",
    meaning: "Attempts of a task after its first, where its job type does not say.",
};

pub(super) static RETRY_FIRST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_FIRST_SECONDS",
    default: Timing::DEFAULT.backoff.first.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The pause after the first attempt. It doubles after each, less a random part of up to a half.",
};

pub(super) static RETRY_LARGEST_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_RETRY_LARGEST_SECONDS",
    default: Timing::DEFAULT.backoff.largest.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "The longest pause.",
};

pub(super) static FUNCTION_TIMEOUT_MINUTES: Number<u64> = Number {
    name: "FUNCTION_TIMEOUT_MINUTES",
    default: Timing::DEFAULT.task_timeout.as_secs() / 60,
    min: 1,
    max: 24 * 60,
    unit: "minutes",
    meaning: "An attempt that runs longer has failed. `functionTimeout` in host.json must not be shorter.",
};

pub(super) static JOB_TIMEOUT_HOURS: Number<u64> = Number {
    name: "LASTLIGHT_JOB_TIMEOUT_HOURS",
    default: Timing::DEFAULT.job_timeout.as_secs() / 3600,
    min: 1,
    max: 24 * 365,
    unit: "hours",
    meaning: "A job that is not over by then fails, where its job type does not say.",
};

pub(super) static LEASE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LEASE_SECONDS",
    default: Timing::DEFAULT.lease.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long a claim holds without a heartbeat. After it the sweep takes over from a dead attempt.",
};

pub(super) static SEND_GRACE_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_SEND_GRACE_SECONDS",
    default: Timing::DEFAULT.send_grace.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long the process that owes a message has to send it. After it the sweep does.",
};

pub(super) static LOST_AFTER_SECONDS: Number<f64> = Number {
    name: "LASTLIGHT_LOST_AFTER_SECONDS",
    default: Timing::DEFAULT.lost_after.as_secs_f64(),
    min: 0.1,
    max: LONGEST_SECONDS,
    unit: "seconds",
    meaning: "How long nothing may happen in a stage before its messages count as lost and are sent again.",
};

pub(super) static TASKS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_TASKS_IN_FLIGHT",
    default: Timing::DEFAULT.tasks_in_flight,
    min: 1,
    max: 1024,
    unit: "tasks",
    meaning: "Tasks that the process runs at once, over all invocations: lower it where a task takes much memory or a core.",
};

pub(super) static SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "LASTLIGHT_SENDS_IN_FLIGHT",
    default: Timing::DEFAULT.sends_in_flight,
    min: 1,
    max: 64,
    unit: "batches",
    meaning: "Batches of messages under way at once while a stage is planned.",
};

pub(super) static INSTANCES: Number<u32> = Number {
    name: "LASTLIGHT_INSTANCES",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "Instances at most; preflight and `doctor` count with it. Without it, \
              `WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT` counts.",
};

pub(super) static SCALE_OUT: Number<u32> = Number {
    name: "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    default: Timing::DEFAULT.instances,
    min: 1,
    max: 1000,
    unit: "instances",
    meaning: "The platform's own bound on scaling out; Azure reads it too.",
};

// Log and spans.

pub(super) static LOG_LEVEL: Text = Text {
    name: "LOG_LEVEL",
    default: "info",
    what: "a log level",
    allowed: "error, warn, info, debug or trace in any case (critical and warning, too), or a filter such as \
              info,lastlight=debug",
    is_allowed: super::telemetry::is_level,
    meaning: "What the log says.",
};

pub(super) static LOG_FORMAT: Choice<LogFormat> = Choice {
    name: "LOG_FORMAT",
    default: ("auto", LogFormat::Auto),
    others: &[("json", LogFormat::Json), ("text", LogFormat::Text)],
    what: "a form of the log",
    meaning: "`auto` is text on a terminal and JSON elsewhere.",
};

pub(super) static OTLP_ENDPOINT: Given = Given {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    allowed: "`https://collector.example:4318`; plain HTTP on this machine alone",
    is_secret: false,
    meaning: "The collector; `v1/traces` is added. Without it there are no spans.",
};

pub(super) static OTLP_HEADERS: Given = Given {
    name: "OTEL_EXPORTER_OTLP_HEADERS",
    allowed: "`name=value,name=value`, with what is not a letter or a digit in a value percent-encoded",
    is_secret: true,
    meaning: "What the collector wants to see: keys, usually.",
};

pub(super) static OTLP_TIMEOUT: Number<u64> = Number {
    name: "OTEL_EXPORTER_OTLP_TIMEOUT",
    default: 10_000,
    min: 1,
    max: 60_000,
    unit: "milliseconds",
    meaning: "How long one request to the collector may take.",
};

pub(super) static OTEL_SERVICE_NAME: Text = Text {
    name: "OTEL_SERVICE_NAME",
    default: "lastlight",
    what: "a name",
    allowed: "any text",
    is_allowed: anything,
    meaning: "The service that the spans name. Without it, `WEBSITE_SITE_NAME` counts.",
};

pub(super) static WEBSITE_SITE_NAME: Given = Given {
    name: "WEBSITE_SITE_NAME",
    allowed: "any text",
    is_secret: false,
    meaning: "The app's name. Azure sets it; with it, sign-in by identity is the app's managed identity.",
};

/// Whether the caller's word counts, and the share of traces; `None`: `OTEL_TRACES_SAMPLER_ARG` says it.
pub(super) static OTEL_TRACES_SAMPLER: Choice<(bool, Option<f64>)> = Choice {
    name: "OTEL_TRACES_SAMPLER",
    default: ("parentbased_always_on", (true, Some(1.0))),
    others: &[
        ("parentbased_always_off", (true, Some(0.0))),
        ("parentbased_traceidratio", (true, None)),
        ("always_on", (false, Some(1.0))),
        ("always_off", (false, Some(0.0))),
        ("traceidratio", (false, None)),
    ],
    what: "a sampler",
    meaning: "Which traces are recorded. `traceidratio` takes its share from `OTEL_TRACES_SAMPLER_ARG`; with `parentbased_` \
              what the caller says of its own trace counts.",
};

pub(super) static OTEL_TRACES_SAMPLER_ARG: Number<f64> = Number {
    name: "OTEL_TRACES_SAMPLER_ARG",
    default: 1.0,
    min: 0.0,
    max: 1.0,
    unit: "",
    meaning: "The share of traces that `traceidratio` records.",
};

// Prices.

const DEAREST: f64 = 1000.0;

pub(super) static PRICE_CURRENCY: Text = Text {
    name: "LASTLIGHT_PRICE_CURRENCY",
    default: Prices::CURRENCY,
    what: "a currency",
    allowed: "three capital letters, such as USD or EUR",
    is_allowed: |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
    meaning: "What the prices are in. Nothing is converted.",
};

pub(super) static PRICE_STORAGE: Number<f64> = Number {
    name: "LASTLIGHT_PRICE_STORAGE_PER_10000",
    default: Prices::STORAGE_PER_10_000,
    min: 0.0,
    max: DEAREST,
    unit: "of the currency",
    meaning: "The price of 10,000 operations on a Storage Queue.",
};

pub(super) static PRICE_SERVICE_BUS: Number<f64> = Number {
    name: "LASTLIGHT_PRICE_SERVICE_BUS_PER_MILLION",
    default: Prices::SERVICE_BUS_PER_MILLION,
    min: 0.0,
    max: DEAREST,
    unit: "of the currency",
    meaning: "The price of a million operations on Service Bus.",
};

// Administration, and what the host sets.

pub(super) static ENABLE_SCHEMA_ADMIN: Flag = Flag {
    name: "ENABLE_SCHEMA_ADMIN",
    default: Some(false),
    meaning: "Whether the schema may be dropped over HTTP: `POST /api/db/schema/nuke` and `…/redeploy`.",
};

pub(super) static CUSTOMHANDLER_PORT: Number<u16> = Number {
    name: "FUNCTIONS_CUSTOMHANDLER_PORT",
    // None: without a host there is nobody to listen to.
    default: 0,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "Where `lastlight serve` listens, on this machine's loopback. Must be set for it.",
};

pub(super) static HTTPWORKER_PORT: Number<u16> = Number {
    name: "FUNCTIONS_HTTPWORKER_PORT",
    default: 0,
    min: 1,
    max: u16::MAX,
    unit: "",
    meaning: "The same under its older name, read where the newer one is not set.",
};

pub(super) static AZURE_FUNCTIONS_ENVIRONMENT: Text = Text {
    name: "AZURE_FUNCTIONS_ENVIRONMENT",
    default: "Production",
    what: "a name",
    allowed: "any text",
    is_allowed: anything,
    meaning: "The environment's name, as `health` shows it.",
};

pub(super) static EXIT_WITH_PARENT: Flag = Flag {
    name: "LASTLIGHT_EXIT_WITH_PARENT",
    default: Some(false),
    meaning: "End when standard input does. The local cloud sets it, so that no handler outlives it.",
};
