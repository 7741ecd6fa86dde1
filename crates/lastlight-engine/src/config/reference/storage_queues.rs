//! The storage account, its queues and its blobs.

use super::Group;
use crate::config::{
    declaration::{Choice, Given, Number, Text},
    values::QueueEncoding,
};

pub(super) static GROUP: Group = Group {
    title: "Storage Queues",
    about: "The first of these that is set defines the connection: `AzureWebJobsStorage`, \
            `AzureWebJobsStorage__queueServiceUri`, `AzureWebJobsStorage__accountName`, `STORAGE_ACCOUNT_NAME`. The last \
            three mean sign-in by identity. The account's blob service, which validators of workflows ask and which has the archive, \
            is found by the same settings.",
    settings: &[
        &STORAGE,
        &STORAGE_QUEUE_SERVICE_URI,
        &STORAGE_BLOB_SERVICE_URI,
        &STORAGE_ACCOUNT,
        &STORAGE_ACCOUNT_NAME,
        &ARCHIVE_CONTAINER,
        &JOB_PROCESSING_QUEUE,
        &TASK_PROCESSING_QUEUE,
        &POISON_QUEUE,
        &STORAGE_QUEUE_ENCODING,
        &STORAGE_QUEUE_SENDS_IN_FLIGHT,
        &STORAGE_QUEUE_RETRY_COUNT,
    ],
};

pub(in crate::config) static STORAGE: Given = Given {
    name: "AzureWebJobsStorage",
    allowed: "a connection string: with `AccountName` and `AccountKey`, with `QueueEndpoint` and `SharedAccessSignature`, \
              or `UseDevelopmentStorage=true` for Azurite",
    is_secret: true,
    meaning: "The storage account, for the handler and for the host. Plain HTTP is allowed only to this machine.",
};

pub(in crate::config) static STORAGE_QUEUE_SERVICE_URI: Given = Given {
    name: "AzureWebJobsStorage__queueServiceUri",
    allowed: "`https://<account>.queue.core.windows.net`",
    is_secret: false,
    meaning: "The queue service, with sign-in by identity.",
};

pub(in crate::config) static STORAGE_BLOB_SERVICE_URI: Given = Given {
    name: "AzureWebJobsStorage__blobServiceUri",
    allowed: "`https://<account>.blob.core.windows.net`",
    is_secret: false,
    meaning: "The blob service, with sign-in by identity. If not set, it is derived from the other settings of the account.",
};

pub(in crate::config) static STORAGE_ACCOUNT: Given = Given {
    name: "AzureWebJobsStorage__accountName",
    allowed: "a storage account name: a-z and 0-9",
    is_secret: false,
    meaning: "The storage account, with sign-in by identity.",
};

pub(in crate::config) static STORAGE_ACCOUNT_NAME: Given = Given {
    name: "STORAGE_ACCOUNT_NAME",
    allowed: "a storage account name: a-z and 0-9",
    is_secret: false,
    meaning: "The same, for the handler only: the host does not read this setting.",
};

pub(in crate::config) static ARCHIVE_CONTAINER: Given = Given {
    name: "ARCHIVE_CONTAINER",
    allowed: "the name of a container in the account's blob service: 3 to 63 characters: a-z, 0-9 and single '-' between them",
    is_secret: false,
    meaning: "The container to which jobs are written before they are deleted. If not set, they are deleted without an archive.",
};

/// The names of queues and containers.
pub(in crate::config) const STORAGE_NAMES: &str =
    "3 to 63 characters: a-z, 0-9 and single '-' between them";

pub(in crate::config) fn is_storage_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (3..=63).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

pub(in crate::config) static JOB_PROCESSING_QUEUE: Text = Text {
    name: "JOB_PROCESSING_QUEUE",
    default: "geospatial-jobs",
    what: "a queue name",
    allowed: STORAGE_NAMES,
    is_allowed: is_storage_name,
    meaning: "The queue for job messages. function.json refers to this setting too, without a default.",
};

pub(in crate::config) static TASK_PROCESSING_QUEUE: Text = Text {
    name: "TASK_PROCESSING_QUEUE",
    default: "geospatial-tasks",
    what: "a queue name",
    allowed: STORAGE_NAMES,
    is_allowed: is_storage_name,
    meaning: "The queue for task messages. function.json refers to this setting too, without a default.",
};

pub(in crate::config) static POISON_QUEUE: Text = Text {
    name: "POISON_QUEUE",
    default: "geospatial-poison",
    what: "a queue name",
    allowed: STORAGE_NAMES,
    is_allowed: is_storage_name,
    meaning: "The review queue, for messages that this app cannot process.",
};

pub(in crate::config) static STORAGE_QUEUE_ENCODING: Choice<QueueEncoding> = Choice {
    name: "STORAGE_QUEUE_ENCODING",
    default: ("base64", QueueEncoding::Base64),
    others: &[("none", QueueEncoding::None)],
    what: "an encoding of messages",
    meaning: "The encoding of message texts. Must match `messageEncoding` in host.json.",
};

pub(in crate::config) static STORAGE_QUEUE_SENDS_IN_FLIGHT: Number<usize> = Number {
    name: "STORAGE_QUEUE_SENDS_IN_FLIGHT",
    default: 64,
    min: 1,
    max: 512,
    unit: "messages",
    meaning: "Maximum number of messages being sent at once: Storage Queues have no batches.",
};

pub(in crate::config) static STORAGE_QUEUE_RETRY_COUNT: Number<u32> = Number {
    name: "STORAGE_QUEUE_RETRY_COUNT",
    default: 3,
    min: 0,
    max: 10,
    unit: "retries",
    meaning: "Number of retries of a failed send. Messages that cannot be sent stay pending, and the sweep sends them.",
};
