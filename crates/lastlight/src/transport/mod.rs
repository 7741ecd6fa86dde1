//! Storage Queues and Service Bus: send, look, take. Nothing here knows a workflow.

pub mod dead_letters;
pub mod http;
pub mod sender;
pub mod service_bus;
pub mod storage_queue;
