//! What users order: to make or replace a schedule, to delete, pause or resume it, and to run it now.

use lastlight_api::{
    Timestamp,
    schedules::{
        CATCH_UP_LIMIT, CatchUp, LONGEST_JITTER, MOST_CAUGHT_UP, Overlap, RunDecision,
        ScheduleDeleted, SchedulePause, ScheduleRequest, ScheduleRun, ScheduleSet, ScheduleStarted,
        is_schedule_name,
    },
};
use lastlight_schedule::{Timetable, depends_on_due_time, fill_in};
use serde_json::Value;
use time::OffsetDateTime;

use super::{MOST_ATTEMPTS, decide::Rules, next_due_times, rules, timetable, view};
use crate::{
    model::Labels,
    store::{NewRun, NewSchedule, NextDue, ScheduleRecord, ScheduleStep, Stepped},
    workflow::{Controller, ControllerError},
};

/// A valid request.
pub(super) struct Checked {
    pub(super) timetable: Timetable,
    pub(super) next: NextDue,
    jitter_seconds: u32,
    overlap: Overlap,
    catch_up: CatchUp,
    catch_up_limit: u16,
}

/// Checks a request without its job: `now` is the database's time.
pub(super) fn checked(
    request: &ScheduleRequest,
    now: OffsetDateTime,
) -> Result<Checked, ControllerError> {
    let bad = |problem: String| Err(ControllerError::BadSchedule(problem));
    if !is_schedule_name(&request.name) {
        let name: String = request.name.chars().take(80).collect();
        return bad(format!(
            "name must be 1 to 120 letters, digits, _, - and ., which begin with a letter or _, not {name:?}"
        ));
    }
    let jitter_seconds = request.jitter_seconds.unwrap_or(0);
    if jitter_seconds > LONGEST_JITTER {
        return bad(format!(
            "jitter_seconds must be a whole number from 0 to {LONGEST_JITTER}, not {jitter_seconds}"
        ));
    }
    let catch_up_limit = request.catch_up_limit.unwrap_or(CATCH_UP_LIMIT);
    if !(1..=MOST_CAUGHT_UP).contains(&catch_up_limit) {
        return bad(format!(
            "catch_up_limit must be a whole number from 1 to {MOST_CAUGHT_UP}, not {catch_up_limit}"
        ));
    }
    let zone = request.time_zone.as_deref().unwrap_or("UTC");
    let timetable = Timetable::new(&request.cron, zone)
        .map_err(|error| ControllerError::BadSchedule(error.to_string()))?;
    let due_at = timetable
        .check_fires(now)
        .map_err(|error| ControllerError::BadSchedule(error.to_string()))?;
    let (overlap, catch_up) =
        (request.overlap.unwrap_or(Overlap::Skip), request.catch_up.unwrap_or(CatchUp::Last));
    let rules = Rules {
        name: &request.name,
        timetable: &timetable,
        jitter_seconds,
        overlap,
        catch_up,
        catch_up_limit,
    };
    let next = rules.fires(due_at);
    Ok(Checked { next, timetable, jitter_seconds, overlap, catch_up, catch_up_limit })
}

impl Controller {
    /// Makes a schedule, or replaces the one of this name, which keeps its history and its pause.
    ///
    /// # Errors
    /// The request or the submission of its next due time is not valid, the schedule is declared in a file, or the
    /// database failed.
    pub async fn set_schedule(
        &self,
        request: &ScheduleRequest,
    ) -> Result<ScheduleSet, ControllerError> {
        let now = self.0.database.schedules().clock().await?.now;
        self.set_schedule_at(request, now).await
    }

    /// As [`Controller::set_schedule`], at the time `now` of the database.
    ///
    /// # Errors
    /// As for [`Controller::set_schedule`].
    pub async fn set_schedule_at(
        &self,
        request: &ScheduleRequest,
        now: OffsetDateTime,
    ) -> Result<ScheduleSet, ControllerError> {
        let checked = checked(request, now)?;
        let warnings = self.try_out(request, &checked).await?;
        let Some(is_new) = self.write(request, &checked, None).await? else {
            return Err(self.declared_in_file(&request.name).await?);
        };
        let schedule = self.schedule(&request.name).await?;
        let (what, name) = (if is_new { "made" } else { "replaced" }, &request.name);
        let timetable = &checked.timetable;
        tracing::info!(schedule = name, %timetable, "a schedule was {what}");
        let message = match (schedule.paused_at, schedule.next_due_at) {
            (None, Some(next)) => {
                format!(
                    "Schedule {name} was {what}; its next due time is {}.",
                    local(timetable, next)
                )
            }
            _ => format!("Schedule {name} was {what}; it is paused."),
        };
        Ok(ScheduleSet {
            next_due_times: next_due_times(&schedule, now),
            schedule: view(schedule, None)?,
            is_new,
            warnings,
            message,
        })
    }

    /// Checks the submission of the next due time, and returns what is probably not meant.
    pub(super) async fn try_out(
        &self,
        request: &ScheduleRequest,
        checked: &Checked,
    ) -> Result<Vec<String>, ControllerError> {
        let job_type = self.job_type(&request.job_type)?;
        let due = Some((&checked.timetable, checked.next.due_at));
        let filled = fill_in(&request.parameters, &request.name, due)
            .map_err(|error| ControllerError::BadSchedule(error.to_string()))?;
        let prepared = self.prepare(job_type, filled, Labels::default(), None).await?;
        let mut warnings = prepared.warnings.clone();
        if prepared.runs_again {
            warnings.push(
                "rerun has no effect: a due time whose job exists submits nothing".to_owned(),
            );
        }
        if !depends_on_due_time(&request.parameters) {
            warnings.push(
                "no parameter depends on the due time, so each due time names the same job, which runs once: put a \
                 placeholder such as {{ due_at }} or {{ due_date }} into a text"
                    .to_owned(),
            );
        }
        // The files of a later due time may come later.
        if let Err(refused) = self.admit(&prepared).await {
            warnings.push(format!("now, the job of the next due time would be refused: {refused}"));
        }
        Ok(warnings)
    }

    /// Stores a schedule; whether it is new, and `None` if one of this name is declared elsewhere.
    pub(super) async fn write(
        &self,
        request: &ScheduleRequest,
        checked: &Checked,
        declared_by: Option<&str>,
    ) -> Result<Option<bool>, ControllerError> {
        let parameters = Value::Object(request.parameters.clone()).to_string();
        let schedule = NewSchedule {
            name: &request.name,
            job_type: &request.job_type,
            parameters: &parameters,
            cron: checked.timetable.expression(),
            time_zone: checked.timetable.time_zone(),
            jitter_seconds: checked.jitter_seconds,
            overlap: checked.overlap,
            catch_up: checked.catch_up,
            catch_up_limit: checked.catch_up_limit,
            declared_by,
            next: Some(checked.next),
        };
        Ok(self.0.database.schedules().set(schedule).await?)
    }

    /// Deletes a schedule with its history. Its jobs stay.
    ///
    /// # Errors
    /// There is no such schedule, it is declared in a file, or the database failed.
    pub async fn delete_schedule(&self, name: &str) -> Result<ScheduleDeleted, ControllerError> {
        if !self.0.database.schedules().delete(name).await? {
            return Err(self.declared_in_file(name).await?);
        }
        tracing::info!(schedule = name, "a schedule was deleted");
        Ok(ScheduleDeleted {
            name: name.to_owned(),
            message: format!("Schedule {name} was deleted with its history. Its jobs stay."),
        })
    }

    /// Pauses a schedule: nothing is submitted, and due times that pass are not made up for.
    ///
    /// # Errors
    /// There is no such schedule, or the database failed.
    pub async fn pause_schedule(&self, name: &str) -> Result<SchedulePause, ControllerError> {
        self.0.database.schedules().pause(name).await?;
        let schedule = self.schedule(name).await?;
        Ok(SchedulePause {
            paused_at: schedule.paused_at.map(Timestamp),
            next_due_at: None,
            message: format!(
                "Schedule {name} is paused. Jobs that it submitted go on; due times that pass are not made up for."
            ),
            name: schedule.name,
        })
    }

    /// Resumes a schedule: it goes on at its next due time.
    ///
    /// # Errors
    /// There is no such schedule, or the database failed.
    pub async fn resume_schedule(&self, name: &str) -> Result<SchedulePause, ControllerError> {
        let now = self.0.database.schedules().clock().await?.now;
        self.resume_schedule_at(name, now).await
    }

    /// As [`Controller::resume_schedule`], at the time `now` of the database.
    ///
    /// # Errors
    /// As for [`Controller::resume_schedule`].
    pub async fn resume_schedule_at(
        &self,
        name: &str,
        now: OffsetDateTime,
    ) -> Result<SchedulePause, ControllerError> {
        for _ in 0..MOST_ATTEMPTS {
            let schedule = self.schedule(name).await?;
            let timetable = timetable(&schedule)?;
            if schedule.paused_at.is_none() {
                let next = schedule.next_due_at.map(|next| local(&timetable, next));
                let message = format!(
                    "Schedule {name} is not paused; its next due time is {}.",
                    next.unwrap_or_else(|| "unknown".to_owned())
                );
                let next_due_at = schedule.next_due_at.map(Timestamp);
                return Ok(SchedulePause {
                    name: schedule.name,
                    paused_at: None,
                    next_due_at,
                    message,
                });
            }
            let next = rules(&schedule, &timetable).next_after(now);
            if self.0.database.schedules().resume(name, schedule.version, next).await? {
                let due = next.map(|next| local(&timetable, next.due_at));
                return Ok(SchedulePause {
                    name: name.to_owned(),
                    paused_at: None,
                    next_due_at: next.map(|next| Timestamp(next.due_at)),
                    message: format!(
                        "Schedule {name} goes on; its next due time is {}.",
                        due.unwrap_or_else(|| "more than five years away".to_owned())
                    ),
                });
            }
        }
        Err(ControllerError::ScheduleChangedMeanwhile { name: name.to_owned() })
    }

    /// Submits the job of a schedule now, whether it is paused and whether an earlier run goes on. The moment counts as
    /// the due time.
    ///
    /// # Errors
    /// There is no such schedule, the submission is refused, or the database failed.
    pub async fn run_schedule(&self, name: &str) -> Result<ScheduleStarted, ControllerError> {
        for _ in 0..MOST_ATTEMPTS {
            let now = self.0.database.schedules().clock().await?.now;
            let schedule = self.schedule(name).await?;
            let timetable = timetable(&schedule)?;
            let prepared = self.prepared(&schedule, &timetable, now).await?;
            let job_id = *prepared.job().job_id;
            let decision = RunDecision::Submitted;
            let run = NewRun { due_at: now, is_manual: true, decision, due_times: 1, reason: None };
            let change = ScheduleStep {
                name,
                version: schedule.version,
                advance: None,
                runs: &[],
                submission: None,
            };
            let (decision, message) = match self.submit_due(change, run, prepared).await? {
                Stepped::Submitted => (RunDecision::Submitted, "The job was submitted."),
                Stepped::Existed => (
                    RunDecision::Exists,
                    "The same job exists already, so nothing was submitted: no parameter depends on the due time, or \
                     only on a part of it that has had its job.",
                ),
                Stepped::ChangedMeanwhile | Stepped::Recorded => continue,
            };
            let run = ScheduleRun {
                due_at: Timestamp(now),
                is_manual: true,
                decision,
                due_times: 1,
                job_id: Some(job_id),
                job_status: None,
                reason: None,
                decided_at: Timestamp(now),
            };
            return Ok(ScheduleStarted { name: name.to_owned(), run, message: message.to_owned() });
        }
        Err(ControllerError::ScheduleChangedMeanwhile { name: name.to_owned() })
    }

    async fn schedule(&self, name: &str) -> Result<ScheduleRecord, ControllerError> {
        let schedule = self.0.database.schedules().get(name).await?;
        schedule.ok_or_else(|| ControllerError::UnknownSchedule { name: name.to_owned() })
    }

    /// Why a schedule cannot be replaced or deleted.
    async fn declared_in_file(&self, name: &str) -> Result<ControllerError, ControllerError> {
        let schedule = self.schedule(name).await?;
        Ok(match schedule.declared_by {
            Some(workflow) => ControllerError::DeclaredInFile { name: name.to_owned(), workflow },
            // It was declared until a moment ago.
            None => ControllerError::ScheduleChangedMeanwhile { name: name.to_owned() },
        })
    }
}

/// A due time with its time zone, for users.
fn local(timetable: &Timetable, due_at: OffsetDateTime) -> String {
    timetable.display(due_at)
}
