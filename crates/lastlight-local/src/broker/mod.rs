//! Two queue services with the real REST protocols on loopback: Storage Queues and Service Bus.
//!
//! Each consists of an in-memory engine ([`StorageQueues`], [`ServiceBus`]), which the local
//! Functions host uses in-process, and a REST endpoint for all other clients. This module does not
//! depend on jobs, tasks or functions: a message is text.

mod clock;
mod connection;
mod endpoint;
mod error;
mod faults;
mod http_time;
mod lines;
mod registry;
pub mod service_bus;
pub mod storage_queue;

pub use clock::Clock;
pub use endpoint::{Endpoint, EndpointError};
pub use error::BrokerError;
pub use faults::{FaultPlan, Faults, LostAnswer};
pub use lines::SnapshotError;
pub use service_bus::ServiceBus;
pub use storage_queue::StorageQueues;

/// Deletes every message of every queue, to simulate total loss; returns the names of the queues.
pub fn delete_all_messages(storage: &StorageQueues, service_bus: &ServiceBus) -> Vec<String> {
    let mut queues = Vec::new();
    for queue in storage.queue_names() {
        if storage.clear(&queue).is_ok() {
            queues.push(queue);
        }
    }
    for queue in service_bus.queue_names() {
        if service_bus.purge(&queue).is_ok() {
            queues.push(queue);
        }
    }
    queues
}
