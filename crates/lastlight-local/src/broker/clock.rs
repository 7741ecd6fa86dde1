//! The clock for locks, delays and expiries: the system clock, or one that a test advances.

use std::time::Duration;

use time::{OffsetDateTime, macros::datetime};
use tokio::sync::watch;

/// The expiry that both services report for a message without one.
pub(super) const NEVER: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// The time source of the engines. Clones share the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// `None` means the system clock.
    set: Option<watch::Sender<OffsetDateTime>>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stays at `now` until [`Clock::advance`] moves it, so that tests need not sleep.
    pub fn manual(now: OffsetDateTime) -> Self {
        Self { set: Some(watch::Sender::new(now)) }
    }

    /// The current time, UTC.
    pub fn now(&self) -> OffsetDateTime {
        match &self.set {
            Some(set) => *set.borrow(),
            None => OffsetDateTime::now_utc(),
        }
    }

    /// Advances a manual clock and wakes its sleepers; does nothing to the system clock.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.send_modify(|now| *now = later(*now, by));
        }
    }

    /// Returns at `moment`, or immediately if it has passed.
    pub(super) async fn sleep_until(&self, moment: OffsetDateTime) {
        match &self.set {
            Some(set) => {
                // The sender lives in `self`, so the wait cannot fail early.
                let _ = set.subscribe().wait_for(|now| *now >= moment).await;
            }
            None => {
                let left = moment - OffsetDateTime::now_utc();
                tokio::time::sleep(left.try_into().unwrap_or_default()).await;
            }
        }
    }
}

/// `moment + by`, at most [`NEVER`].
pub(super) fn later(moment: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time::Duration::try_from(by)
        .ok()
        .and_then(|by| moment.checked_add(by))
        .map_or(NEVER, |moment| moment.min(NEVER))
}
