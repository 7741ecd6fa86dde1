//! The time by which locks, delays and expiries run: the system's, or one that a test moves.

use std::time::Duration;

use time::{OffsetDateTime, macros::datetime};
use tokio::sync::watch;

/// What both services show as the expiry of a message that has none.
pub(super) const NEVER: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Where the engines take the time from. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// `None` is the system's clock.
    set: Option<watch::Sender<OffsetDateTime>>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `now` until [`Clock::advance`] moves it, so that a test need
    /// not sleep.
    pub fn manual(now: OffsetDateTime) -> Self {
        Self { set: Some(watch::Sender::new(now)) }
    }

    /// The present moment, UTC.
    pub fn now(&self) -> OffsetDateTime {
        match &self.set {
            Some(set) => *set.borrow(),
            None => OffsetDateTime::now_utc(),
        }
    }

    /// Moves a manual clock and wakes who sleeps on it; the system's clock does not take orders.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.send_modify(|now| *now = later(*now, by));
        }
    }

    /// Returns at `moment`, or at once if it is past.
    pub(super) async fn sleep_until(&self, moment: OffsetDateTime) {
        match &self.set {
            Some(set) => {
                // The sender lives in `self`, so the wait cannot fail before its time.
                let _ = set.subscribe().wait_for(|now| *now >= moment).await;
            }
            None => {
                let left = moment - OffsetDateTime::now_utc();
                tokio::time::sleep(left.try_into().unwrap_or_default()).await;
            }
        }
    }
}

/// `moment + by`, or [`NEVER`] where that is beyond the calendar.
pub(super) fn later(moment: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time::Duration::try_from(by)
        .ok()
        .and_then(|by| moment.checked_add(by))
        .map_or(NEVER, |moment| moment.min(NEVER))
}
