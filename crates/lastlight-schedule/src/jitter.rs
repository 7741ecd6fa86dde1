//! The offset between a due time and the moment at which it is submitted.

use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

/// The offset of a due time of the schedule `name`: whole seconds from 0 to `jitter_seconds`. All instances compute
/// the same one.
pub fn jitter(name: &str, due_at: OffsetDateTime, jitter_seconds: u32) -> Duration {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(due_at.unix_timestamp().to_be_bytes());
    let mut seconds = 0u64;
    for byte in hash.finalize().iter().take(8) {
        seconds = seconds << 8 | u64::from(*byte);
    }
    let seconds = seconds % (u64::from(jitter_seconds) + 1);
    Duration::seconds(seconds.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_jitter_is_fixed_and_within_its_bound() {
        let due = datetime!(2026-12-01 03:00 UTC);
        assert_eq!(jitter("nightly", due, 0), Duration::ZERO);
        let offsets: Vec<Duration> =
            (0..50).map(|day| jitter("nightly", due + Duration::days(day), 600)).collect();
        assert!(offsets.iter().all(|offset| (0..=600).contains(&offset.whole_seconds())));
        assert!(offsets.iter().max() > offsets.iter().min(), "{offsets:?}");
        assert_eq!(offsets[7], jitter("nightly", due + Duration::days(7), 600));
        assert_ne!(jitter("nightly", due, 600), jitter("hourly", due, 600));
    }
}
