//! The due times of a cron expression in a time zone.
//!
//! What a change of daylight saving time means depends on the hours of the expression:
//! - every hour: each moment whose local time matches is a due time, so that each real hour has its own;
//! - certain hours: each local time that matches is due once. One that does not exist is due directly after the gap,
//!   and one that exists twice is due the first time.

use std::{fmt, sync::LazyLock};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Timestamp, Zoned,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use time::OffsetDateTime;

/// An expression must have a due time within this number of years. A leap day is never further away, but around a
/// century that has none.
pub const HORIZON_YEARS: i32 = 5;

/// The longest expression and the longest name of a time zone, in characters.
const LONGEST: usize = 200;

/// Local times that map to a moment which has passed: all minutes of the longest hours that a day repeats, and more.
const MOST_STEPS: usize = 2000;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Why there is no such timetable. The text names the field, its value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTimetable {
    /// The expression has a field for seconds, or one for years as well.
    #[error(
        "cron must have five fields (minute, hour, day of month, month, day of week), not the {fields} of {expression:?}: \
         the shortest interval is a minute, so there is no field for seconds"
    )]
    Seconds {
        /// The expression.
        expression: String,
        /// The number of its fields.
        fields: usize,
    },
    /// The expression cannot be read.
    #[error(
        "cron must be five fields (minute, hour, day of month, month, day of week), such as \"30 2 * * MON-FRI\", or \
         @hourly, @daily, @weekly, @monthly or @yearly, not {expression:?}: {reason}"
    )]
    Unreadable {
        /// The expression, shortened.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The expression has no due time.
    #[error("cron {expression:?} never fires: it has no due time within five years, until {until}")]
    Never {
        /// The expression.
        expression: String,
        /// The end of the search: a date.
        until: String,
    },
    /// There is no such time zone.
    #[error(
        "time_zone must be a name of the IANA time zone database, such as \"Europe/Berlin\" or \"UTC\", not {name:?}{meant}"
    )]
    Zone {
        /// The name, shortened.
        name: String,
        /// The nearest name: a part of a sentence, or nothing.
        meant: String,
    },
}

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    expression: String,
    zone: TimeZone,
    zone_name: String,
    /// Whether the expression allows every hour.
    is_every_hour: bool,
}

impl Timetable {
    /// Reads a cron expression of five fields, or a nickname such as `@daily`, and the name of a time zone in any
    /// case of its letters.
    ///
    /// # Errors
    /// One of them cannot be read. Whether it ever fires is another question: [`Timetable::check_fires`].
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, BadTimetable> {
        let (zone, zone_name) = zone(time_zone)?;
        let cron = cron(expression)?;
        let is_every_hour =
            (0..24).all(|hour| cron.pattern.hour_match(hour).is_ok_and(|matches| matches));
        let fields: Vec<&str> = expression.split_whitespace().collect();
        Ok(Self { cron, expression: fields.join(" "), zone, zone_name, is_every_hour })
    }

    /// The expression, with one blank between its fields.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The name of the time zone, as the database spells it.
    pub fn time_zone(&self) -> &str {
        &self.zone_name
    }

    /// Checks that there is a due time after `after`, and returns the first.
    ///
    /// # Errors
    /// There is none within [`HORIZON_YEARS`].
    pub fn check_fires(&self, after: OffsetDateTime) -> Result<OffsetDateTime, BadTimetable> {
        self.next_after(after).ok_or_else(|| {
            let year = after.year().saturating_add(HORIZON_YEARS);
            let until = after.date().replace_year(year).unwrap_or(after.date());
            BadTimetable::Never { expression: self.expression.clone(), until: until.to_string() }
        })
    }

    /// The first due time after `after`, a whole minute in UTC; `None` if there is none within [`HORIZON_YEARS`].
    pub fn next_after(&self, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let from = timestamp(after)?.to_zoned(self.zone.clone());
        let next = if self.is_every_hour {
            self.cron.find_next_occurrence(&from, false).ok()?.timestamp()
        } else {
            self.next_local(&from)?
        };
        let next = OffsetDateTime::from_unix_timestamp(next.as_second()).ok()?;
        (next.year() <= after.year().saturating_add(HORIZON_YEARS)).then_some(next)
    }

    /// The first moment after `from` that one of the expression's local times means. Later local times mean later
    /// moments, or the same, so the search begins at the local time of `from`.
    fn next_local(&self, from: &Zoned) -> Option<Timestamp> {
        let mut local = from.datetime();
        for _ in 0..MOST_STEPS {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            let moment = self.moment(local)?;
            if moment > from.timestamp() {
                return Some(moment);
            }
        }
        None
    }

    /// The moment that a local time means.
    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.earlier().ok()
            }
            AmbiguousOffset::Gap { .. } => {
                let before = ambiguous.earlier().ok()?;
                Some(self.zone.following(before).next()?.timestamp())
            }
        }
    }

    /// A due time with its time zone, for users: `2026-12-02 02:30 Europe/Berlin`.
    pub fn display(&self, due_at: OffsetDateTime) -> String {
        let local = self.local(due_at);
        let text =
            local.and_then(|local| jiff::fmt::strtime::format("%Y-%m-%d %H:%M", &local).ok());
        format!("{} {}", text.unwrap_or_default(), self.zone_name)
    }

    /// A due time in the time zone.
    pub(crate) fn local(&self, due_at: OffsetDateTime) -> Option<Zoned> {
        Some(timestamp(due_at)?.to_zoned(self.zone.clone()))
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.expression, self.zone_name)
    }
}

fn timestamp(time: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::new(time.unix_timestamp(), time.nanosecond().try_into().ok()?).ok()
}

fn cron(expression: &str) -> Result<Cron, BadTimetable> {
    let unreadable = |reason: String| {
        Err(BadTimetable::Unreadable { expression: shortened(expression), reason })
    };
    if expression.chars().count() > LONGEST {
        return unreadable(format!("it has more than {LONGEST} characters"));
    }
    let fields = expression.split_whitespace().count();
    let is_nickname = fields == 1 && expression.trim_start().starts_with('@');
    match fields {
        5 => {}
        1 if is_nickname => {}
        6 | 7 => return Err(BadTimetable::Seconds { expression: shortened(expression), fields }),
        1 => return unreadable("it has 1 field".to_owned()),
        _ => return unreadable(format!("it has {fields} fields")),
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(expression).or_else(|error| unreadable(error.to_string()))
}

fn zone(name: &str) -> Result<(TimeZone, String), BadTimetable> {
    let found = ZONES.get(name).ok().filter(|_| name.len() <= LONGEST);
    found
        .and_then(|zone| {
            let name = zone.iana_name()?.to_owned();
            Some((zone, name))
        })
        .ok_or_else(|| BadTimetable::Zone { name: shortened(name), meant: meant(name) })
}

/// `; did you mean "Europe/Berlin"?`, if a name is near.
fn meant(name: &str) -> String {
    let name = shortened(name).to_lowercase();
    let near = ZONES.available().map(|zone| {
        let known = zone.as_str();
        (strsim::jaro_winkler(&known.to_lowercase(), &name), known.to_owned())
    });
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest.filter(|(likeness, _)| *likeness > 0.9) {
        Some((_, known)) => format!("; did you mean {known:?}?"),
        None => String::new(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
