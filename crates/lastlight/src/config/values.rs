//! Values that a setting may have, below both the settings' declarations and their readers.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// How a message's text is wrapped. The host's `messageEncoding` must say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEncoding {
    /// The host's default.
    Base64,
    /// As it is.
    None,
}

/// The level as the log takes it.
pub(super) fn log_level(given: &str) -> String {
    let level = given.to_ascii_lowercase();
    // Python's names for the same.
    match level.as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        _ => level,
    }
}

/// Whether the log takes it.
pub(super) fn is_log_level(given: &str) -> bool {
    let level = log_level(given);
    // The log takes a word that is no level for the name of a module, and says nothing of all
    // others: a slip of the pen would silence it. A filter of spans may have commas of its own.
    let is_stray = |part: &str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    (level.contains('[') || !level.split(',').any(is_stray)) && level.parse::<EnvFilter>().is_ok()
}
