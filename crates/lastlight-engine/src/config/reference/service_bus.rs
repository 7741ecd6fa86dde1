//! The Service Bus namespace and its queues.

use super::Group;
use crate::config::declaration::{Flag, Given, Number, Text};

pub(super) static GROUP: Group = Group {
    title: "Service Bus",
    about: "The first of these that is set defines the connection: a connection string with `UseDevelopmentEmulator=true`, \
            `ServiceBusConnection__fullyQualifiedNamespace` (sign-in by identity), `SERVICE_BUS_CONNECTION_STRING`, \
            `ServiceBusConnection`, `SERVICE_BUS_NAMESPACE` (sign-in by identity). While Service Bus is disabled, the other \
            settings of this group are not read.",
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
};

pub(in crate::config) static ENABLE_SERVICE_BUS: Flag = Flag {
    name: "ENABLE_SERVICE_BUS",
    default: None,
    meaning: "Whether Service Bus is used. If not set, it is used if a connection is set.",
};

const BUS_CONNECTION_STRINGS: &str = "`Endpoint=sb://<namespace>.servicebus.windows.net/;SharedAccessKeyName=<name>;\
                                      SharedAccessKey=<key>`; with `UseDevelopmentEmulator=true`: plain HTTP on this machine";

pub(in crate::config) static SERVICE_BUS_CONNECTION_STRING: Given = Given {
    name: "SERVICE_BUS_CONNECTION_STRING",
    allowed: BUS_CONNECTION_STRINGS,
    is_secret: true,
    meaning: "The namespace, with sign-in by key.",
};

pub(in crate::config) static SERVICE_BUS_CONNECTION: Given = Given {
    name: "ServiceBusConnection",
    allowed: BUS_CONNECTION_STRINGS,
    is_secret: true,
    meaning: "The same connection string under the host's name for it, which the host's triggers read.",
};

const BUS_NAMESPACES: &str = "the namespace's name or host name";

pub(in crate::config) static SERVICE_BUS_CONNECTION_NAMESPACE: Given = Given {
    name: "ServiceBusConnection__fullyQualifiedNamespace",
    allowed: BUS_NAMESPACES,
    is_secret: false,
    meaning: "The namespace, with sign-in by identity, for the handler and for the host's triggers.",
};

pub(in crate::config) static SERVICE_BUS_NAMESPACE: Given = Given {
    name: "SERVICE_BUS_NAMESPACE",
    allowed: BUS_NAMESPACES,
    is_secret: false,
    meaning: "The namespace, with sign-in by identity, for the handler only: the host does not read this setting.",
};

const BUS_QUEUE_NAMES: &str = "letters, digits, '.', '-', '_', '~' and '/', at most 260 characters";

fn is_bus_queue_name(name: &str) -> bool {
    let is_allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~');
    name.len() <= 260 && name.chars().all(is_allowed)
}

pub(in crate::config) static SERVICE_BUS_JOB_QUEUE: Text = Text {
    name: "SERVICE_BUS_JOB_QUEUE",
    default: "sb-jobs",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The queue for job messages. function.json refers to this setting too, without a default.",
};

pub(in crate::config) static SERVICE_BUS_TASK_QUEUE: Text = Text {
    name: "SERVICE_BUS_TASK_QUEUE",
    default: "sb-tasks",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The queue for task messages. function.json refers to this setting too, without a default.",
};

pub(in crate::config) static SERVICE_BUS_POISON_QUEUE: Text = Text {
    name: "SERVICE_BUS_POISON_QUEUE",
    default: "sb-poison",
    what: "a queue name",
    allowed: BUS_QUEUE_NAMES,
    is_allowed: is_bus_queue_name,
    meaning: "The review queue, for messages that this app cannot process.",
};

pub(in crate::config) static SERVICE_BUS_MAX_BATCH_SIZE: Number<usize> = Number {
    name: "SERVICE_BUS_MAX_BATCH_SIZE",
    default: 100,
    min: 1,
    max: 100,
    unit: "messages",
    meaning: "Maximum number of messages in one request.",
};

pub(in crate::config) static SERVICE_BUS_SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "SERVICE_BUS_SENDS_IN_FLIGHT",
    default: 16,
    min: 1,
    max: 64,
    unit: "batches",
    meaning: "Maximum number of batches being sent at once.",
};

pub(in crate::config) static SERVICE_BUS_RETRY_COUNT: Number<u32> = Number {
    name: "SERVICE_BUS_RETRY_COUNT",
    default: 3,
    min: 0,
    max: 10,
    unit: "retries",
    meaning: "Number of retries of a failed send. Messages that cannot be sent stay pending, and the sweep sends them.",
};

pub(in crate::config) static SERVICE_BUS_TIMEOUT_SECONDS: Number<u64> = Number {
    name: "SERVICE_BUS_TIMEOUT_SECONDS",
    default: 30,
    min: 1,
    max: 300,
    unit: "seconds",
    meaning: "Timeout of one request.",
};

pub(in crate::config) static SERVICE_BUS_CREDITS_PER_SECOND: Number<u32> = Number {
    name: "SERVICE_BUS_CREDITS_PER_SECOND",
    default: 0,
    min: 0,
    max: 1_000_000,
    unit: "messages per second",
    meaning: "Maximum send rate of this process; 0 means no limit. 950 suits the Standard tier, which grants a namespace \
              1,000 credits per second.",
};
