//! The commands of every app: arguments in, text or JSON out, and an exit code.

pub(crate) mod api;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod functions;
pub(crate) mod process;
