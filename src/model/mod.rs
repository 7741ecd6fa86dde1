//! Ids, statuses and their transitions, messages: the words of the house. Knows nothing above it.

mod path;

pub use path::ProcessingPath;
