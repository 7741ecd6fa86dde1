//! Schedules, and what became of their due times. What becomes of one is decided by the caller; it is recorded, with
//! the submission of its job, in one transaction that only one process succeeds with.

use lastlight_api::schedules::{CatchUp, Overlap, RunDecision, ScheduleRun};
use serde_json::value::RawValue;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

use crate::{
    failpoint::failpoint,
    model::{JobId, JobStatus, Timestamp},
    store::{
        connection::{Database, DatabaseError},
        jobs::{NewJob, insert_within},
        rows::{JsonText, without_nul},
    },
};

/// The schedules in a database.
#[derive(Debug, Clone, Copy)]
pub struct Schedules<'a>(&'a Database);

/// What a process needs to know of all schedules to wait for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleClock {
    /// The database's time.
    pub now: OffsetDateTime,
    /// When the next schedule fires.
    pub next_fire_at: Option<OffsetDateTime>,
    /// Whether a due time waits for a job.
    pub has_waiting: bool,
}

/// A schedule as stored.
#[derive(Debug, Clone)]
pub struct ScheduleRecord {
    pub name: String,
    /// The name of the job's type.
    pub job_type: String,
    /// The parameters, with their placeholders.
    pub parameters: JsonText,
    pub cron: String,
    pub time_zone: String,
    pub jitter_seconds: i32,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub catch_up_limit: i32,
    /// The workflow whose file declares it.
    pub declared_by: Option<String>,
    pub paused_at: Option<OffsetDateTime>,
    pub next_due_at: Option<OffsetDateTime>,
    /// Changes with every change of the row.
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A schedule that is made or replaced.
#[derive(Debug, Clone, Copy)]
pub struct NewSchedule<'a> {
    pub name: &'a str,
    pub job_type: &'a str,
    /// The parameters, as JSON.
    pub parameters: &'a str,
    pub cron: &'a str,
    pub time_zone: &'a str,
    pub jitter_seconds: u32,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub catch_up_limit: u16,
    /// The workflow whose file declares it.
    pub declared_by: Option<&'a str>,
    pub next: Option<NextDue>,
}

/// A due time that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextDue {
    pub due_at: OffsetDateTime,
    /// The due time and its jitter.
    pub fire_at: OffsetDateTime,
}

/// What goes on of a schedule's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleStanding {
    /// Whether a job of an earlier run is not over.
    pub is_running: bool,
    /// The first due time that waits.
    pub first_waiting: Option<OffsetDateTime>,
    /// How many due times wait.
    pub waiting: i64,
}

/// What became of a due time.
#[derive(Debug, Clone, Copy)]
pub struct NewRun<'a> {
    pub due_at: OffsetDateTime,
    /// Whether a user ordered it.
    pub is_manual: bool,
    pub decision: RunDecision,
    /// The due times that it stands for.
    pub due_times: u64,
    pub reason: Option<&'a str>,
}

/// A change of a schedule by one process.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleStep<'a> {
    pub name: &'a str,
    /// The version of the schedule that the change was decided for.
    pub version: i64,
    /// Where the schedule goes on; `None`: its due times do not change.
    pub advance: Option<Option<NextDue>>,
    /// What became of due times.
    pub runs: &'a [NewRun<'a>],
    /// A due time whose job is submitted, and how long only the caller may send its message, in seconds.
    pub submission: Option<(NewRun<'a>, NewJob<'a>, f64)>,
}

/// What became of a [`ScheduleStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The schedule was changed by another process: nothing was written.
    ChangedMeanwhile,
    /// It was written. No job was submitted, since there was none to submit, or the due time was decided before.
    Recorded,
    /// It was written, and the job was submitted.
    Submitted,
    /// It was written; the job existed before.
    Existed,
}

impl Database {
    /// The schedules in a database.
    pub fn schedules(&self) -> Schedules<'_> {
        Schedules(self)
    }
}

impl Schedules<'_> {
    /// The database's time, and when the next schedule fires.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn clock(self) -> Result<ScheduleClock, DatabaseError> {
        let clock = sqlx::query_file_as!(ScheduleClock, "src/store/sql/schedule_clock.sql");
        Ok(clock.fetch_one(self.0.pool().await?).await?)
    }

    /// Up to `limit` schedules that fire by `now`, or of which a due time waits.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn due(self, now: OffsetDateTime, limit: i64) -> Result<Vec<String>, DatabaseError> {
        let names = sqlx::query_file_scalar!("src/store/sql/due_schedules.sql", now, limit);
        Ok(names.fetch_all(self.0.pool().await?).await?)
    }

    /// The schedule with this name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn get(self, name: &str) -> Result<Option<ScheduleRecord>, DatabaseError> {
        let found = sqlx::query_file_as!(ScheduleRecord, "src/store/sql/get_schedule.sql", name);
        Ok(found.fetch_optional(self.0.pool().await?).await?)
    }

    /// Up to `limit` schedules, by name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn list(self, limit: i64) -> Result<Vec<ScheduleRecord>, DatabaseError> {
        let all = sqlx::query_file_as!(ScheduleRecord, "src/store/sql/list_schedules.sql", limit);
        Ok(all.fetch_all(self.0.pool().await?).await?)
    }

    /// The newest run of each of these schedules, with the schedule's name.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn last_runs(
        self,
        names: &[&str],
    ) -> Result<Vec<(String, ScheduleRun)>, DatabaseError> {
        let rows =
            sqlx::query_file!("src/store/sql/last_schedule_runs.sql", names as _).map(|row| {
                let run = ScheduleRun {
                    due_at: Timestamp(row.due_at),
                    is_manual: row.is_manual,
                    decision: row.decision,
                    due_times: row.due_times.unsigned_abs(),
                    job_id: row.job_id,
                    job_status: row.job_status,
                    reason: row.reason,
                    decided_at: Timestamp(row.decided_at),
                };
                (row.name, run)
            });
        Ok(rows.fetch_all(self.0.pool().await?).await?)
    }

    /// The newest `limit` runs of a schedule, the newest first.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn history(self, name: &str, limit: i64) -> Result<Vec<ScheduleRun>, DatabaseError> {
        let rows =
            sqlx::query_file!("src/store/sql/schedule_history.sql", name, limit).map(|row| {
                ScheduleRun {
                    due_at: Timestamp(row.due_at),
                    is_manual: row.is_manual,
                    decision: row.decision,
                    due_times: row.due_times.unsigned_abs(),
                    job_id: row.job_id,
                    job_status: row.job_status,
                    reason: row.reason,
                    decided_at: Timestamp(row.decided_at),
                }
            });
        Ok(rows.fetch_all(self.0.pool().await?).await?)
    }

    /// What goes on of a schedule's runs.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn standing(self, name: &str) -> Result<ScheduleStanding, DatabaseError> {
        let standing =
            sqlx::query_file_as!(ScheduleStanding, "src/store/sql/schedule_standing.sql", name);
        Ok(standing.fetch_one(self.0.pool().await?).await?)
    }

    /// Makes or replaces a schedule; whether it is new. `None`: nothing was written, since one of this name is
    /// declared elsewhere.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn set(self, schedule: NewSchedule<'_>) -> Result<Option<bool>, DatabaseError> {
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/set_schedule.sql",
            schedule.name,
            schedule.job_type,
            schedule.parameters as _,
            schedule.cron,
            schedule.time_zone,
            schedule.jitter_seconds.cast_signed(),
            schedule.overlap.as_str(),
            schedule.catch_up.as_str(),
            i32::from(schedule.catch_up_limit),
            schedule.declared_by,
            schedule.next.map(|next| next.due_at),
            schedule.next.map(|next| next.fire_at),
        )
        .fetch_optional(self.0.pool().await?)
        .await?)
    }

    /// Deletes a schedule that was made by a request; whether there was one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn delete(self, name: &str) -> Result<bool, DatabaseError> {
        let deleted = sqlx::query_file!("src/store/sql/delete_schedule.sql", name)
            .execute(self.0.pool().await?)
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Deletes the schedules that files declared and that are not in `declared` any more, but for those of workflows
    /// in `unreadable`. Returns their names.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn delete_undeclared(
        self,
        declared: &[String],
        unreadable: &[String],
    ) -> Result<Vec<String>, DatabaseError> {
        Ok(sqlx::query_file_scalar!(
            "src/store/sql/delete_undeclared_schedules.sql",
            declared,
            unreadable
        )
        .fetch_all(self.0.pool().await?)
        .await?)
    }

    /// Pauses a schedule; whether there is one.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn pause(self, name: &str) -> Result<bool, DatabaseError> {
        let paused = sqlx::query_file!("src/store/sql/pause_schedule.sql", name)
            .execute(self.0.pool().await?)
            .await?;
        Ok(paused.rows_affected() > 0)
    }

    /// Resumes a schedule that is paused and has this version; whether it was.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn resume(
        self,
        name: &str,
        version: i64,
        next: Option<NextDue>,
    ) -> Result<bool, DatabaseError> {
        let resumed = sqlx::query_file!(
            "src/store/sql/resume_schedule.sql",
            name,
            version,
            next.map(|next| next.due_at),
            next.map(|next| next.fire_at),
        )
        .execute(self.0.pool().await?)
        .await?;
        Ok(resumed.rows_affected() > 0)
    }

    /// Writes what became of due times, moves the schedule on and submits a job, all or nothing. Of several processes
    /// that decided for the same version, one succeeds.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn step(self, step: ScheduleStep<'_>) -> Result<Stepped, DatabaseError> {
        failpoint!("schedule.before_commit", Err(DatabaseError::lost()));
        let mut transaction = self.0.begin().await?;
        let holds = match step.advance {
            Some(next) => sqlx::query_file!(
                "src/store/sql/advance_schedule.sql",
                step.name,
                step.version,
                next.map(|next| next.due_at),
                next.map(|next| next.fire_at),
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected(),
            None => sqlx::query_file!("src/store/sql/touch_schedule.sql", step.name, step.version)
                .execute(&mut *transaction)
                .await?
                .rows_affected(),
        };
        if holds == 0 {
            return Ok(Stepped::ChangedMeanwhile);
        }
        for run in step.runs {
            decide(&mut transaction, step.name, run, None).await?;
        }
        let mut stepped = Stepped::Recorded;
        if let Some((run, job, grace_seconds)) = step.submission
            // A due time that was decided before is not submitted again.
            && decide(&mut transaction, step.name, &run, Some(job.job_id)).await?
        {
            stepped = match insert_within(&mut transaction, job, grace_seconds).await? {
                true => Stepped::Submitted,
                false => {
                    existed(&mut transaction, step.name, &run).await?;
                    Stepped::Existed
                }
            };
        }
        failpoint!("schedule.within", Err(DatabaseError::lost()));
        transaction.commit().await?;
        failpoint!("schedule.after_commit", Err(DatabaseError::lost()));
        Ok(stepped)
    }

    /// Deletes all but the newest `kept` runs of each schedule.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn prune(self, kept: i64) -> Result<u64, DatabaseError> {
        let pruned = sqlx::query_file!("src/store/sql/prune_schedule_runs.sql", kept)
            .execute(self.0.pool().await?)
            .await?;
        Ok(pruned.rows_affected())
    }
}

impl ScheduleRecord {
    /// The parameters as JSON.
    pub fn parameters(&self) -> &RawValue {
        &self.parameters.0
    }
}

/// Records a run; `false`: it was decided before.
async fn decide(
    transaction: &mut Transaction<'_, Postgres>,
    schedule: &str,
    run: &NewRun<'_>,
    job_id: Option<&JobId>,
) -> Result<bool, DatabaseError> {
    let decided = sqlx::query_file!(
        "src/store/sql/decide_run.sql",
        schedule,
        run.due_at,
        run.is_manual,
        run.decision.as_str(),
        run.due_times.cast_signed(),
        job_id.map(JobId::as_str),
        run.reason.map(without_nul) as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(decided.rows_affected() > 0)
}

/// The job of a due time existed before, so nothing was submitted: the only place that decides what that means.
async fn existed(
    transaction: &mut Transaction<'_, Postgres>,
    schedule: &str,
    run: &NewRun<'_>,
) -> Result<(), DatabaseError> {
    let reason = "the same job exists already: a placeholder such as {{ due_at }} in a parameter gives each due time a job of its own";
    sqlx::query_file!("src/store/sql/run_exists.sql", schedule, run.due_at, run.is_manual, reason)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
