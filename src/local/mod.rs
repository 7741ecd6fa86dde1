//! The local cloud: everything that lastlight needs of Azure, on one machine, on loopback.

pub mod broker;
pub mod host;
