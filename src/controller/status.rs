//! Where a job stands, now or once something has happened to it.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::{Controller, ControllerError};
use crate::{
    model::JobId,
    repositories::postgres::{JobRecord, StageRecord},
};

/// Between two looks of one who waits: grows from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A job and how far it is.
#[derive(Debug, Clone)]
pub struct JobStanding {
    /// The job.
    pub job: JobRecord,
    /// Its stages so far, in order.
    pub stages: Vec<StageStanding>,
}

/// How far a stage is.
#[derive(Debug, Clone)]
pub struct StageStanding {
    /// As stored.
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
        let job = self
            .0
            .database
            .get_job(job_id)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id: *job_id })?;
        let records = self.0.database.get_stages(job_id).await?;
        let parameters: Map<String, Value> = serde_json::from_str(job.parameters.get()).unwrap_or_default();
        let specs = self
            .0
            .catalog
            .get(&job.job_type)
            .and_then(|definition| definition.stages(&parameters).ok())
            .unwrap_or_default();
        let standing = |record: StageRecord| StageStanding {
            task_type: specs
                .get(usize::from(record.stage.get()) - 1)
                .map(|spec| spec.task_type),
            running: None,
            record,
        };
        Ok(JobStanding {
            stages: records.into_iter().map(standing).collect(),
            job,
        })
    }

    /// The same, once the job is over, something has happened to it, or `wait` has passed. Who waits holds no connection
    /// meanwhile, and looks less often the longer nothing happens.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn status_after_change(
        &self,
        job_id: &JobId,
        wait: Duration,
    ) -> Result<JobStanding, ControllerError> {
        let until = Instant::now() + wait;
        let (mut pause, longest) = LOOKS;
        let first = self.0.database.job_pulse(job_id).await?;
        while let Some(pulse) = &first
            && !pulse.is_over
            && Instant::now() < until
        {
            sleep(pause.min(until - Instant::now())).await;
            pause = (pause * 3 / 2).min(longest);
            if self.0.database.job_pulse(job_id).await? != first {
                break;
            }
        }
        self.status(job_id).await
    }
}
