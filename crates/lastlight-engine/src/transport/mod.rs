//! Storage Queues and Service Bus: send, peek, receive; and the blobs of storage accounts.
//! Independent of the workflow.

pub mod blob_storage;
pub mod dead_letters;
pub mod http;
pub mod sender;
pub mod service_bus;
mod storage_account;
pub mod storage_queue;
pub mod webhooks;
