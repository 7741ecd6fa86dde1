//! Storage Queues and Service Bus: send, peek, receive. Independent of the workflow.

pub mod dead_letters;
pub mod http;
pub mod sender;
pub mod service_bus;
pub mod storage_queue;
