//! Types of setting values, used by both the declarations of the settings and their readers.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Readable text.
    Text,
}

/// The encoding of message texts. Must match the host's `messageEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEncoding {
    /// Base64, the host's default.
    Base64,
    /// No encoding.
    None,
}

/// The level in the spelling of `tracing`.
pub(super) fn log_level(given: &str) -> String {
    let level = given.to_ascii_lowercase();
    // Python's names of the levels.
    match level.as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        _ => level,
    }
}

/// Whether the value is a level or a filter that `tracing` accepts.
pub(super) fn is_log_level(given: &str) -> bool {
    let level = log_level(given);
    // `EnvFilter` takes a word that is not a level as a module name and disables all other modules,
    // so a typo would silence the log. A span filter (`[`) may contain commas of its own.
    let is_stray = |part: &str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    (level.contains('[') || !level.split(',').any(is_stray)) && level.parse::<EnvFilter>().is_ok()
}
