//! When a schedule is due: a cron expression in a time zone, the jitter of a due time, and the placeholders that a due
//! time fills in.
//!
//! Pure arithmetic: this crate knows no clock, no database and no job.
//!
//! ```
//! use lastlight_schedule::Timetable;
//! use time::macros::datetime;
//!
//! let timetable = Timetable::new("30 2 * * *", "Europe/Berlin")?;
//! let next = timetable.next_after(datetime!(2026-12-01 12:00 UTC));
//! assert_eq!(next, Some(datetime!(2026-12-02 01:30 UTC)));
//! # Ok::<(), lastlight_schedule::BadTimetable>(())
//! ```
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod jitter;
mod placeholders;
mod timetable;

pub use jitter::jitter;
pub use placeholders::{BadPlaceholder, PLACEHOLDERS, depends_on_due_time, fill_in};
pub use timetable::{BadTimetable, HORIZON_YEARS, Timetable};
