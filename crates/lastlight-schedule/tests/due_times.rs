//! What users rely on of due times: daylight saving time both ways, leap days, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use lastlight_schedule::{BadTimetable, Timetable};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime, macros::datetime};

/// The due times in a span, as local times with their offsets.
fn due(cron: &str, zone: &str, from: OffsetDateTime, until: OffsetDateTime) -> Vec<OffsetDateTime> {
    let timetable = Timetable::new(cron, zone).unwrap();
    let mut due = Vec::new();
    let mut at = from - Duration::seconds(1);
    while let Some(next) = timetable.next_after(at).filter(|next| *next < until) {
        assert!(next > at, "{cron} in {zone}: {next} is not after {at}");
        due.push(next);
        at = next;
    }
    due
}

/// The times of day in UTC.
fn times(cron: &str, zone: &str, from: OffsetDateTime, until: OffsetDateTime) -> Vec<String> {
    let time =
        |due: &OffsetDateTime| format!("{}T{:02}:{:02}", due.date(), due.hour(), due.minute());
    due(cron, zone, from, until).iter().map(time).collect()
}

/// In Berlin, 02:00 to 03:00 does not exist on 2026-03-29: 01:00 UTC is 03:00.
#[test]
fn berlin_a_time_in_the_gap_is_due_after_it() {
    let (from, until) = (datetime!(2026-03-28 12:00 UTC), datetime!(2026-03-30 12:00 UTC));
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", from, until),
        ["2026-03-29T01:00", "2026-03-30T00:30"]
    );
    // Several times in the gap are due once.
    assert_eq!(
        times("*/20 2 * * *", "Europe/Berlin", from, until),
        ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:20", "2026-03-30T00:40"]
    );
    // So is one directly after the gap with one in it.
    assert_eq!(
        times("0 2,3 * * *", "Europe/Berlin", from, until),
        ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T01:00"]
    );
}

/// In Berlin, 02:00 to 03:00 exists twice on 2026-10-25: from 00:00 UTC, and from 01:00 UTC.
#[test]
fn berlin_a_time_that_exists_twice_is_due_once() {
    let (from, until) = (datetime!(2026-10-24 12:00 UTC), datetime!(2026-10-26 12:00 UTC));
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", from, until),
        ["2026-10-25T00:30", "2026-10-26T01:30"]
    );
    assert_eq!(
        times("0,30 2,3 * * *", "Europe/Berlin", from, until)[..4],
        ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T02:00", "2026-10-25T02:30"]
    );
    // A search that begins in the second 02:10 does not find 02:30 once more.
    let timetable = Timetable::new("30 2 * * *", "Europe/Berlin").unwrap();
    assert_eq!(
        timetable.next_after(datetime!(2026-10-25 01:10 UTC)),
        Some(datetime!(2026-10-26 01:30 UTC))
    );
}

#[test]
fn new_york_changes_both_ways() {
    // 02:00 to 03:00 does not exist on 2026-03-08, and 01:00 to 02:00 exists twice on 2026-11-01.
    let (from, until) = (datetime!(2026-03-07 12:00 UTC), datetime!(2026-03-09 12:00 UTC));
    assert_eq!(
        times("15 2 * * *", "America/New_York", from, until),
        ["2026-03-08T07:00", "2026-03-09T06:15"]
    );
    let (from, until) = (datetime!(2026-10-31 12:00 UTC), datetime!(2026-11-02 12:00 UTC));
    assert_eq!(
        times("15 1 * * *", "America/New_York", from, until),
        ["2026-11-01T05:15", "2026-11-02T06:15"]
    );
}

/// On Lord Howe, clocks change by half an hour: 02:00 to 02:30 does not exist on 2026-10-04, and 01:30 to 02:00 exists
/// twice on 2026-04-05.
#[test]
fn lord_howe_changes_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    let (from, until) = (datetime!(2026-10-03 12:00 UTC), datetime!(2026-10-04 12:00 UTC));
    assert_eq!(times("15 2 * * *", zone, from, until), ["2026-10-03T15:30"]);
    assert_eq!(times("45 2 * * *", zone, from, until), ["2026-10-03T15:45"]);
    let (from, until) = (datetime!(2026-04-04 12:00 UTC), datetime!(2026-04-05 12:00 UTC));
    assert_eq!(times("45 1 * * *", zone, from, until), ["2026-04-04T14:45"]);
    // Every hour, at the local minute: the one that exists twice is due twice.
    assert_eq!(
        times("45 * * * *", zone, datetime!(2026-04-04 14:00 UTC), datetime!(2026-04-04 17:00 UTC)),
        ["2026-04-04T14:45", "2026-04-04T15:15", "2026-04-04T16:15"]
    );
}

#[test]
fn every_real_hour_has_its_due_times() {
    for zone in ["Europe/Berlin", "America/New_York", "UTC"] {
        for (from, until) in [
            (datetime!(2026-03-07 00:00 UTC), datetime!(2026-03-31 00:00 UTC)),
            (datetime!(2026-10-24 00:00 UTC), datetime!(2026-11-03 00:00 UTC)),
        ] {
            for (cron, minutes) in
                [("0 * * * *", 60), ("@hourly", 60), ("*/15 * * * *", 15), ("* * * * *", 1)]
            {
                let due = due(cron, zone, from, until);
                let span = (until - from).whole_minutes() / minutes;
                assert_eq!(due.len() as i64, span, "{cron} in {zone}");
                assert!(due.windows(2).all(|pair| pair[1] - pair[0] == Duration::minutes(minutes)));
            }
        }
    }
    // Minutes that divide the half hour of Lord Howe, too.
    for from in [datetime!(2026-10-03 12:00 UTC), datetime!(2026-04-04 12:00 UTC)] {
        let quarters = due("*/15 * * * *", "Australia/Lord_Howe", from, from + Duration::hours(6));
        assert_eq!(quarters.len(), 24);
    }
}

#[test]
fn leap_days_fire_and_february_30_never_does() {
    let now = datetime!(2026-12-01 12:00 UTC);
    let leap = Timetable::new("0 0 29 2 *", "UTC").unwrap();
    assert_eq!(leap.check_fires(now).unwrap(), datetime!(2028-02-29 00:00 UTC));
    for cron in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"] {
        let never = Timetable::new(cron, "Europe/Berlin").unwrap().check_fires(now).unwrap_err();
        assert_eq!(
            never.to_string(),
            format!(
                "cron {cron:?} never fires: it has no due time within five years, until 2031-12-01"
            )
        );
    }
}

#[test]
fn seconds_are_refused() {
    for cron in ["* * * * * *", "*/10 * * * * *", "0 0 3 * * * 2026"] {
        let error = Timetable::new(cron, "UTC").unwrap_err();
        assert!(matches!(error, BadTimetable::Seconds { .. }), "{error}");
        assert!(error.to_string().contains("the shortest interval is a minute"), "{error}");
    }
}

#[test]
fn unreadable_expressions_are_refused() {
    for cron in [
        "",
        "  ",
        "every day",
        "60 * * * *",
        "* 24 * * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * MOO",
        "5-1 * * * *",
        "*/0 * * * *",
        "@sometimes",
        "@every 5m",
        "a b c d e",
        "1 2 3",
    ] {
        let error = Timetable::new(cron, "UTC").unwrap_err();
        assert!(error.to_string().starts_with("cron must be five fields"), "{cron}: {error}");
    }
}

#[test]
fn unknown_time_zones_are_refused() {
    let error = Timetable::new("* * * * *", "Europe/Berlim").unwrap_err();
    assert_eq!(
        error.to_string(),
        "time_zone must be a name of the IANA time zone database, such as \"Europe/Berlin\" or \"UTC\", not \
         \"Europe/Berlim\"; did you mean \"Europe/Berlin\"?"
    );
    for zone in ["", "Mars/Olympus", "UTC+2", "../etc/passwd", "CET-1CEST"] {
        assert!(Timetable::new("* * * * *", zone).is_err(), "{zone}");
    }
    let spelt = Timetable::new("* * * * *", "europe/berlin").unwrap();
    assert_eq!(spelt.time_zone(), "Europe/Berlin");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is sent is read or refused.
    #[test]
    fn any_text_is_read_or_refused(cron in "\\PC{0,30}", zone in "\\PC{0,20}") {
        let _ = Timetable::new(&cron, &zone);
    }

    #[test]
    fn near_expressions_are_read_or_refused(
        cron in "[0-9*,/#LW?@+-]{1,6}( [0-9*,/#LWA-Z?+-]{1,6}){4}",
        seconds in 0i64..4_000_000_000,
    ) {
        let after = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let timetable = Timetable::new(&cron, "America/St_Johns");
        if let Some(next) = timetable.ok().and_then(|timetable| timetable.next_after(after)) {
            prop_assert!(next > after && next.second() == 0);
        }
    }
}
