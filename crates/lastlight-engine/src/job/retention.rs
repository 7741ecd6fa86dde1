//! How long jobs are kept after their end.

/// How long the jobs of a type are kept after their end; `None` uses the app's setting.
///
/// ```
/// # use lastlight_engine::job::{Keep, Retention};
/// // A week if all went well; failed jobs stay until somebody deletes them.
/// let retention = Retention { completed: Some(Keep::Days(7)), failed: Some(Keep::Forever) };
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Completed and cancelled jobs; by default `RETENTION_COMPLETED_DAYS`.
    pub completed: Option<Keep>,
    /// Failed jobs; by default `RETENTION_FAILED_DAYS`.
    pub failed: Option<Keep>,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// For this number of days, at least 1.
    Days(u16),
    /// Until somebody deletes it.
    Forever,
}

impl Keep {
    /// Seconds; `None`: for ever.
    pub(crate) fn seconds(self) -> Option<f64> {
        match self {
            Self::Days(days) => Some(f64::from(days.max(1)) * 86_400.0),
            Self::Forever => None,
        }
    }
}

/// A number of days from 1, or `never`; `None`: neither.
pub(crate) fn keep(text: &str) -> Option<Keep> {
    if text.eq_ignore_ascii_case("never") {
        return Some(Keep::Forever);
    }
    text.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days)).map(Keep::Days)
}

/// A hundred years.
const MOST_DAYS: u16 = 36_500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_or_never_are_understood() {
        assert_eq!(keep("1"), Some(Keep::Days(1)));
        assert_eq!(keep("36500"), Some(Keep::Days(36_500)));
        assert_eq!(keep("Never"), Some(Keep::Forever));
        for wrong in ["0", "-1", "soon", "36501", "1.5", "", "70000", "1 day"] {
            assert_eq!(keep(wrong), None, "{wrong:?}");
        }
    }
}
