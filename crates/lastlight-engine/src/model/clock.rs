//! The process's wall clock, in one place. Correctness does not depend on it: leases and due times
//! use the database's clock.

use time::OffsetDateTime;

/// The current time of this process's clock, UTC.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc() + skew()
}

/// A deliberate clock error, so that `lastlight chaos` need not change the machine's clock.
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
