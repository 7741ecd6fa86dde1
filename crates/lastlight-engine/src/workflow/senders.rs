//! The only module that chooses the transport.

use std::sync::Arc;

use crate::{model::ProcessingPath, transport::dead_letters::QueueService};

/// The queues of each path that is switched on: those to send to, and their dead-letter queues.
#[derive(Debug, Clone)]
pub struct Senders {
    queue_storage: Arc<dyn QueueService>,
    service_bus: Option<Arc<dyn QueueService>>,
}

impl Senders {
    /// `service_bus` is `None` if it is switched off.
    pub fn new(
        queue_storage: Arc<dyn QueueService>,
        service_bus: Option<Arc<dyn QueueService>>,
    ) -> Self {
        Self { queue_storage, service_bus }
    }

    /// The queues of a path; `None` if it is switched off.
    pub fn for_path(&self, path: ProcessingPath) -> Option<&Arc<dyn QueueService>> {
        match path {
            // A job whose tasks are for workers has job messages, and those go over the queues that
            // every app has.
            ProcessingPath::QueueStorage | ProcessingPath::Worker => Some(&self.queue_storage),
            ProcessingPath::ServiceBus => self.service_bus.as_ref(),
        }
    }

    /// The paths that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = &Arc<dyn QueueService>> {
        ProcessingPath::WITH_MESSAGES.into_iter().filter_map(|path| self.for_path(path))
    }
}
