//! The process's own wall clock, in one place. Nothing that must be right hangs on it: leases and
//! dues are the database's.

use time::OffsetDateTime;

/// The present moment as this process sees it, UTC.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc() + skew()
}

/// How wrong the clock is on purpose, so that `lastlight chaos` need not touch the machine's.
#[cfg(feature = "fault-injection")]
fn skew() -> time::Duration {
    static SKEW: std::sync::LazyLock<time::Duration> = std::sync::LazyLock::new(|| {
        let seconds = std::env::var(CLOCK_SKEW_SETTING).unwrap_or_default();
        time::Duration::seconds(seconds.parse().unwrap_or_default())
    });
    *SKEW
}

#[cfg(not(feature = "fault-injection"))]
fn skew() -> time::Duration {
    time::Duration::ZERO
}

/// The setting that adds seconds to the clock.
#[cfg(feature = "fault-injection")]
pub const CLOCK_SKEW_SETTING: &str = "LASTLIGHT_CHAOS_CLOCK_SKEW_SECONDS";
