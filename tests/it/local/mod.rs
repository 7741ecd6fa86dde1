//! The local cloud behaves as Azure does: its Functions host and its queue services.

mod broker_engines;
pub(crate) mod host;
mod host_batches;
mod host_callers;
mod host_timeouts;
mod killed;
mod service_bus_endpoint;
pub(crate) mod storage_queue_conformance;
