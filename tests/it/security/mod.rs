//! No secret leaves the process, no stranger gets in, and nothing has more rights than it needs.

mod deployed_binary;
mod function_keys;
mod least_privilege;
mod secrets;
mod tls;
