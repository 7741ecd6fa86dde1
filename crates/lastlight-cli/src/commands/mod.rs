//! The commands of every app. Each prints text or JSON and returns an exit code.

pub(crate) mod api;
pub(crate) mod archive;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod functions;
pub(crate) mod process;
