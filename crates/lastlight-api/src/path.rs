//! The two pipelines of jobs.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline of a job: selected at submission by `use_service_bus`, stored in
/// `jobs.processing_path`, and never changed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ProcessingPath {
    /// Azure Storage Queues.
    QueueStorage,
    /// Azure Service Bus.
    ServiceBus,
    /// Workers claim the tasks over HTTP, and no task has a message. The few job messages go over
    /// Storage Queues.
    Worker,
}

impl ProcessingPath {
    /// All, in display order.
    pub const ALL: [Self; 3] = [Self::QueueStorage, Self::ServiceBus, Self::Worker];

    /// Those on which tasks have messages.
    pub const WITH_MESSAGES: [Self; 2] = [Self::QueueStorage, Self::ServiceBus];

    /// The name in the database and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueStorage => "queue_storage",
            Self::ServiceBus => "service_bus",
            Self::Worker => "worker",
        }
    }

    /// The path with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.as_str() == name)
    }
}

impl Display for ProcessingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
