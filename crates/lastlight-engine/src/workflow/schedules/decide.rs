//! What becomes of the next due time of a schedule. Pure: knows neither the clock nor the database.

use std::collections::VecDeque;

use lastlight_api::schedules::{CatchUp, Overlap, RunDecision};
use lastlight_schedule::{Timetable, jitter};
use time::{Duration, OffsetDateTime};

use crate::store::{NextDue, ScheduleStanding};

/// A due time that fires later than this was missed, and counts as the schedule says of catching up.
const ON_TIME: Duration = Duration::minutes(5);

/// Due times that one step counts: those of two weeks, if there is one each minute.
const MOST_COUNTED: u64 = 20_000;

/// The rules of a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) name: &'a str,
    pub(super) timetable: &'a Timetable,
    pub(super) jitter_seconds: u32,
    pub(super) overlap: Overlap,
    pub(super) catch_up: CatchUp,
    pub(super) catch_up_limit: u16,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What became of due times without a job.
    pub(super) decided: Vec<Decided>,
    /// The due time whose job is to be submitted.
    pub(super) submits: Option<OffsetDateTime>,
    /// Where the schedule goes on; the inner `None`: nowhere; the outer: its next due time does not change.
    pub(super) advance: Option<Option<NextDue>>,
}

/// What became of a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) due_at: OffsetDateTime,
    pub(super) decision: RunDecision,
    /// The due times that this stands for.
    pub(super) due_times: u64,
    pub(super) reason: String,
}

impl Rules<'_> {
    /// A due time with the moment at which it fires.
    pub(super) fn fires(&self, due_at: OffsetDateTime) -> NextDue {
        NextDue { due_at, fire_at: due_at + jitter(self.name, due_at, self.jitter_seconds) }
    }

    /// The first due time after `after`.
    pub(super) fn next_after(&self, after: OffsetDateTime) -> Option<NextDue> {
        self.timetable.next_after(after).map(|due_at| self.fires(due_at))
    }

    /// What to do next; `None`: nothing is due. `next` is the schedule's next due time.
    pub(super) fn step(
        &self,
        next: Option<OffsetDateTime>,
        standing: ScheduleStanding,
        now: OffsetDateTime,
    ) -> Option<Step> {
        if let Some(waiting) = standing.first_waiting.filter(|_| !standing.is_running) {
            return Some(Step { decided: Vec::new(), submits: Some(waiting), advance: None });
        }
        let passed = self.passed(next?, now);
        let newest = *passed.last.back()?;
        let is_on_time = now - self.fires(newest).fire_at <= ON_TIME;
        let caught_up = match self.catch_up {
            CatchUp::None => usize::from(is_on_time && passed.is_whole),
            CatchUp::Last => usize::from(passed.is_whole),
            CatchUp::All => usize::from(self.catch_up_limit),
        };
        let runs = passed.last.len().min(caught_up);
        let missed = passed.count - runs as u64;
        let due_at = passed.last.get(passed.last.len() - runs).copied();
        let mut step = Step { decided: Vec::new(), submits: None, advance: None };
        if missed > 0 {
            let kept = passed.last.len().checked_sub(runs + 1);
            let last_missed =
                kept.and_then(|place| passed.last.get(place)).or(passed.before.as_ref());
            step.decided.push(self.missed(last_missed.copied().unwrap_or(newest), missed, now));
        }
        match due_at {
            Some(due_at) if passed.is_whole => {
                step.advance = Some(self.next_after(due_at));
                self.run(due_at, standing, &mut step);
            }
            // The next step goes on with these.
            Some(due_at) => step.advance = Some(Some(self.fires(due_at))),
            None => step.advance = Some(self.next_after(newest)),
        }
        Some(step)
    }

    /// What becomes of a due time that is not missed.
    fn run(&self, due_at: OffsetDateTime, standing: ScheduleStanding, step: &mut Step) {
        let goes_on = standing.is_running || standing.waiting > 0;
        let limit = i64::from(self.catch_up_limit);
        let (decision, reason) = match self.overlap {
            Overlap::Queue if goes_on && standing.waiting < limit => (
                RunDecision::Waiting,
                "it waits until the job of an earlier run is over".to_owned(),
            ),
            Overlap::Queue if goes_on => (
                RunDecision::Skipped,
                format!("{} due times wait already, which is the catch_up_limit", standing.waiting),
            ),
            Overlap::Skip if goes_on => {
                (RunDecision::Skipped, "the job of an earlier run is not over".to_owned())
            }
            Overlap::Queue | Overlap::Skip | Overlap::Allow => {
                step.submits = Some(due_at);
                return;
            }
        };
        step.decided.push(Decided { due_at, decision, due_times: 1, reason });
    }

    fn missed(&self, due_at: OffsetDateTime, due_times: u64, now: OffsetDateTime) -> Decided {
        let late = (now - due_at).whole_minutes();
        let what = if due_times == 1 { "it" } else { "the last of them" };
        let reason = format!(
            "no process submitted it in time: {what} was due {late} min before (catch_up {})",
            self.catch_up
        );
        Decided { due_at, decision: RunDecision::Missed, due_times, reason }
    }

    /// The due times from `next` on that fire by `now`.
    fn passed(&self, next: OffsetDateTime, now: OffsetDateTime) -> Passed {
        let keep = usize::from(self.catch_up_limit).max(1);
        let mut passed = Passed { count: 0, last: VecDeque::new(), before: None, is_whole: true };
        let mut due = Some(self.fires(next));
        while let Some(passing) = due.filter(|due| due.fire_at <= now) {
            if passed.count == MOST_COUNTED {
                passed.is_whole = false;
                break;
            }
            passed.count += 1;
            passed.last.push_back(passing.due_at);
            if passed.last.len() > keep {
                passed.before = passed.last.pop_front();
            }
            due = self.next_after(passing.due_at);
        }
        passed
    }
}

/// Due times that passed.
struct Passed {
    /// How many.
    count: u64,
    /// The last ones, up to the limit of catching up.
    last: VecDeque<OffsetDateTime>,
    /// The one before these.
    before: Option<OffsetDateTime>,
    /// Whether these are all: if not, more follow.
    is_whole: bool,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const IDLE: ScheduleStanding =
        ScheduleStanding { is_running: false, first_waiting: None, waiting: 0 };
    const RUNS: ScheduleStanding = ScheduleStanding { is_running: true, ..IDLE };
    const NOON: OffsetDateTime = datetime!(2026-12-01 12:00 UTC);

    fn hourly() -> Timetable {
        Timetable::new("0 * * * *", "UTC").unwrap()
    }

    fn rules(timetable: &Timetable, overlap: Overlap, catch_up: CatchUp) -> Rules<'_> {
        Rules { name: "s", timetable, jitter_seconds: 0, overlap, catch_up, catch_up_limit: 3 }
    }

    /// All steps from `next` on, as words, until nothing is due.
    fn steps(
        rules: Rules<'_>,
        mut next: OffsetDateTime,
        standing: ScheduleStanding,
        now: OffsetDateTime,
    ) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(step) = rules.step(Some(next), standing, now) {
            for decided in step.decided {
                let Decided { due_at, decision, due_times, .. } = decided;
                words.push(format!("{decision} {:02}:00 x{due_times}", due_at.hour()));
            }
            words.extend(step.submits.map(|due| format!("submits {:02}:00", due.hour())));
            let advance = step.advance.unwrap().unwrap();
            assert!(advance.due_at > next);
            next = advance.due_at;
        }
        assert!(next > now);
        words
    }

    #[test]
    fn nothing_happens_before_a_due_time_and_its_jitter() {
        let timetable = hourly();
        let mut rules = rules(&timetable, Overlap::Skip, CatchUp::Last);
        assert_eq!(rules.step(Some(NOON), IDLE, NOON - Duration::SECOND), None);
        assert_eq!(rules.step(None, IDLE, NOON), None);
        rules.jitter_seconds = 3600;
        let fires = rules.fires(NOON).fire_at;
        assert!(fires > NOON && fires <= NOON + Duration::HOUR);
        assert_eq!(rules.step(Some(NOON), IDLE, fires - Duration::SECOND), None);
        assert_eq!(rules.step(Some(NOON), IDLE, fires).unwrap().submits, Some(NOON));
    }

    #[test]
    fn due_times_that_passed_count_as_the_schedule_says() {
        let timetable = hourly();
        let from = NOON - Duration::hours(5);
        let of =
            |catch_up, now| steps(rules(&timetable, Overlap::Allow, catch_up), from, IDLE, now);
        let on_time = NOON + Duration::minutes(4);
        let late = NOON + Duration::minutes(6);
        assert_eq!(of(CatchUp::None, on_time), ["missed 11:00 x5", "submits 12:00"]);
        assert_eq!(of(CatchUp::None, late), ["missed 12:00 x6"]);
        assert_eq!(of(CatchUp::Last, late), ["missed 11:00 x5", "submits 12:00"]);
        assert_eq!(
            of(CatchUp::All, late),
            ["missed 09:00 x3", "submits 10:00", "submits 11:00", "submits 12:00"]
        );
    }

    #[test]
    fn a_year_of_minutes_is_counted_in_steps() {
        let timetable = Timetable::new("* * * * *", "Europe/Berlin").unwrap();
        let from = NOON - Duration::days(60);
        for (catch_up, submitted) in [(CatchUp::None, 1), (CatchUp::Last, 1), (CatchUp::All, 3)] {
            let words = steps(rules(&timetable, Overlap::Allow, catch_up), from, IDLE, NOON);
            let submits = words.iter().filter(|word| word.starts_with("submits")).count();
            let missed: u64 = words
                .iter()
                .filter_map(|word| {
                    word.split_once('x').and_then(|(_, count)| count.parse::<u64>().ok())
                })
                .sum();
            assert_eq!(submits, submitted, "{words:?}");
            assert_eq!(missed + submits as u64, 60 * 24 * 60 + 1, "{words:?}");
            assert!(words.len() < 12, "{words:?}");
        }
    }

    #[test]
    fn a_run_that_goes_on_is_waited_for_skipped_or_ignored() {
        let timetable = hourly();
        let of = |overlap| steps(rules(&timetable, overlap, CatchUp::Last), NOON, RUNS, NOON);
        assert_eq!(of(Overlap::Skip), ["skipped 12:00 x1"]);
        assert_eq!(of(Overlap::Queue), ["waiting 12:00 x1"]);
        assert_eq!(of(Overlap::Allow), ["submits 12:00"]);
    }

    #[test]
    fn due_times_wait_in_their_order_and_up_to_the_limit() {
        let timetable = hourly();
        let rules = rules(&timetable, Overlap::Queue, CatchUp::Last);
        let waits = |waiting, is_running| ScheduleStanding {
            is_running,
            first_waiting: Some(NOON - Duration::HOUR),
            waiting,
        };
        // The first that waits, and not the one that is due.
        let step = rules.step(Some(NOON), waits(2, false), NOON).unwrap();
        assert_eq!((step.submits, step.advance), (Some(NOON - Duration::HOUR), None));
        let step = rules.step(Some(NOON), waits(2, true), NOON).unwrap();
        assert_eq!(step.decided[0].decision, RunDecision::Waiting);
        let step = rules.step(Some(NOON), waits(3, true), NOON).unwrap();
        assert_eq!(step.decided[0].decision, RunDecision::Skipped);
        assert!(step.decided[0].reason.contains("3 due times wait already"));
    }
}
