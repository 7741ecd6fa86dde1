//! Where a job stands, now or once something has happened to it.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::{Controller, ControllerError};
use crate::{
    model::{JobId, JobVersion},
    store::{JobPulse, JobRecord, StageRecord},
};

/// Between two looks of one who waits: grows from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A job and how far it is.
#[derive(Debug, Clone)]
pub struct JobStanding {
    /// The state that this is, or an earlier one: what it does not show yet, the next version
    /// tells.
    pub version: JobVersion,
    pub job: JobRecord,
    /// Its stages so far, in order.
    pub stages: Vec<StageStanding>,
}

/// How far a stage is.
#[derive(Debug, Clone)]
pub struct StageStanding {
    pub record: StageRecord,
    /// The type of its tasks; `None`: the job's type is not in this app's catalog.
    pub task_type: Option<&'static str>,
    /// Tasks that run now, over all processes; `None`: unknown.
    pub running: Option<i64>,
}

impl Controller {
    /// A job and its stages so far.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn status(&self, job_id: &JobId) -> Result<JobStanding, ControllerError> {
        let pulse = self.pulse(job_id).await?;
        self.standing(job_id, pulse.version).await
    }

    async fn pulse(&self, job_id: &JobId) -> Result<JobPulse, ControllerError> {
        let pulse = self.0.database.job_pulse(job_id).await?;
        pulse.ok_or(ControllerError::UnknownJob { job_id: *job_id })
    }

    /// `version` was read before: one that is read later could be newer than what is shown, and its
    /// change missed.
    async fn standing(
        &self,
        job_id: &JobId,
        version: JobVersion,
    ) -> Result<JobStanding, ControllerError> {
        let job = self
            .0
            .database
            .get_job(job_id)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id: *job_id })?;
        let records = self.0.database.get_stages(job_id).await?;
        let parameters: Map<String, Value> =
            serde_json::from_str(job.parameters.get()).unwrap_or_default();
        let specs = self
            .0
            .catalog
            .get(&job.job_type)
            .and_then(|definition| definition.stages(&parameters).ok())
            .unwrap_or_default();
        let running = self.running(job_id).await;
        let standing = |record: StageRecord| StageStanding {
            task_type: specs.get(usize::from(record.stage.get()) - 1).map(|spec| spec.task_type),
            running: running
                .as_ref()
                .map(|running| running.get(&record.stage).copied().unwrap_or(0)),
            record,
        };
        Ok(JobStanding { version, stages: records.into_iter().map(standing).collect(), job })
    }

    /// The same, once the job is over, is in another state than the one `seen`, or `wait` has
    /// passed. Without `seen`: than the one it is in now; who asks again and again then misses what
    /// happens between two requests. Who waits holds no connection meanwhile, and looks less often
    /// the longer nothing happens.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn status_after_change(
        &self,
        job_id: &JobId,
        wait: Duration,
        seen: Option<JobVersion>,
    ) -> Result<JobStanding, ControllerError> {
        let until = Instant::now() + wait;
        let (mut pause, longest) = LOOKS;
        let mut pulse = self.pulse(job_id).await?;
        let seen = seen.unwrap_or(pulse.version);
        while !pulse.is_finished && pulse.version == seen && Instant::now() < until {
            sleep(pause.min(until - Instant::now())).await;
            pause = (pause * 3 / 2).min(longest);
            pulse = self.pulse(job_id).await?;
        }
        self.standing(job_id, pulse.version).await
    }
}
