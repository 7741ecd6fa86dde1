//! The numbers that bound a file, beside those that are public.

use std::ops::RangeInclusive;

/// `version` of a file.
pub(crate) const VERSION: RangeInclusive<u64> = 0..=u32::MAX as u64;

/// `max_fan_out` of a fan-out.
pub(crate) const ITEMS: RangeInclusive<u64> = 1..=1_000_000;

/// `tasks_per_message` of a fan-out.
pub(crate) const PER_MESSAGE: RangeInclusive<u64> = 1..=1000;

/// `count` of what a fan-out tolerates.
pub(crate) const TOLERATED: RangeInclusive<u64> = 0..=1_000_000;

/// `max_attempts` of a task.
pub(crate) const ATTEMPTS: RangeInclusive<u64> = 1..=10;

/// A pause between attempts, in seconds: queues delay a message for at most a week.
pub(crate) const PAUSE: RangeInclusive<u64> = 1..=518_400;

/// `timeout_seconds`: up to a year.
pub(crate) const TIMEOUT: RangeInclusive<u64> = 1..=31_536_000;

/// `jitter_seconds` of a schedule.
pub(crate) const JITTER: RangeInclusive<u64> = 0..=3600;

/// `catch_up_limit` of a schedule.
pub(crate) const CATCH_UP: RangeInclusive<u64> = 1..=1000;

/// The longest name of a node, workflow or queue, in characters.
pub(crate) const LONGEST_NAME: usize = 50;

/// The longest name of a parameter, in characters.
pub(crate) const LONGEST_PARAMETER: usize = 100;

/// The longest name of a handler, in characters.
pub(crate) const LONGEST_HANDLER: usize = 100;

/// The largest number of parameters, or of fields of one.
pub(crate) const MOST_PARAMETERS: usize = 1000;

/// Mappings and lists in one another. The readers of values call themselves that deep.
pub(crate) const MOST_LEVELS: usize = 50;

/// Values of a file with all its aliases expanded.
pub(crate) const MOST_VALUES: usize = 100_000;

/// Values that aliases add.
pub(crate) const MOST_VALUES_OF_ALIASES: usize = 50_000;

/// Text of a file with all its aliases expanded, in bytes.
pub(crate) const MOST_TEXT: usize = 3_000_000;

/// Problems and warnings of one file that are told. A file with more is not checked further: each
/// costs time, since names are compared to find the nearest.
pub(crate) const MOST_PROBLEMS: usize = 1000;

/// Characters of an expression. The library follows an expression by recursion, and its longest
/// chain of operators grows with its length.
pub(crate) const LONGEST_EXPRESSION: usize = 1000;

/// Work that one evaluation may be: instructions, and pieces of 64 bytes of new text.
pub(crate) const FUEL: u64 = 50_000;

/// Values that the result of an expression may have in all, in one another.
pub(crate) const MOST_VALUES_OF_EXPRESSION: usize = 1_000_000;

/// Bytes of text that the result of an expression may have.
pub(crate) const MOST_BYTES_OF_EXPRESSION: usize = 16_000_000;

/// Days for which jobs may be kept: up to a hundred years.
pub(crate) const KEPT_DAYS: std::ops::RangeInclusive<u64> = 1..=36_500;

/// The values of a field that says for how long jobs are kept.
pub(crate) const A_TIME_KEPT: &str = "a whole number from 1 to 36500, or never";
