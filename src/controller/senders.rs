//! The one place that chooses the transport.

use std::sync::Arc;

use crate::{model::ProcessingPath, repositories::sender::MessageSender};

/// A sender for each path that is switched on.
#[derive(Debug, Clone)]
pub struct Senders {
    queue_storage: Arc<dyn MessageSender>,
    service_bus: Option<Arc<dyn MessageSender>>,
}

impl Senders {
    /// `service_bus` is `None` where it is switched off.
    pub fn new(queue_storage: Arc<dyn MessageSender>, service_bus: Option<Arc<dyn MessageSender>>) -> Self {
        Self {
            queue_storage,
            service_bus,
        }
    }

    /// The sender of a path; `None` where it is switched off.
    pub fn for_path(&self, path: ProcessingPath) -> Option<&Arc<dyn MessageSender>> {
        match path {
            ProcessingPath::QueueStorage => Some(&self.queue_storage),
            ProcessingPath::ServiceBus => self.service_bus.as_ref(),
        }
    }

    /// The paths that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = &Arc<dyn MessageSender>> {
        ProcessingPath::ALL
            .into_iter()
            .filter_map(|path| self.for_path(path))
    }
}
