//! Store and send: PostgreSQL, Storage Queues, Service Bus. Nothing here knows a workflow.

pub mod http;
pub mod postgres;
pub mod sender;
pub mod service_bus;
pub mod set_aside;
pub mod storage_queue;
