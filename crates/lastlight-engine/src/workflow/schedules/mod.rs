//! Schedules: jobs that are submitted at due times, exactly once each, whichever processes live.
//!
//! A due time is decided in one transaction, with the submission of its job; of several processes that see it, one
//! succeeds. The job's message is sent afterwards, or by the sweep if the process ends before. Everything that happens
//! takes the time as an argument, which is the database's.

mod decide;
mod declared;
mod orders;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use lastlight_api::{
    Timestamp,
    schedules::{RunDecision, Schedule, ScheduleRun},
};
use lastlight_schedule::{Timetable, fill_in};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{Controller, ControllerError, reconcile::ReconcileReport, submit::Prepared};
use crate::{
    failpoint::failpoint,
    model::Labels,
    store::{DatabaseError, NewRun, ScheduleClock, ScheduleRecord, ScheduleStep, Stepped},
};
use decide::{Rules, Step};

/// Maximum number of schedules that one look takes; the next look takes the rest.
const AT_ONCE: i64 = 1000;

/// Schedules that fire at the same time in one process.
const SIDE_BY_SIDE: usize = 4;

/// Steps of one schedule in one look: more than are ever made up for.
const MOST_STEPS: usize = 1100;

/// Runs of each schedule that are kept.
const RUNS_KEPT: i64 = 1000;

/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(10);

/// The host's clock, which drives its timer, may be ahead of the database's by this much.
const AHEAD: time::Duration = time::Duration::seconds(3);

/// For this time a due time whose job type this process does not know is left to others, which may be newer.
const LEFT_FOR: time::Duration = time::Duration::minutes(2);

/// The number of attempts to change a schedule that other processes change at the same time.
const MOST_ATTEMPTS: usize = 20;

impl Controller {
    /// Looks at what is due until the controller is dropped: every ten seconds, and at the moment at which the next
    /// schedule fires.
    pub fn fire_schedules_in_background(&self) {
        let shared = std::sync::Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut pause = Duration::ZERO;
            loop {
                tokio::time::sleep(pause).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                pause = match Self(shared).fire_due(false).await {
                    Ok(pause) => pause,
                    // The next look tries again. A database that is away is shown by health.
                    Err(error @ ControllerError::Database(DatabaseError::Statement(_))) => {
                        tracing::warn!(%error, "schedules could not be fired; the next look tries again");
                        LOOK
                    }
                    Err(error) => {
                        tracing::debug!(%error, "schedules could not be fired; the next look tries again");
                        LOOK
                    }
                };
            }
        });
    }

    /// Fires all schedules that are due, as the timer of each minute asks: also those of this minute, if the timer's
    /// clock is a little ahead of the database's.
    ///
    /// # Errors
    /// The database failed. What was done before stays done.
    #[tracing::instrument(name = "fire_schedules", skip_all)]
    pub async fn fire_schedules(&self) -> Result<(), ControllerError> {
        self.fire_due(true).await.map(|_| ())
    }

    /// Fires what is due, and says how long to wait for the next look.
    async fn fire_due(&self, waits: bool) -> Result<Duration, ControllerError> {
        let clock = self.0.database.schedules().clock().await?;
        let until_next = clock.next_fire_at.map(|next| next - clock.now);
        let mut now = clock.now;
        // Timers fire at the beginning of a minute, as most schedules do.
        if let Some(soon) = until_next.filter(|soon| waits && soon.is_positive() && *soon <= AHEAD)
        {
            tokio::time::sleep(soon.unsigned_abs()).await;
            now += soon;
        }
        let is_due = clock.next_fire_at.is_some_and(|next| next <= now);
        if !is_due && !clock.has_waiting {
            return Ok(until_look(clock));
        }
        self.fire_schedules_at(now).await?;
        Ok(until_look(self.0.database.schedules().clock().await?))
    }

    /// Fires all schedules that are due at `now`, the database's time.
    ///
    /// # Errors
    /// The database failed. What was done before stays done. A schedule that cannot be fired does not keep others
    /// from it.
    pub async fn fire_schedules_at(&self, now: OffsetDateTime) -> Result<(), ControllerError> {
        let due = self.0.database.schedules().due(now, AT_ONCE).await?;
        let fired = stream::iter(due)
            .map(async |name| {
                let fired = self.fire(&name, now).await;
                if let Err(error) = &fired {
                    tracing::warn!(schedule = name, %error, "a schedule could not be fired; the next look tries again");
                }
                fired
            })
            .buffer_unordered(SIDE_BY_SIDE);
        let mut fired = std::pin::pin!(fired);
        let mut failed = Ok(());
        while let Some(result) = fired.next().await {
            if let Err(error @ ControllerError::Database(_)) = result {
                failed = Err(error);
            }
        }
        failed
    }

    /// Deletes old runs of schedules, as part of the sweep.
    pub(super) async fn prune_schedule_runs(
        &self,
        report: &mut ReconcileReport,
    ) -> Result<(), ControllerError> {
        report.schedule_runs_pruned += self.0.database.schedules().prune(RUNS_KEPT).await?;
        Ok(())
    }

    /// Takes steps until nothing of the schedule is due.
    async fn fire(&self, name: &str, now: OffsetDateTime) -> Result<(), ControllerError> {
        for _ in 0..MOST_STEPS {
            let Some(schedule) = self.0.database.schedules().get(name).await? else {
                return Ok(());
            };
            if schedule.paused_at.is_some() || !self.step(&schedule, now).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Decides the next due time of a schedule. Returns whether there may be another.
    async fn step(
        &self,
        schedule: &ScheduleRecord,
        now: OffsetDateTime,
    ) -> Result<bool, ControllerError> {
        let timetable = timetable(schedule)?;
        let rules = rules(schedule, &timetable);
        let standing = self.0.database.schedules().standing(&schedule.name).await?;
        let Some(step) = rules.step(schedule.next_due_at, standing, now) else {
            return Ok(false);
        };
        let Step { decided, submits, advance } = step;
        let runs: Vec<NewRun<'_>> = decided
            .iter()
            .map(|decided| NewRun {
                due_at: decided.due_at,
                is_manual: false,
                decision: decided.decision,
                due_times: decided.due_times,
                reason: Some(&decided.reason),
            })
            .collect();
        let change = ScheduleStep {
            name: &schedule.name,
            version: schedule.version,
            advance,
            runs: &runs,
            submission: None,
        };
        let Some(due_at) = submits else {
            for run in &runs {
                tracing::info!(
                    schedule = schedule.name, due_at = %run.due_at, decision = %run.decision, due_times = run.due_times,
                    reason = run.reason, "no job was submitted"
                );
            }
            self.0.database.schedules().step(change).await?;
            return Ok(true);
        };
        let refused = match self.prepared(schedule, &timetable, due_at).await {
            Ok(prepared) => {
                let run = new_run(due_at, RunDecision::Submitted, None);
                return self.submit_due(change, run, prepared).await.map(|_| true);
            }
            Err(refused) => refused,
        };
        if is_transient(&refused) {
            return Err(refused);
        }
        let is_unknown = matches!(
            refused,
            ControllerError::UnknownJobType { .. } | ControllerError::WrongWorkflow { .. }
        );
        if is_unknown && now - rules.fires(due_at).fire_at < LEFT_FOR {
            tracing::warn!(schedule = schedule.name, %due_at, error = %refused, "a due time is left to other processes");
            return Ok(false);
        }
        tracing::error!(schedule = schedule.name, %due_at, error = %refused, "the job of a schedule was refused");
        let reason = refused.to_string();
        let mut runs = runs.clone();
        runs.push(new_run(due_at, RunDecision::Failed, Some(&reason)));
        self.0.database.schedules().step(ScheduleStep { runs: &runs, ..change }).await?;
        Ok(true)
    }

    /// Submits the job of a due time, unless another process changed the schedule.
    async fn submit_due<'a>(
        &self,
        change: ScheduleStep<'a>,
        run: NewRun<'a>,
        prepared: Prepared<'a>,
    ) -> Result<Stepped, ControllerError> {
        let grace = self.0.timing.send_grace.as_secs_f64();
        let submission = Some((run, prepared.job(), grace));
        let stepped =
            self.0.database.schedules().step(ScheduleStep { submission, ..change }).await?;
        if stepped != Stepped::Submitted {
            return Ok(stepped);
        }
        failpoint!("schedule.before_send");
        let mut stored = prepared.stored(true);
        let job_id = stored.submission.job_id;
        tracing::info!(schedule = change.name, due_at = %run.due_at, %job_id, "job submitted");
        // The job is stored: what was not done of it, the sweep does.
        if let Err(error) = self.start(&mut stored).await {
            tracing::warn!(%job_id, %error, "the job of a schedule could not be started; the sweep starts it");
        }
        Ok(stepped)
    }

    /// The submission of a due time, checked.
    async fn prepared(
        &self,
        schedule: &ScheduleRecord,
        timetable: &Timetable,
        due_at: OffsetDateTime,
    ) -> Result<Prepared<'_>, ControllerError> {
        let parameters = parameters(schedule)?;
        let filled = fill_in(&parameters, &schedule.name, Some((timetable, due_at)))
            .map_err(|error| ControllerError::BadSchedule(error.to_string()))?;
        let job_type = self.job_type(&schedule.job_type)?;
        let prepared = self.prepare(job_type, filled, labels(&schedule.name), None).await?;
        self.admit(&prepared).await?;
        Ok(prepared)
    }
}

/// The time until the next look. What is due already could not be fired: that waits for a while.
fn until_look(clock: ScheduleClock) -> Duration {
    let until = clock.next_fire_at.map(|next| next - clock.now);
    let until = until.filter(|until| until.is_positive());
    until.map_or(LOOK, |until| until.unsigned_abs().min(LOOK))
}

fn new_run(due_at: OffsetDateTime, decision: RunDecision, reason: Option<&str>) -> NewRun<'_> {
    NewRun { due_at, is_manual: false, decision, due_times: 1, reason }
}

/// Whether the same submission may be accepted later.
fn is_transient(error: &ControllerError) -> bool {
    error.is_transient() || matches!(error, ControllerError::NotChecked(_))
}

fn timetable(schedule: &ScheduleRecord) -> Result<Timetable, ControllerError> {
    Timetable::new(&schedule.cron, &schedule.time_zone)
        .map_err(|error| ControllerError::BadSchedule(error.to_string()))
}

fn rules<'a>(schedule: &'a ScheduleRecord, timetable: &'a Timetable) -> Rules<'a> {
    Rules {
        name: &schedule.name,
        timetable,
        jitter_seconds: schedule.jitter_seconds.unsigned_abs(),
        overlap: schedule.overlap,
        catch_up: schedule.catch_up,
        catch_up_limit: u16::try_from(schedule.catch_up_limit).unwrap_or(1),
    }
}

/// The labels of a schedule's jobs.
fn labels(schedule: &str) -> Labels {
    Labels::of([("schedule".to_owned(), schedule.to_owned())]).unwrap_or_default()
}

fn parameters(schedule: &ScheduleRecord) -> Result<Map<String, Value>, ControllerError> {
    serde_json::from_str(schedule.parameters().get()).map_err(|error| {
        ControllerError::BadSchedule(format!("parameters cannot be read: {error}"))
    })
}

/// A schedule for users.
pub(crate) fn view(
    schedule: ScheduleRecord,
    last_run: Option<ScheduleRun>,
) -> Result<Schedule, ControllerError> {
    let parameters = parameters(&schedule)?;
    let is_paused = schedule.paused_at.is_some();
    Ok(Schedule {
        name: schedule.name,
        job_type: schedule.job_type,
        parameters,
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        jitter_seconds: schedule.jitter_seconds.unsigned_abs(),
        overlap: schedule.overlap,
        catch_up: schedule.catch_up,
        catch_up_limit: u16::try_from(schedule.catch_up_limit).unwrap_or(1),
        declared_by: schedule.declared_by,
        paused_at: schedule.paused_at.map(Timestamp),
        next_due_at: schedule.next_due_at.filter(|_| !is_paused).map(Timestamp),
        last_run,
        created_at: Timestamp(schedule.created_at),
        updated_at: Timestamp(schedule.updated_at),
    })
}

/// The next five due times of a schedule, from the stored one on.
pub(crate) fn next_due_times(schedule: &ScheduleRecord, now: OffsetDateTime) -> Vec<Timestamp> {
    let Ok(timetable) = timetable(schedule) else { return Vec::new() };
    let first = match schedule.next_due_at.filter(|_| schedule.paused_at.is_none()) {
        Some(next) => Some(next),
        None => timetable.next_after(now),
    };
    let due = std::iter::successors(first, |due| timetable.next_after(*due));
    due.take(5).map(Timestamp).collect()
}
