//! Schedules, as people see them.

use std::collections::BTreeMap;

use lastlight_api::schedules::{ScheduleDetails, ScheduleRun, Schedules};

use super::Queries;
use crate::workflow::{
    ControllerError,
    schedules::{next_due_times, view},
};

/// Maximum number of schedules in a list.
const MOST_LISTED: i64 = 1000;

/// Runs in the history of a schedule.
const RUNS_LISTED: i64 = 100;

impl Queries {
    /// All schedules by name, up to 1,000.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedules(&self) -> Result<Schedules, ControllerError> {
        let all = self.0.database.schedules().list(MOST_LISTED).await?;
        let names: Vec<&str> = all.iter().map(|schedule| schedule.name.as_str()).collect();
        let runs = self.0.database.schedules().last_runs(&names).await?;
        let mut runs: BTreeMap<String, ScheduleRun> = runs.into_iter().collect();
        let schedules = all.into_iter().map(|schedule| {
            let last = runs.remove(&schedule.name);
            view(schedule, last)
        });
        Ok(Schedules { schedules: schedules.collect::<Result<_, _>>()? })
    }

    /// A schedule with its next due times and its history.
    ///
    /// # Errors
    /// There is no such schedule, or the database failed.
    pub async fn schedule(&self, name: &str) -> Result<ScheduleDetails, ControllerError> {
        let store = self.0.database.schedules();
        let unknown = || ControllerError::UnknownSchedule { name: name.to_owned() };
        let schedule = store.get(name).await?.ok_or_else(unknown)?;
        let now = store.clock().await?.now;
        let runs = store.history(name, RUNS_LISTED).await?;
        Ok(ScheduleDetails {
            next_due_times: next_due_times(&schedule, now),
            schedule: view(schedule, runs.first().cloned())?,
            runs,
        })
    }
}
