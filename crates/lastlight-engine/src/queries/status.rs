//! The status of a job, now or after its next change.

use std::{collections::BTreeMap, time::Duration};

use lastlight_api::jobs::{
    JobDefinition, JobDetails, JobStatusAnswer, NodeProgress, StageProgress,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::{
    Queries,
    graphs::{nodes_of, results_of},
    views::whole_job,
};
use crate::workflow::ControllerError;
use crate::{
    model::{JobId, JobVersion, Stage},
    store::{JobPulse, JobRecord, StageRecord, Totals},
};

/// Interval between checks while a caller waits: grows from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A job and its progress.
#[derive(Debug, Clone)]
pub(super) struct JobStanding {
    /// The version of this state or of an earlier one: a change that is not shown yet has a later
    /// version.
    pub version: JobVersion,
    pub job: JobRecord,
    /// Its stages so far, in order.
    pub stages: Vec<StageStanding>,
}

/// The progress of a stage.
#[derive(Debug, Clone)]
pub(super) struct StageStanding {
    pub record: StageRecord,
    /// The type of its tasks; `None` if the job's type is not in this app's catalog.
    pub task_type: Option<String>,
    /// Number of tasks that run now in all processes; `None` if unknown.
    pub running: Option<i64>,
    /// Its place in a graph.
    pub node: Option<NodeProgress>,
}

impl Queries {
    /// A job and its stages so far.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn status(&self, job_id: &JobId) -> Result<JobStatusAnswer, ControllerError> {
        let pulse = self.pulse(job_id).await?;
        Ok(self.standing(job_id, pulse.version).await?.into())
    }

    /// A job with all its data and its stages so far.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn whole_job(&self, job_id: &JobId) -> Result<JobDetails, ControllerError> {
        let pulse = self.pulse(job_id).await?;
        let standing = self.standing(job_id, pulse.version).await?;
        let totals = Totals::of(standing.stages.iter().map(|stage| &stage.record));
        let definition = match &standing.job.definition_id {
            Some(id) => self.0.database.jobs().definition(id).await?,
            None => None,
        };
        Ok(JobDetails {
            definition: definition.map(|file| JobDefinition {
                name: file.name,
                version: file.version,
                source: file.source,
            }),
            stages: standing.stages.iter().map(StageProgress::from).collect(),
            job: whole_job(standing.job, totals),
        })
    }

    async fn pulse(&self, job_id: &JobId) -> Result<JobPulse, ControllerError> {
        let pulse = self.0.database.jobs().pulse(job_id).await?;
        pulse.ok_or(ControllerError::UnknownJob { job_id: *job_id })
    }

    /// `version` was read before: a version that is read later could be newer than what is shown,
    /// and its change would be missed.
    async fn standing(
        &self,
        job_id: &JobId,
        version: JobVersion,
    ) -> Result<JobStanding, ControllerError> {
        let mut job = self
            .0
            .database
            .jobs()
            .get(job_id)
            .await?
            .ok_or(ControllerError::UnknownJob { job_id: *job_id })?;
        let records = self.0.database.stages().of_job(job_id).await?;
        let parameters: Map<String, Value> =
            serde_json::from_str(job.parameters.get()).unwrap_or_default();
        let specs = self
            .0
            .catalog
            .get(&job.job_type)
            .and_then(|definition| definition.stages(&parameters).ok())
            .unwrap_or_default();
        let running = self.running(job_id).await;
        let mut nodes = BTreeMap::new();
        if job.is_graph() {
            let graph = self.0.database.stages().of_graph(job_id).await?;
            job.stage_results = results_of(&graph);
            nodes = nodes_of(&job, &graph);
        }
        let mut standing = |record: StageRecord| StageStanding {
            task_type: specs
                .get(usize::from(record.stage.get()) - 1)
                .map(|spec| spec.task_type.clone().into_owned()),
            node: nodes.remove(&record.stage),
            running: running
                .as_ref()
                .map(|running| running.get(&record.stage).copied().unwrap_or(0)),
            record,
        };
        let stages = records.into_iter().map(&mut standing).collect();
        Ok(JobStanding { version, stages, job })
    }

    /// The same, once the job is finished, its state differs from the one `seen`, or `wait` has
    /// passed. Without `seen`, it is compared with the current state, so a caller that polls
    /// misses changes between two requests. A waiting call holds no connection, and checks less
    /// often the longer nothing changes.
    ///
    /// # Errors
    /// There is no such job, or the database failed.
    pub async fn status_after_change(
        &self,
        job_id: &JobId,
        wait: Duration,
        seen: Option<JobVersion>,
    ) -> Result<JobStatusAnswer, ControllerError> {
        let until = Instant::now() + wait;
        let (mut pause, longest) = LOOKS;
        let mut pulse = self.pulse(job_id).await?;
        let seen = seen.unwrap_or(pulse.version);
        while !pulse.is_finished && pulse.version == seen && Instant::now() < until {
            sleep(pause.min(until - Instant::now())).await;
            pause = (pause * 3 / 2).min(longest);
            pulse = self.pulse(job_id).await?;
        }
        Ok(self.standing(job_id, pulse.version).await?.into())
    }

    /// Number of running tasks of the job, by stage; `None` if it is unknown. A job's status is
    /// returned without it.
    async fn running(&self, job_id: &JobId) -> Option<BTreeMap<Stage, i64>> {
        match self.0.database.diagnostics().running_in_stages(job_id).await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(%error, %job_id, "the number of running tasks is unknown");
                None
            }
        }
    }
}
